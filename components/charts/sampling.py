"""Charts of the columns: the probability of each token, and the entropy at each step."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import plotly.graph_objects as go

from components.charts.style import HEIGHT_SMALL, LEGEND_BELOW, base_layout, escape_label
from components.look.colors import CATEGORICAL, PURPLE
from components.views.text import visible
from playground.language import mark, say
from playground.sampling.trace import SamplingRun, TokenStep

# Colour, dash and symbol: no two of eight columns share more than one of them.
DASHES = ("solid", "dash", "dot", "dashdot")
SYMBOLS = ("circle", "diamond", "square", "triangle-up", "x", "cross", "star", "hexagon")
FILTER_NAMES = {
    "repetition_penalty": mark("repetition penalty"),
    "frequency_penalty": mark("frequency penalty"),
    "presence_penalty": mark("presence penalty"),
    "no_repeat_ngram_size": mark("n-gram ban"),
    "thinking_budget": mark("thinking budget"),
    "temperature": mark("greedy decoding"),
    "vision_tokens": mark("vision-token mask"),
    "top_k": mark("top-k"),
    "top_p": mark("top-p"),
    "min_p": mark("min-p"),
    "typical_p": mark("typical-p"),
}


def plot_probabilities(run: SamplingRun, names: Sequence[str]) -> go.Figure:
    """Probability of each generated token before the filters, one line per column."""
    figure = _plot_lines(
        run,
        names,
        lambda step: step.raw_prob,
        "%{y:.1%}",
        title=say("Probability of each generated token"),
        alt=_probabilities_alt(run),
        y_title=say("Probability before the filters"),
    )
    figure.update_yaxes(range=[0, 1.05], tickformat=".0%")
    return figure


def plot_entropy(run: SamplingRun, names: Sequence[str]) -> go.Figure:
    """Entropy at each token after the filters, one line per column."""
    figure = _plot_lines(
        run,
        names,
        lambda step: step.entropy,
        say("%{y:.2f} nats"),
        title=say("Entropy of the filtered distribution at each token"),
        alt=say(
            "Entropy of the filtered distribution at each token, one line per column. Zero means "
            "that only one token remained."
        ),
        y_title=say("Entropy (nats)"),
    )
    figure.update_yaxes(rangemode="tozero")
    return figure


def _plot_lines(
    run: SamplingRun,
    names: Sequence[str],
    value: Callable[[TokenStep], float],
    shown: str,
    **words: str,
) -> go.Figure:
    """One line per column, and where they diverge; ``words`` are passed to ``base_layout``.

    Args:
        run: the columns.
        names: of the columns.
        value: the value of a token on the vertical axis.
        shown: Plotly template of the value in the hover box.
    """
    layout = base_layout(height=HEIGHT_SMALL + 60, x_title=say("Token"), **words)
    layout["margin"]["t"] = 24
    layout["legend"] = LEGEND_BELOW
    layout["showlegend"] = len(run.traces) > 1
    layout["meta"] |= {
        "columns": {"customdata": [say("Text")]},
        "pick": {"branch": "curve", "step": "point_index"},  # a click chooses the token
    }
    lines = [
        _column_line(index, name, trace.steps, value, shown)
        for index, (trace, name) in enumerate(zip(run.traces, names, strict=True))
    ]
    figure = go.Figure(lines, layout)
    _mark_divergence(figure, run)
    return figure


def _column_line(
    index: int,
    name: str,
    steps: Sequence[TokenStep],
    value: Callable[[TokenStep], float],
    shown: str,
) -> go.Scatter:
    return go.Scatter(
        x=np.arange(1, len(steps) + 1, dtype=np.int16),
        y=np.array([value(step) for step in steps], dtype=np.float32),
        name=say("Column {name}", name=name),
        mode="lines+markers",
        line={
            "color": CATEGORICAL[index % len(CATEGORICAL)],
            "dash": DASHES[index % len(DASHES)],
            "width": 2,
        },
        marker={"symbol": SYMBOLS[index % len(SYMBOLS)], "size": 6},
        customdata=[escape_label(visible(step.text)) for step in steps],
        hovertemplate=say(
            "Column {name}, token %{{x}}: “%{{customdata}}”<br>{shown}<extra></extra>",
            name=name,
            shown=shown,
        ),
    )


def _mark_divergence(figure: go.Figure, run: SamplingRun) -> None:
    """A line where the columns first differ, labelled on the side with more room."""
    first = run.first_divergence
    if first is None:
        return
    longest = max(len(trace.steps) for trace in run.traces)
    on_left = first + 1 <= longest / 2
    figure.add_vline(
        x=first + 1,
        line={"color": PURPLE, "width": 2, "dash": "dot"},
        annotation={
            "text": say("first difference: token {number}", number=first + 1),
            "font": {"color": PURPLE, "size": 12},
            "xanchor": "left" if on_left else "right",
            "yref": "paper",
            "y": 1,
            "yanchor": "bottom",
            "showarrow": False,
        },
    )


def _probabilities_alt(run: SamplingRun) -> str:
    first = run.first_divergence
    if first is None:
        return say(
            "Probability before the filters of each generated token, one line per column. The "
            "columns are identical."
        )
    return say(
        "Probability before the filters of each generated token, one line per column. The columns "
        "first differ at token {number}.",
        number=first + 1,
    )


def filter_name(name: str | None) -> str:
    """A filter's name on the page."""
    return say(FILTER_NAMES[name]) if name else ""
