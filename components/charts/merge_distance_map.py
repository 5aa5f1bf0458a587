"""Map of an image's tokens: their distance, or the similarity of their rotations, to one token."""

from __future__ import annotations

from typing import Literal

import numpy as np
import plotly.graph_objects as go

from components.charts.patch_map import frame_patches
from components.charts.small_arrays import compact_integers
from components.charts.style import HEIGHT_MEDIUM, base_layout, pointer_meta
from components.look.colors import SEQUENTIAL
from playground.language import mark, say

QUANTITIES = {"distance": mark("distance"), "likeness": mark("similarity")}


def plot_distance_map(
    values: np.ndarray,
    *,
    title: str,
    quantity: Literal["distance", "likeness"],
    token: int,
    span: int,
) -> go.Figure:
    """Distance or rotation similarity of an image's tokens to one token.

    Args:
        values: (merged_h, merged_w): distances in positions, or similarities in [-1, 1].
        title: the chart's title.
        quantity: which of the two.
        token: sequence index of the reference token.
        span: index into ``ModelInputs.spans``.
    """
    height, width = values.shape
    layout = base_layout(
        title,
        height=HEIGHT_MEDIUM,
        alt=say(
            "Map of {height} by {width} visual tokens: {quantity} to token {token}, from "
            "{low:.3g} to {high:.3g}.",
            height=height,
            width=width,
            quantity=say(QUANTITIES[quantity]),
            token=token,
            low=float(values.min()),
            high=float(values.max()),
        ),
        x_title=say("column of the token grid"),
        y_title=say("row of the token grid"),
    )
    frame_patches(layout)
    layout["meta"]["pointer"] = pointer_meta("merged", span=span)
    layout["meta"]["columns"] = {
        "x": say("column"),
        "y": say("row"),
        "z": say(QUANTITIES[quantity]),
    }
    return go.Figure([_distance_map(values, quantity, token)], layout)


def _distance_map(
    values: np.ndarray, quantity: Literal["distance", "likeness"], token: int
) -> go.Heatmap:
    """The heat map; for distances the colour scale is reversed."""
    far = quantity == "distance"
    if far:
        scale = say("distance (positions)")
        words = say(
            "row %{{y}}, column %{{x}}<br>distance to token {token}: %{{z:.3g}} positions",
            token=token,
        )
    else:
        scale = say("similarity")
        words = say(
            "row %{{y}}, column %{{x}}<br>similarity to token {token}: %{{z:.3g}}", token=token
        )
    return go.Heatmap(
        z=compact_integers(values) if far else values.astype(np.float32),
        # Bright means near in both.
        colorscale=SEQUENTIAL,
        reversescale=far,
        zmin=0 if far else -0.5,
        zmax=max(int(values.max()), 1) if far else 1,
        colorbar={
            "title": {"text": scale},
            "thickness": 10,
            "dtick": max(1, round(int(values.max()) / 5)) if far else 0.5,
        },
        hovertemplate=f"{words}<extra></extra>",
    )
