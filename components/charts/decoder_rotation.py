"""Charts of M-RoPE (Qwen2-VL, Wang et al. 2024) inside one attention head."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from components.charts.heat_map import hide_lines, signed_map
from components.charts.style import HEIGHT_MEDIUM, HEIGHT_SMALL, base_layout
from components.look.colors import BLUE, GREEN, ORANGE
from playground.language import mark, say

if TYPE_CHECKING:
    from playground.decoder.rotation import HeadRotation, ScoreCurves

# Name, colour, bar pattern, line dash and marker of each axis.
AXES = (
    (mark("t, time"), BLUE, "", "solid", "circle"),
    (mark("h, height"), ORANGE, "/", "dash", "square"),
    (mark("w, width"), GREEN, "x", "dot", "diamond"),
)


def plot_rotation(rotation: HeadRotation, name: str) -> go.Figure:
    """Query and key, dimension by dimension, before and after the rotation.

    Args:
        rotation: of one head.
        name: of the head.
    """
    values = np.stack([rotation.query_before, rotation.query, rotation.key_before, rotation.key])
    largest = max(float(np.abs(values).max()), 1e-6)
    pairs = len(rotation.axes)
    layout = base_layout(
        say(
            "{head}: the query of token {query} and the key of token {key}, before and after the "
            "rotation",
            head=name,
            query=rotation.query_index,
            key=rotation.key_index,
        ),
        height=HEIGHT_SMALL + 40,
        alt=say(
            "Heat map of 4 rows by {numbers} dimensions; values from {low:.2g} to {high:.2g}.",
            numbers=2 * pairs,
            low=float(values.min()),
            high=float(values.max()),
        ),
        x_title=say("head dimension (i pairs with i + {pairs})", pairs=pairs),
    )
    hide_lines(layout)
    names = ["query", say("query, rotated"), "key", say("key, rotated")]
    layout["yaxis"] |= {"autorange": "reversed", "tickvals": [0, 1, 2, 3], "ticktext": names}
    layout["meta"]["columns"] = {
        "x": say("dimension"),
        "y": say("row"),
        "customdata": say("axis"),
        "z": say("value"),
    }
    axes = [say(AXES[axis][0]) for axis in (*rotation.axes, *rotation.axes)]
    hover = say("dimension %{x}, rotated with %{customdata}<br>%{z:.4g}")
    cells = signed_map(values, hover, largest, bar=say("value"), zmid=0, customdata=[axes] * 4)
    return go.Figure(cells, layout)


def plot_pair_strengths(rotation: HeadRotation) -> go.Figure:
    """How much each rotary pair can add to the score, and the axis it rotates with."""
    pairs = np.arange(len(rotation.axes), dtype=np.int32)
    lengths = _pair_lengths(rotation.query_before) * _pair_lengths(rotation.key_before)
    shares = [float(lengths[rotation.axes == axis].sum()) for axis in range(3)]
    total = max(sum(shares), 1e-12)
    words = say(", ").join(
        f"{axis} {share / total:.0%}" for axis, share in zip("thw", shares, strict=True)
    )
    layout = base_layout(
        say(
            "How much each axis can add to the score: {shares} of the total strength", shares=words
        ),
        height=HEIGHT_MEDIUM,
        alt=say(
            "Bars for {pairs} rotary pairs, highest frequency on the left; {shares}.",
            pairs=len(pairs),
            shares=words,
        ),
        x_title=say("rotary pair, highest frequency first"),
        y_title=say("norm of query × norm of key"),
    )
    layout["barmode"] = "overlay"
    layout["xaxis"] |= {"zeroline": False, "range": [-0.7, len(pairs) - 0.3]}
    layout["yaxis"] |= {"rangemode": "tozero"}
    layout["meta"]["columns"] = {
        "x": say("pair"),
        "y": say("strength"),
        "customdata": say("wavelength (positions)"),
    }
    traces = []
    for axis, (label, color, pattern, _, _) in enumerate(AXES):
        chosen = rotation.axes == axis
        traces.append(
            go.Bar(
                x=pairs[chosen],
                y=lengths[chosen].astype(np.float32),
                width=0.8,  # by default as wide as the gap to the axis's next pair
                name=say(label),
                marker={"color": color, "pattern": {"shape": pattern, "fillmode": "overlay"}},
                customdata=(2 * np.pi / rotation.inv_freq[chosen]).astype(np.float32),
                hovertemplate=say(
                    "pair %{{x}}, rotated with {axis}<br>strength %{{y:.3g}}<br>wavelength "
                    "%{{customdata:.3g}} positions",
                    axis=say(label),
                )
                + "<extra></extra>",
            )
        )
    return go.Figure(traces, layout)


def _pair_lengths(vector: np.ndarray) -> np.ndarray:
    """``(head_dim / 2,)``: norms of the pairs that ``rotate_half`` rotates."""
    first, second = np.split(vector.astype(np.float64), 2)
    lengths: np.ndarray = np.hypot(first, second)
    return lengths


def plot_score_curves(rotation: HeadRotation, curves: ScoreCurves) -> go.Figure:
    """The score of the same query and key at other distances, axis by axis."""
    spans = curves.scores.max(axis=1) - curves.scores.min(axis=1)
    widest = say(AXES[int(spans.argmax())][0])
    layout = base_layout(
        say(
            "The same query and key at other distances: the score depends most on {axis}",
            axis=widest,
        ),
        height=HEIGHT_MEDIUM,
        alt=say(
            "Three lines of the score against the distance in t, h and w, with ranges {t:.3g}, "
            "{h:.3g} and {w:.3g}; the score in the model is {score:.3g}.",
            t=spans[0],
            h=spans[1],
            w=spans[2],
            score=rotation.score,
        ),
        x_title=say("query position − key position"),
        y_title=say("score before the softmax"),
    )
    layout["xaxis"] |= {"zeroline": True}
    layout["meta"]["columns"] = {"x": say("distance"), "y": say("score")}
    traces = []
    for axis, (label, color, _, dash, symbol) in enumerate(AXES):
        traces.append(
            go.Scatter(
                x=curves.distances.astype(np.int32),
                y=curves.scores[axis],
                name=say(label),
                mode="lines",
                line={"color": color, "dash": dash, "width": 2},
                hovertemplate=say("distance %{{x}} in {axis}<br>score %{{y:.4g}}", axis=say(label))
                + "<extra></extra>",
            )
        )
        traces.append(
            go.Scatter(
                x=np.array([rotation.distances[axis]], np.int32),
                y=np.array([rotation.score], np.float32),
                name=say("actual {axis}", axis="thw"[axis]),
                mode="markers",
                showlegend=False,
                marker={"color": color, "symbol": symbol, "size": 11},
                hovertemplate=say(
                    "in the model: distance %{{x}} in {axis}<br>score %{{y:.4g}}", axis=say(label)
                )
                + "<extra></extra>",
            )
        )
    return go.Figure(traces, layout)
