"""Shared by the charts over an image's patches: square cells, and a marker on one of them."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import plotly.graph_objects as go

from components.charts.heat_map import hide_lines
from components.charts.style import HEIGHT_MEDIUM, base_layout, pointer_meta
from components.look.colors import BLUE
from playground.language import say

# Room for two-digit ticks, a title and a colour bar. Square cells shorten the axes, which moves
# their ticks: with smaller margins, Plotly redraws the chart up to five times until they settle.
MARGIN = {"l": 46, "r": 72, "t": 8, "b": 48}


def patch_layout(
    title: str,
    alt: str,
    cells: Literal["patch", "merged"],
    span: int,
    *,
    height: int = HEIGHT_MEDIUM,
    **margin: int,
) -> dict[str, Any]:
    """The layout of a map of one image, connected to the page's selection.

    Args:
        title: what to see.
        alt: see ``base_layout``.
        cells: whether each cell is a patch or a merged token.
        span: index into ``ModelInputs.spans``.
        height: in pixels.
        margin: see ``frame_patches``.
    """
    axes = {"x_title": say("token column"), "y_title": say("token row")}
    if cells == "patch":
        axes = {"x_title": say("patch column"), "y_title": say("patch row")}
    layout = base_layout(title, height=height, alt=alt, **axes)
    frame_patches(layout, **margin)
    layout["meta"]["pointer"] = pointer_meta(cells, span=span)
    return layout


def frame_patches(layout: dict[str, Any], **margin: int) -> None:
    """Square cells with row 0 on top that fill the frame: axes shrink to keep the aspect ratio.

    Args:
        layout: the figure's layout.
        margin: sides that need other margins than `MARGIN`.
    """
    layout["margin"] = MARGIN | margin
    hide_lines(layout)
    layout["xaxis"] |= {"constrain": "domain"}
    layout["yaxis"] |= {"scaleanchor": "x", "constrain": "domain", "autorange": "reversed"}


def mark_position(position: tuple[int, int], name: str) -> go.Scatter:
    """A cross at one row and column of the map."""
    return go.Scatter(
        x=np.array([position[1]], np.int32),
        y=np.array([position[0]], np.int32),
        name=name,
        mode="markers",
        marker={"symbol": "x", "size": 9, "color": BLUE, "line": {"color": "#fff", "width": 1}},
        hoverinfo="skip",
        showlegend=False,
    )
