"""Charts of a sweep: how often each answer occurs, answer lengths, and entropy."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from components.charts.style import (
    HEIGHT_MEDIUM,
    HEIGHT_SMALL,
    LEGEND_BELOW,
    base_layout,
    escape_label,
)
from components.look.colors import BLUE, CATEGORICAL, GREY, ORANGE
from components.views.text import cut_end, flowing
from playground.language import say

if TYPE_CHECKING:
    from playground.sampling.sweep import Sweep

MAX_ANSWERS = 7  # with their own colour
MAX_LABEL = 34  # characters
PATTERNS = ("", "/", ".", "x", "-", "\\", "+")


def top_answers(sweep: Sweep) -> list[str]:
    """The most frequent answers over all values."""
    total: Counter[str] = Counter()
    for point in sweep.points:
        total += point.counts
    return [text for text, _ in total.most_common(MAX_ANSWERS)]


def plot_answers(sweep: Sweep, name: str) -> go.Figure:
    """How often each distinct answer occurs at each value, as stacked bars.

    Args:
        sweep: the sweep.
        name: of its parameter, for an axis.
    """
    named = top_answers(sweep)
    ticks = [f"{point.value:.3g}" for point in sweep.points]
    figure = go.Figure()
    for index, text in enumerate(named):
        counts = [point.counts[text] for point in sweep.points]
        figure.add_bar(
            x=list(range(len(ticks))),
            y=np.array(counts, dtype=np.int32),
            name=_short(text),
            marker={
                "color": CATEGORICAL[index],
                "pattern": {"shape": PATTERNS[index], "solidity": 0.25},
            },
            customdata=[[tick, _short(text, 120)] for tick in ticks],
            hovertemplate=say("%{customdata[0]}: %{y} × %{customdata[1]}<extra></extra>"),
        )
    others = [_others(point.counts, named) for point in sweep.points]
    if any(count for count, _ in others):
        figure.add_bar(
            x=list(range(len(ticks))),
            y=np.array([count for count, _ in others], dtype=np.int32),
            name=say("other answers"),
            marker={"color": GREY, "pattern": {"shape": "x", "solidity": 0.15}},
            customdata=[[tick, kinds] for tick, (_, kinds) in zip(ticks, others, strict=True)],
            hovertemplate=say(
                "%{customdata[0]}: %{y} other answers, %{customdata[1]} distinct<extra></extra>"
            ),
        )
    distinct = [len(point.counts) for point in sweep.points]
    figure.update_layout(
        base_layout(
            say("Answers by {parameter}", parameter=name.lower()),
            height=HEIGHT_MEDIUM + 22 * len(figure.data),
            alt=say(
                "Distinct answers out of {count} at each value: {listed}",
                count=sweep.num_samples,
                listed=say(", ").join(
                    f"{tick}: {number}" for tick, number in zip(ticks, distinct, strict=True)
                ),
            ),
            x_title=name,
            y_title=say("Answers"),
        ),
        barmode="stack",
        bargap=0.2,
        legend={"orientation": "v", "x": 0, "y": -0.22, "yanchor": "top"},
        showlegend=True,
    )
    figure.update_xaxes(tickvals=list(range(len(ticks))), ticktext=ticks)
    figure.update_yaxes(range=[0, sweep.num_samples * 1.02])
    figure.layout.meta["columns"] = {"customdata": [name, say("Answer")]}
    return figure


def _others(counts: Counter[str], named: list[str]) -> tuple[int, int]:
    """Number of answers without a bar of their own, and how many of them are distinct."""
    rest = {text: count for text, count in counts.items() if text not in named}
    return sum(rest.values()), len(rest)


def _short(text: str, most: int = MAX_LABEL) -> str:
    return escape_label(cut_end(flowing(text) or say("(empty)"), most))


def plot_lengths(sweep: Sweep, name: str) -> go.Figure:
    """Answer length at each value."""
    return _plot_measure(
        sweep,
        name,
        [[answer.num_tokens for answer in point.answers] for point in sweep.points],
        title=say("Answer length"),
        y_title=say("Tokens"),
        color=BLUE,
    )


def plot_sweep_entropy(sweep: Sweep, name: str) -> go.Figure:
    """Mean entropy at each value."""
    return _plot_measure(
        sweep,
        name,
        [[answer.entropy for answer in point.answers] for point in sweep.points],
        title=say("Entropy of the filtered distributions"),
        y_title=say("Mean entropy (nats)"),
        color=ORANGE,
    )


def _plot_measure(
    sweep: Sweep, name: str, values: list[list[float]], *, title: str, y_title: str, color: str
) -> go.Figure:
    """Every answer as a point, and the mean of each value as a line."""
    at = [point.value for point in sweep.points]
    means = [float(np.mean(group)) for group in values]
    figure = go.Figure()
    figure.add_scatter(
        x=np.repeat(np.array(at, dtype=np.float32), [len(group) for group in values]),
        y=np.array([value for group in values for value in group], dtype=np.float32),
        mode="markers",
        name=say("one answer"),
        marker={"color": color, "symbol": "circle-open", "size": 8},
        hovertemplate=say("{parameter} %{{x:.3g}}: %{{y:.3g}}<extra></extra>", parameter=name),
    )
    figure.add_scatter(
        x=np.array(at, dtype=np.float32),
        y=np.array(means, dtype=np.float32),
        mode="lines+markers",
        name=say("mean"),
        line={"color": color, "width": 2.5},
        marker={"size": 6},
        hovertemplate=say(
            "{parameter} %{{x:.3g}}: %{{y:.3g}} on average<extra></extra>", parameter=name
        ),
    )
    figure.update_layout(
        base_layout(
            title,
            height=HEIGHT_SMALL + 60,
            alt=say(
                "{measure} by {parameter}: the mean goes from {first:.3g} to {last:.3g}.",
                measure=y_title,
                parameter=name.lower(),
                first=means[0],
                last=means[-1],
            ),
            x_title=name,
            y_title=y_title,
        ),
        legend=LEGEND_BELOW,
        margin_t=16,
    )
    figure.update_yaxes(rangemode="tozero")
    return figure
