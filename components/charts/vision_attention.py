"""Charts of the vision tower's heads: which look nearby, which look everywhere."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from components.charts.style import base_layout
from components.look.colors import SEQUENTIAL
from playground.language import say

ROW_HEIGHT = 18  # pixels per block, within the heights below
MIN_HEIGHT = 240
MAX_HEIGHT = 480


def plot_head_entropy(entropy: np.ndarray, even: float) -> go.Figure:
    """How widely each head of each block spreads its attention.

    Args:
        entropy: (blocks, heads) float32, nats, mean over patches; NaN where not yet measured.
        even: nats of attention spread evenly over all patches: the largest possible.
    """
    share = entropy / max(even, 1e-12)
    figure = _plot_heads(
        share,
        title=say("Entropy: dark heads pick a few patches, bright ones spread over all"),
        name=say("share of the largest entropy"),
        high=1.0,
        alt=say(
            "{sizes}: {reach} of the largest entropy.", sizes=_sizes(share), reach=_reach(share)
        ),
    )
    figure.data[0].update(
        customdata=entropy.astype(np.float32),
        colorbar={"title": {"text": say("share of log N")}, "tickformat": ".0%"},
        hovertemplate=say(
            "block %{{y}}, head %{{x}}<br>entropy %{{customdata:.3f}} nats<br>%{{z:.0%}} of log N "
            "= {even:.3f} nats",
            even=even,
        )
        + "<extra></extra>",
    )
    figure.layout.meta["columns"]["customdata"] = say("entropy in nats")
    return figure


def plot_head_distance(distance: np.ndarray, even: float) -> go.Figure:
    """How far each head of each block looks.

    Args:
        distance: (blocks, heads) float32, patches, mean over patches; NaN where not yet measured.
        even: patches; the mean distance of attention spread evenly over the picture.
    """
    measured = distance[np.isfinite(distance)]
    high = max(even, float(measured.max(initial=0.0)))
    figure = _plot_heads(
        distance,
        title=say("Mean distance: dark heads look next door, bright ones across the picture"),
        name=say("mean distance in patches"),
        high=high,
        alt=say("{sizes}: {reach} patches away.", sizes=_sizes(distance), reach=_reach(distance)),
    )
    figure.data[0].update(
        colorbar={"title": {"text": say("patches")}},
        hovertemplate=say(
            "block %{{y}}, head %{{x}}<br>looks %{{z:.2f}} patches away in the mean<br>evenly "
            "spread: {even:.2f} patches",
            even=even,
        )
        + "<extra></extra>",
    )
    return figure


def _sizes(values: np.ndarray) -> str:
    blocks, heads = values.shape
    return say("Heat map of {blocks} blocks by {heads} heads", blocks=blocks, heads=heads)


def _reach(values: np.ndarray) -> str:
    measured = values[np.isfinite(values)]
    if not len(measured):
        return say("none measured")
    return say("{low:.3g} to {high:.3g}", low=measured.min(), high=measured.max())


def _plot_heads(values: np.ndarray, *, title: str, name: str, high: float, alt: str) -> go.Figure:
    blocks, heads = values.shape
    layout = base_layout(
        title,
        height=int(np.clip(130 + ROW_HEIGHT * blocks, MIN_HEIGHT, MAX_HEIGHT)),
        alt=alt,
        x_title=say("head"),
        y_title=say("block"),
    )
    layout["xaxis"] |= {"dtick": max(1, heads // 8), "showgrid": False, "zeroline": False}
    layout["yaxis"] |= {
        "dtick": max(1, blocks // 8),
        "showgrid": False,
        "zeroline": False,
        "range": [-0.5, blocks - 0.5],
    }
    layout["meta"]["columns"] = {"x": say("head"), "y": say("block"), "z": name}
    heat_map = go.Heatmap(
        z=values.astype(np.float32),
        zmin=0,
        zmax=high,
        colorscale=SEQUENTIAL,
        xgap=1,
        ygap=1,
    )
    return go.Figure(heat_map, layout)
