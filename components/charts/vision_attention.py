"""Charts of the vision tower's heads: entropy and mean attention distance."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go

from components.charts.heat_map import heat_map, hide_lines
from components.charts.style import base_layout
from playground.language import say

ROW_HEIGHT = 18  # pixels per block, within the heights below
MIN_HEIGHT = 240
MAX_HEIGHT = 480
GAPS: dict[str, Any] = {"xgap": 1, "ygap": 1}  # pixels between cells


def plot_head_entropy(entropy: np.ndarray, even: float) -> go.Figure:
    """The attention entropy of each head of each block.

    Args:
        entropy: (blocks, heads) float32, nats, mean over patches; NaN where not yet measured.
        even: nats, the entropy of uniform attention over all patches: the maximum.
    """
    share = entropy / max(even, 1e-12)
    layout = _heads_layout(
        share,
        say("Entropy: dark heads attend to few patches, bright ones to many"),
        say("{sizes}: {reach} of the maximum entropy.", sizes=_sizes(share), reach=_reach(share)),
        {"z": say("share of the maximum entropy"), "customdata": say("entropy in nats")},
    )
    hover = say(
        "block %{{y}}, head %{{x}}<br>entropy %{{customdata:.3f}} nats<br>%{{z:.0%}} of log N "
        "= {even:.3f} nats",
        even=even,
    )
    cells = heat_map(
        share,
        hover,
        bar=say("share of log N"),
        percent=True,
        zmin=0,
        zmax=1.0,
        customdata=entropy.astype(np.float32),
        **GAPS,
    )
    return go.Figure(cells, layout)


def plot_head_distance(distance: np.ndarray, even: float) -> go.Figure:
    """The mean attention distance of each head of each block.

    Args:
        distance: (blocks, heads) float32, patches, mean over patches; NaN where not yet measured.
        even: patches, the mean distance of uniform attention over the image.
    """
    measured = distance[np.isfinite(distance)]
    high = max(even, float(measured.max(initial=0.0)))
    layout = _heads_layout(
        distance,
        say("Mean attention distance: dark heads are local, bright ones global"),
        say("{sizes}: {reach} patches away.", sizes=_sizes(distance), reach=_reach(distance)),
        {"z": say("mean distance in patches")},
    )
    hover = say(
        "block %{{y}}, head %{{x}}<br>mean distance %{{z:.2f}} patches<br>uniform attention: "
        "{even:.2f} patches",
        even=even,
    )
    cells = heat_map(distance, hover, bar=say("patches"), zmin=0, zmax=high, **GAPS)
    return go.Figure(cells, layout)


def _sizes(values: np.ndarray) -> str:
    blocks, heads = values.shape
    return say("Heat map of {blocks} blocks by {heads} heads", blocks=blocks, heads=heads)


def _reach(values: np.ndarray) -> str:
    measured = values[np.isfinite(values)]
    if not len(measured):
        return say("none measured")
    return say("{low:.3g} to {high:.3g}", low=measured.min(), high=measured.max())


def _heads_layout(
    values: np.ndarray, title: str, alt: str, columns: dict[str, str]
) -> dict[str, Any]:
    """A row for each block; clicking a cell selects its block and head."""
    blocks, heads = values.shape
    layout = base_layout(
        title,
        height=int(np.clip(130 + ROW_HEIGHT * blocks, MIN_HEIGHT, MAX_HEIGHT)),
        alt=alt,
        x_title=say("head"),
        y_title=say("block"),
    )
    hide_lines(layout)
    layout["xaxis"] |= {"dtick": max(1, heads // 8)}
    layout["yaxis"] |= {"dtick": max(1, blocks // 8), "range": [-0.5, blocks - 0.5]}
    layout["meta"]["pick"] = {"block": "y", "head": "x"}
    layout["meta"]["columns"] = {"x": say("head"), "y": say("block")} | columns
    return layout
