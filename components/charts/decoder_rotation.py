"""Charts of M-RoPE inside one attention head."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from components.chart_style import (
    BLUE,
    DIVERGING,
    GREEN,
    HEIGHT_MEDIUM,
    HEIGHT_SMALL,
    ORANGE,
    base_layout,
)

if TYPE_CHECKING:
    from playground.decoder_rotation import HeadRotation, ScoreCurves

# Name, colour, bar pattern, line dash and marker of each axis.
AXES = (
    ("t, time", BLUE, "", "solid", "circle"),
    ("h, height", ORANGE, "/", "dash", "square"),
    ("w, width", GREEN, "x", "dot", "diamond"),
)


def plot_rotation(rotation: HeadRotation, name: str) -> go.Figure:
    """Query and key, number by number, before and after they are turned.

    Args:
        rotation: of one head.
        name: the head in words.
    """
    rows = ("query", "query, turned", "key", "key, turned")
    values = np.stack([rotation.query_before, rotation.query, rotation.key_before, rotation.key])
    largest = max(float(np.abs(values).max()), 1e-6)
    pairs = len(rotation.axes)
    layout = base_layout(
        f"{name}: the query of token {rotation.query_index} and the key of token "
        f"{rotation.key_index}, before and after the rotation",
        height=HEIGHT_SMALL + 40,
        alt=f"Heat map of 4 rows by {2 * pairs} numbers, from {float(values.min()):.2g} to "
        f"{float(values.max()):.2g}.",
        x_title=f"number of the head (i turns together with i + {pairs})",
    )
    layout["xaxis"] |= {"showgrid": False, "zeroline": False}
    layout["yaxis"] |= {
        "showgrid": False,
        "zeroline": False,
        "autorange": "reversed",
        "tickvals": [0, 1, 2, 3],
        "ticktext": list(rows),
    }
    layout["meta"]["columns"] = {"x": "number", "y": "row", "customdata": "axis", "z": "value"}
    axes = [AXES[axis][0] for axis in (*rotation.axes, *rotation.axes)]
    heat_map = go.Heatmap(
        z=values.astype(np.float32),
        zmid=0,
        zmin=-largest,
        zmax=largest,
        colorscale=DIVERGING,
        colorbar={"title": {"text": "value"}},
        customdata=[axes] * 4,
        hovertemplate="number %{x}, turned with %{customdata}<br>%{z:.4g}<extra></extra>",
    )
    return go.Figure(heat_map, layout)


def plot_pair_strengths(rotation: HeadRotation) -> go.Figure:
    """How much each rotating pair can say, and with which axis it turns."""
    pairs = np.arange(len(rotation.axes), dtype=np.int32)
    lengths = _pair_lengths(rotation.query_before) * _pair_lengths(rotation.key_before)
    shares = [float(lengths[rotation.axes == axis].sum()) for axis in range(3)]
    total = max(sum(shares), 1e-12)
    words = ", ".join(
        f"{AXES[axis][0][0]} {share / total:.0%}" for axis, share in enumerate(shares)
    )
    layout = base_layout(
        f"Which axis this pair of tokens speaks through: {words} of the strength",
        height=HEIGHT_MEDIUM,
        alt=f"Bars of {len(pairs)} rotating pairs, from the fastest on the left; {words}.",
        x_title="rotating pair, fastest first",
        y_title="length of query × length of key",
    )
    layout["barmode"] = "overlay"
    layout["xaxis"] |= {"zeroline": False, "range": [-0.7, len(pairs) - 0.3]}
    layout["yaxis"] |= {"rangemode": "tozero"}
    layout["meta"]["columns"] = {"x": "pair", "y": "strength", "customdata": "positions per turn"}
    traces = []
    for axis, (label, color, pattern, _, _) in enumerate(AXES):
        chosen = rotation.axes == axis
        traces.append(
            go.Bar(
                x=pairs[chosen],
                y=lengths[chosen].astype(np.float32),
                width=0.8,  # else as wide as the gap to the axis's next pair
                name=label,
                marker={"color": color, "pattern": {"shape": pattern, "fillmode": "overlay"}},
                customdata=(2 * np.pi / rotation.inv_freq[chosen]).astype(np.float32),
                hovertemplate=f"pair %{{x}}, turned with {label}<br>strength %{{y:.3g}}"
                "<br>a full turn every %{customdata:.3g} positions<extra></extra>",
            )
        )
    return go.Figure(traces, layout)


def _pair_lengths(vector: np.ndarray) -> np.ndarray:
    """``(head_dim / 2,)``: lengths of the pairs that ``rotate_half`` turns."""
    first, second = np.split(vector.astype(np.float64), 2)
    lengths: np.ndarray = np.hypot(first, second)
    return lengths


def plot_score_curves(rotation: HeadRotation, curves: ScoreCurves) -> go.Figure:
    """The score of the same query and key if the key stood elsewhere, axis by axis."""
    spans = curves.scores.max(axis=1) - curves.scores.min(axis=1)
    widest = AXES[int(spans.argmax())][0]
    layout = base_layout(
        f"The same two vectors further apart: this score depends most on {widest}",
        height=HEIGHT_MEDIUM,
        alt="Three lines of the score over the distance in t, h and w, of spans "
        + ", ".join(f"{span:.3g}" for span in spans)
        + f"; the score in the model is {rotation.score:.3g}.",
        x_title="distance, query's position less key's (positions)",
        y_title="score before the softmax",
    )
    layout["xaxis"] |= {"zeroline": True}
    layout["meta"]["columns"] = {"x": "distance", "y": "score"}
    traces = []
    for axis, (label, color, _, dash, symbol) in enumerate(AXES):
        traces.append(
            go.Scatter(
                x=curves.distances.astype(np.int32),
                y=curves.scores[axis],
                name=label,
                mode="lines",
                line={"color": color, "dash": dash, "width": 2},
                hovertemplate=f"%{{x}} apart in {label}<br>score %{{y:.4g}}<extra></extra>",
            )
        )
        traces.append(
            go.Scatter(
                x=np.array([rotation.distances[axis]], np.int32),
                y=np.array([rotation.score], np.float32),
                name=f"as it is, {label[0]}",
                mode="markers",
                showlegend=False,
                marker={"color": color, "symbol": symbol, "size": 11},
                hovertemplate=f"in the model: %{{x}} apart in {label}<br>score %{{y:.4g}}"
                "<extra></extra>",
            )
        )
    return go.Figure(traces, layout)
