"""Charts of a sweep: which answers come how often, how long they are, how open the choices."""

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
from playground.language import mark, say

if TYPE_CHECKING:
    from playground.sampling.sweep import Sweep

MAX_ANSWERS = 7  # with a colour of their own
MAX_LABEL = 34  # characters
PARAMETER_NAMES = {
    "temperature": mark("Temperature"),
    "top_k": mark("Top-k"),
    "top_p": mark("Top-p"),
    "min_p": mark("Min-p"),
    "typical_p": mark("Typical-p"),
    "repetition_penalty": mark("Repetition penalty"),
    "frequency_penalty": mark("Frequency penalty"),
    "presence_penalty": mark("Presence penalty"),
}
PATTERNS = ("", "/", ".", "x", "-", "\\", "+")


def parameter_name(name: str) -> str:
    """A setting's name on an axis."""
    return say(PARAMETER_NAMES[name])


def top_answers(sweep: Sweep) -> list[str]:
    """The most frequent answers over all values."""
    total: Counter[str] = Counter()
    for point in sweep.points:
        total += point.counts
    return [text for text, _ in total.most_common(MAX_ANSWERS)]


def plot_answers(sweep: Sweep) -> go.Figure:
    """How often each distinct answer came at each value, as stacked bars."""
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
            hovertemplate=say("%{y} times at %{customdata[0]}: %{customdata[1]}<extra></extra>"),
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
                "%{y} others at %{customdata[0]}, %{customdata[1]} different<extra></extra>"
            ),
        )
    distinct = [len(point.counts) for point in sweep.points]
    name = parameter_name(sweep.parameter)
    figure.update_layout(
        base_layout(
            say("Which answers come at which {parameter}", parameter=name.lower()),
            height=HEIGHT_MEDIUM + 22 * len(figure.data),
            alt=say(
                "Distinct answers among {count} at each value: {listed}",
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
    """How many answers are not among the named ones, and how many different ones."""
    rest = {text: count for text, count in counts.items() if text not in named}
    return sum(rest.values()), len(rest)


def _short(text: str, most: int = MAX_LABEL) -> str:
    return escape_label(cut_end(flowing(text) or say("(nothing)"), most))


def plot_lengths(sweep: Sweep) -> go.Figure:
    """How long the answers are at each value."""
    return _plot_measure(
        sweep,
        [[answer.num_tokens for answer in point.answers] for point in sweep.points],
        title=say("How long the answers are"),
        y_title=say("Tokens"),
        color=BLUE,
    )


def plot_sweep_entropy(sweep: Sweep) -> go.Figure:
    """How open the choices are at each value."""
    return _plot_measure(
        sweep,
        [[answer.entropy for answer in point.answers] for point in sweep.points],
        title=say("How open the choices are"),
        y_title=say("Mean entropy (nats)"),
        color=ORANGE,
    )


def _plot_measure(
    sweep: Sweep, values: list[list[float]], *, title: str, y_title: str, color: str
) -> go.Figure:
    """Every answer as a point, and the mean of each value as a line."""
    at = [point.value for point in sweep.points]
    name = parameter_name(sweep.parameter)
    means = [float(np.mean(each)) for each in values]
    figure = go.Figure()
    figure.add_scatter(
        x=np.repeat(np.array(at, dtype=np.float32), [len(each) for each in values]),
        y=np.array([value for each in values for value in each], dtype=np.float32),
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
                "{measure} by {parameter}: from {first:.3g} to {last:.3g} on average.",
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
