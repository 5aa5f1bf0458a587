"""Charts of a sweep: which answers come how often, how long they are, how open the choices."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from components.chart_style import (
    BLUE,
    CATEGORICAL,
    GREY,
    HEIGHT_MEDIUM,
    HEIGHT_SMALL,
    ORANGE,
    base_layout,
    escape_label,
)
from components.strips import visible

if TYPE_CHECKING:
    from playground.sampling_sweep import Sweep

MAX_ANSWERS = 7  # with a colour of their own
MAX_LABEL = 34  # characters
PATTERNS = ("", "/", ".", "x", "-", "\\", "+")


def parameter_name(name: str) -> str:
    """A setting's name on an axis."""
    return {"top_k": "Top-k", "top_p": "Top-p", "min_p": "Min-p", "typical_p": "Typical-p"}.get(
        name, name.replace("_", " ").capitalize()
    )


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
            hovertemplate="%{y} times at %{customdata[0]}: %{customdata[1]}<extra></extra>",
        )
    others = [_others(point.counts, named) for point in sweep.points]
    if any(count for count, _ in others):
        figure.add_bar(
            x=list(range(len(ticks))),
            y=np.array([count for count, _ in others], dtype=np.int32),
            name="other answers",
            marker={"color": GREY, "pattern": {"shape": "x", "solidity": 0.15}},
            customdata=[[tick, kinds] for tick, (_, kinds) in zip(ticks, others, strict=True)],
            hovertemplate="%{y} others at %{customdata[0]}, %{customdata[1]} different"
            "<extra></extra>",
        )
    distinct = [len(point.counts) for point in sweep.points]
    name = parameter_name(sweep.parameter)
    figure.update_layout(
        base_layout(
            f"Which answers come at which {name.lower()}",
            height=HEIGHT_MEDIUM + 22 * len(figure.data),
            alt=f"Distinct answers among {sweep.num_samples} at each value: "
            + ", ".join(f"{tick}: {n}" for tick, n in zip(ticks, distinct, strict=True)),
            x_title=name,
            y_title="Answers",
        ),
        barmode="stack",
        bargap=0.2,
        legend={"orientation": "v", "x": 0, "y": -0.22, "yanchor": "top"},
        showlegend=True,
    )
    figure.update_xaxes(tickvals=list(range(len(ticks))), ticktext=ticks)
    figure.update_yaxes(range=[0, sweep.num_samples * 1.02])
    return figure


def _others(counts: Counter[str], named: list[str]) -> tuple[int, int]:
    """How many answers are not among the named ones, and how many different ones."""
    rest = {text: count for text, count in counts.items() if text not in named}
    return sum(rest.values()), len(rest)


def _short(text: str, most: int = MAX_LABEL) -> str:
    shown = visible(text).replace("␣", " ") or "(nothing)"
    return escape_label(shown if len(shown) <= most else shown[: most - 1] + "…")


def plot_lengths(sweep: Sweep) -> go.Figure:
    """How long the answers are at each value."""
    return _plot_measure(
        sweep,
        [[answer.num_tokens for answer in point.answers] for point in sweep.points],
        title="How long the answers are",
        y_title="Tokens",
        color=BLUE,
    )


def plot_sweep_entropy(sweep: Sweep) -> go.Figure:
    """How open the choices are at each value."""
    return _plot_measure(
        sweep,
        [[answer.entropy for answer in point.answers] for point in sweep.points],
        title="How open the choices are",
        y_title="Mean entropy (nats)",
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
        name="one answer",
        marker={"color": color, "symbol": "circle-open", "size": 8},
        hovertemplate=f"{name} %{{x:.3g}}: %{{y:.3g}}<extra></extra>",
    )
    figure.add_scatter(
        x=np.array(at, dtype=np.float32),
        y=np.array(means, dtype=np.float32),
        mode="lines+markers",
        name="mean",
        line={"color": color, "width": 2.5},
        marker={"size": 6},
        hovertemplate=f"{name} %{{x:.3g}}: %{{y:.3g}} on average<extra></extra>",
    )
    figure.update_layout(
        base_layout(
            title,
            height=HEIGHT_SMALL + 60,
            alt=f"{y_title} by {name.lower()}: from {means[0]:.3g} to {means[-1]:.3g} on average.",
            x_title=name,
            y_title=y_title,
        ),
        legend={"orientation": "h", "x": 0, "y": -0.3, "yanchor": "top"},
        margin_t=16,
    )
    figure.update_yaxes(rangemode="tozero")
    return figure
