"""Charts of the sampling stage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from components.chart_style import (
    BLUE,
    GREEN,
    GREY,
    HEIGHT_SMALL,
    ORANGE,
    PURPLE,
    base_layout,
    escape_label,
)
from components.strips import raw_probability, visible
from playground.records import Candidate, SamplingRun, SamplingTrace, TokenStep

COLUMN_STYLES = (
    {"color": BLUE, "dash": "solid", "symbol": "circle"},
    {"color": ORANGE, "dash": "dash", "symbol": "diamond"},
)
FILTER_NAMES = {
    "temperature": "greedy choice",
    "vision_tokens": "bar on vision tokens",
    "top_k": "top-k",
    "top_p": "top-p",
    "min_p": "min-p",
    "typical_p": "typical-p",
}
BAR_PX = 44  # height of one candidate's two bars, with the space around them


def plot_probabilities(run: SamplingRun, names: Sequence[str]) -> go.Figure:
    """How likely each chosen token was before the filters, one line per column."""
    figure = _plot_lines(run, names, raw_probability, "%{y:.1%}")
    figure.update_layout(
        base_layout(
            "How sure the model was of each token it wrote",
            height=HEIGHT_SMALL + 40,
            alt="Probability before the filters of each chosen token, one line per column. "
            + _divergence_words(run),
            x_title="Token",
            y_title="Probability before the filters",
        )
    )
    figure.update_yaxes(range=[0, 1.05], tickformat=".0%")
    _mark_divergence(figure, run)
    return figure


def plot_entropy(run: SamplingRun, names: Sequence[str]) -> go.Figure:
    """How open each choice was after the filters, one line per column."""
    figure = _plot_lines(run, names, lambda step: step.entropy, "%{y:.2f} nats")
    figure.update_layout(
        base_layout(
            "How open each choice was after the filters",
            height=HEIGHT_SMALL + 40,
            alt="Entropy of the filtered distribution at each token, one line per column. "
            "Zero means that one token was left.",
            x_title="Token",
            y_title="Entropy (nats)",
        )
    )
    figure.update_yaxes(rangemode="tozero")
    _mark_divergence(figure, run)
    return figure


def _plot_lines(
    run: SamplingRun, names: Sequence[str], value: Callable[[TokenStep], float], shown: str
) -> go.Figure:
    figure = go.Figure()
    for index, (trace, name) in enumerate(zip(run.traces, names, strict=True)):
        style = COLUMN_STYLES[index % len(COLUMN_STYLES)]
        figure.add_scatter(
            x=np.arange(1, len(trace.steps) + 1, dtype=np.int32),
            y=np.array([value(step) for step in trace.steps], dtype=np.float32),
            name=f"Column {name}",
            mode="lines+markers",
            line={"color": style["color"], "dash": style["dash"], "width": 2},
            marker={"symbol": style["symbol"], "size": 6},
            customdata=[[escape_label(_quote(step.text)), index] for step in trace.steps],
            hovertemplate=f"Column {name}, token %{{x}}: %{{customdata[0]}}<br>{shown}"
            "<extra></extra>",
        )
    return figure


def _mark_divergence(figure: go.Figure, run: SamplingRun) -> None:
    """A line at the first step at which the columns differ, named on the side with more room."""
    first = run.first_divergence
    if first is None:
        return
    longest = max(len(trace.steps) for trace in run.traces)
    on_left = first + 1 <= longest / 2
    figure.add_vline(
        x=first + 1,
        line={"color": PURPLE, "width": 2, "dash": "dot"},
        annotation={
            "text": f"first difference: token {first + 1}",
            "font": {"color": PURPLE, "size": 12},
            "xanchor": "left" if on_left else "right",
            "yref": "paper",
            "y": 1,
            "yanchor": "bottom",
            "showarrow": False,
        },
    )
    # The name stands above the plot, where the legend would be: the legend goes below.
    figure.update_layout(
        margin_t=24, legend={"orientation": "h", "x": 0, "y": -0.32, "yanchor": "top"}
    )


def _divergence_words(run: SamplingRun) -> str:
    first = run.first_divergence
    return "The columns agree." if first is None else f"They first differ at token {first + 1}."


def plot_candidates(trace: SamplingTrace, index: int, name: str) -> go.Figure:
    """The likeliest tokens of one step, before and after the filters.

    Args:
        trace: one column.
        index: the step, from 0.
        name: the column's name.
    """
    step = trace.steps[index]
    rows = list(step.top)
    figure = go.Figure(
        [_before_bars(rows), _after_bars(rows)],
        base_layout(
            f"The likeliest tokens at token {index + 1} of column {name}, before and after the "
            "filters",
            height=90 + BAR_PX * len(rows),
            alt=_candidate_words(step),
            x_title="Probability",
            y_title="Token",
        ),
    )
    largest = max(max(each.raw_prob, each.prob) for each in rows)
    figure.update_xaxes(range=[0, min(1.0, largest) * 1.42], tickformat=".0%", nticks=6)
    # By number, not by name: different tokens may read the same.
    labels = [_label(each, each.id == step.id) for each in rows]
    figure.update_yaxes(
        tickvals=list(range(len(rows))),
        ticktext=labels,
        range=[len(rows) - 0.5, -0.5],
        showgrid=False,
        zeroline=False,
    )
    figure.update_layout(
        barmode="group",
        bargap=0.25,
        bargroupgap=0.08,
        legend={"traceorder": "normal"},
        meta={
            "alt": _candidate_words(step),
            "columns": {"customdata": ["Token", "What became of it"]},
        },
    )
    return figure


def _before_bars(rows: Sequence[Candidate]) -> go.Bar:
    return go.Bar(
        y=list(range(len(rows))),
        x=np.array([each.raw_prob for each in rows], dtype=np.float32),
        orientation="h",
        name="before",
        marker={"color": GREY, "line": {"width": 0}},
        text=[f"{each.raw_prob:.1%}" for each in rows],
        **_bar_words(rows, "before"),
    )


def _after_bars(rows: Sequence[Candidate]) -> go.Bar:
    """What is left; a removed token keeps its old length as a hatched outline."""
    removed = [each.removed_by is not None for each in rows]
    return go.Bar(
        y=list(range(len(rows))),
        x=np.array(
            [
                each.raw_prob if gone else each.prob
                for each, gone in zip(rows, removed, strict=True)
            ],
            dtype=np.float32,
        ),
        orientation="h",
        name="after (hatched: removed)",
        marker={
            "color": ["rgba(0,0,0,0)" if gone else GREEN for gone in removed],
            "line": {"color": [GREY if gone else GREEN for gone in removed], "width": 1},
            "pattern": {
                "shape": ["/" if gone else "" for gone in removed],
                "fgcolor": GREY,
                "size": 6,
                "solidity": 0.25,
            },
        },
        text=[
            f"removed: {filter_name(each.removed_by)}" if each.removed_by else f"{each.prob:.1%}"
            for each in rows
        ],
        **_bar_words(rows, "after"),
    )


def _bar_words(rows: Sequence[Candidate], when: str) -> dict[str, Any]:
    fates = [
        f"removed by the {filter_name(each.removed_by)}"
        if each.removed_by
        else f"{each.raw_prob:.2%} before the filters, {each.prob:.2%} after"
        for each in rows
    ]
    return {
        "customdata": [
            [escape_label(_quote(each.text)), fate] for each, fate in zip(rows, fates, strict=True)
        ],
        "hovertemplate": "%{customdata[0]}: %{customdata[1]}"
        f"<br>{when} the filters<extra></extra>",
        "textposition": "outside",
        "cliponaxis": False,
        "textfont": {"size": 11},
    }


def filter_name(name: str | None) -> str:
    """A filter's name in words."""
    return FILTER_NAMES.get(name or "", (name or "").replace("_", " "))


def _quote(text: str) -> str:
    return f"“{visible(text)}”"


def _label(each: Candidate, chosen: bool) -> str:
    text = visible(each.text)
    short = text if len(text) <= 14 else text[:13] + "…"
    return ("✓ " if chosen else "") + escape_label(short)


def _candidate_words(step: TokenStep) -> str:
    best = step.top[0]
    return (
        f"Likeliest before the filters: {_quote(best.text)} with {best.raw_prob:.1%}. Chosen: "
        f"{_quote(step.text)}, {step.prob:.1%} after the filters, which left {step.num_kept:,} "
        "tokens."
    )
