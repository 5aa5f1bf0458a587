"""Chart of a box or point: the distribution of each of its coordinates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go

from components.charts.style import base_layout, escape_label, small_label
from components.look.colors import GREY
from components.views.facts import share_words
from playground.language import say

if TYPE_CHECKING:
    from playground.grounding.edges import Edge

ROW_PX = 110
TITLE_PX = 90  # and the lowest axis
LABEL_PX = 24  # above the first row
GAP = 0.1  # between two rows, of the plot's height
LEAST_SHOWN = 1e-3  # probability of a value that the axis must reach
LEAST_AXIS = 0.05  # largest probability on an axis, at least
LEAST_VALUES = 12  # on an axis


def plot_edges(edges: Mapping[str, Edge], name: str, color: str) -> go.Figure:
    """The probability of each value of each coordinate, one row below the other.

    Args:
        edges: by the coordinate's name, from top to bottom; at least one.
        name: of the box or point.
        color: of the written values.
    """
    layout = base_layout(
        say("Probability of each coordinate of {name}", name=escape_label(name)),
        height=TITLE_PX + ROW_PX * len(edges),
        alt=say("{name}: {values}.", name=name, values=_words(edges)),
    )
    layout |= {"bargap": 0.1, "showlegend": False, "annotations": []}
    layout["margin"]["t"] = LABEL_PX
    layout["meta"]["columns"] = {"x": say("Thousandths"), "y": say("Probability")}
    height = (1 - GAP * (len(edges) - 1)) / len(edges)
    bars = []
    for row, (axis, edge) in enumerate(edges.items()):
        number = str(row + 1) if row else ""
        top = 1 - row * (height + GAP)
        bars.append(_bars(axis, edge, color, number))
        layout[f"xaxis{number}"] = _value_axis(edge, number)
        layout[f"yaxis{number}"] = _probability_axis(axis, edge, number, (top - height, top))
        layout["annotations"].append(_label(axis, edge, number))
    layout[f"xaxis{number}"]["title"] = {"text": say("Value in thousandths of the image’s side")}
    return go.Figure(bars, layout)


def _bars(axis: str, edge: Edge, color: str, number: str) -> go.Bar:
    values = [value for value, _ in edge.values]
    return go.Bar(
        x=np.array(values, np.int32),
        y=np.array([prob for _, prob in edge.values], np.float32),
        name=axis,
        xaxis=f"x{number}",
        yaxis=f"y{number}",
        marker={
            "color": [color if value == edge.written else GREY for value in values],
            "line": {"width": 0},
        },
        hovertemplate=say("{axis} = %{{x}}: %{{y:.2%}}<extra></extra>", axis=axis),
    )


def _value_axis(edge: Edge, number: str) -> dict[str, Any]:
    """The likely values and the written one, and never so few that bars become slabs."""
    shown = [value for value, prob in edge.values if prob >= LEAST_SHOWN] + [edge.written]
    low, high = min(shown), max(shown)
    missing = max(0, LEAST_VALUES - (high - low + 1))
    ends = [low - missing / 2 - 0.6, high + missing / 2 + 0.6]
    return {"anchor": f"y{number}", "range": ends, "tickformat": "d", "nticks": 8}


def _probability_axis(
    axis: str, edge: Edge, number: str, domain: tuple[float, float]
) -> dict[str, Any]:
    most = max(prob for _, prob in edge.values)
    return {
        "anchor": f"x{number}",
        "domain": [max(0.0, domain[0]), domain[1]],
        "range": [0, min(1.0, max(LEAST_AXIS, 1.15 * most))],
        "nticks": 4,
        "tickformat": ".0%",
        "title": {"text": axis},
        "automargin": True,
    }


def _label(axis: str, edge: Edge, number: str) -> dict[str, Any]:
    """The written value and the mass, in the row's upper right corner."""
    words = say(
        "written {value}: {prob} · covered {mass}",
        value=edge.written,
        prob=share_words(edge.written_prob),
        mass=share_words(edge.mass),
    )
    place = {"xref": f"x{number} domain", "yref": f"y{number} domain"}
    return small_label(1, 1, words, xanchor="right", yanchor="bottom", **place)


def _words(edges: Mapping[str, Edge]) -> str:
    return say(", ").join(
        say(
            "{axis} = {value} with {prob}, 10 to 90 % of the mass from {low} to {high}",
            axis=axis,
            value=edge.written,
            prob=share_words(edge.written_prob),
            low=edge.low,
            high=edge.high,
        )
        for axis, edge in edges.items()
    )
