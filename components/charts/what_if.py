"""Charts of a change: the next token and the answer's tokens before and after."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go

from components.charts.decoder import percent
from components.charts.style import HEIGHT_MEDIUM, base_layout, chosen_mark
from components.charts.token_labels import token_label
from components.look.colors import BLUE, GREEN, ORANGE
from playground.language import say

if TYPE_CHECKING:
    from playground.experiments.answers import AnswerShift
    from playground.experiments.what_if_runs import LogitsShift, TokenShift

ROW_HEIGHT = 34  # pixels per token: two bars
SHOWN = 8  # tokens
# Of the original and the changed run: they differ in more than colour.
BAR_MARKERS = (
    {"color": BLUE, "pattern": {"shape": "", "fillmode": "overlay"}},
    {"color": ORANGE, "pattern": {"shape": "/", "fillmode": "overlay"}},
)


def plot_shift(shift: LogitsShift, names: tuple[str, str] | None = None) -> go.Figure:
    """The most likely next tokens of both runs, original above changed.

    Args:
        shift: the comparison.
        names: of the two runs; by default "original" and "changed".
    """
    names = names or _default_names()
    tokens = shift.tokens[:SHOWN]
    rows = np.arange(len(tokens), dtype=np.int32)
    same = say("same top token") if shift.same_top else say("different top token")
    largest = max(max(token.before, token.after) for token in tokens)
    layout = base_layout(
        say(
            "Next token, {before} and {after}: {same}, KL = {kl:.3g} nats",
            before=names[0],
            after=names[1],
            same=same,
            kl=shift.kl,
        ),
        height=110 + ROW_HEIGHT * len(tokens),
        alt=say(
            "Pairs of bars for {count} tokens; the largest change in probability is {change:.1%}.",
            count=len(tokens),
            change=shift.max_abs_dp,
        ),
        x_title=say("probability"),
        y_title=say("token"),
    )
    layout["barmode"] = "group"
    layout["margin"]["r"] = 30
    layout["xaxis"] |= {"tickformat": ".2~p", "range": [0, min(1.15, 1.25 * largest)]}
    # Positions, not names: two tokens may have the same text.
    layout["yaxis"] |= {
        "autorange": "reversed",
        "showgrid": False,
        "tickvals": rows.tolist(),
        "ticktext": [token_label(token.text) for token in tokens],
    }
    layout["meta"]["columns"] = {"y": say("rank (from 0)"), "customdata": say("token")}
    return go.Figure(_shift_bars(tokens, names), layout)


def _default_names() -> tuple[str, str]:
    return say("original"), say("changed")


def _shift_bars(tokens: Sequence[TokenShift], names: tuple[str, str]) -> list[go.Bar]:
    sides = [token.before for token in tokens], [token.after for token in tokens]
    return [
        go.Bar(
            x=np.array(values, np.float32),
            y=np.arange(len(tokens), dtype=np.int32),
            name=name,
            orientation="h",
            marker=marker,
            text=[percent(value) for value in values],
            textposition="outside",
            cliponaxis=False,
            customdata=[token_label(token.text, 60) for token in tokens],
            hovertemplate=say("“%{{customdata}}”<br>{run}: %{{x:.4%}}", run=name)
            + "<extra></extra>",
        )
        for values, name, marker in zip(sides, names, BAR_MARKERS, strict=True)
    ]


def plot_answer_shift(
    shift: AnswerShift,
    texts: Sequence[str],
    names: tuple[str, str] | None = None,
    chosen: int | None = None,
) -> go.Figure:
    """The probability of each token of the original answer in both runs.

    Args:
        shift: the answer under both runs.
        texts: the escaped text of each token.
        names: of the two runs; by default "original" and "changed".
        chosen: index of the token to mark, if any.
    """
    names = names or _default_names()
    layout = _shift_layout(shift, texts, names)
    if chosen is not None:
        layout["annotations"] = [chosen_mark(chosen)]
    traces = [
        go.Bar(
            x=np.arange(len(texts), dtype=np.int32),
            y=np.exp(log_probs).astype(np.float32),
            name=name,
            marker=marker,
            customdata=list(texts),
            hovertemplate=say("“%{{customdata}}”<br>{run}: %{{y:.4%}}", run=name)
            + "<extra></extra>",
        )
        for log_probs, name, marker in zip(
            (shift.before, shift.after), names, BAR_MARKERS, strict=True
        )
    ]
    return go.Figure(traces, layout)


def _shift_layout(
    shift: AnswerShift, texts: Sequence[str], names: tuple[str, str]
) -> dict[str, Any]:
    """Title with the token that drops most, and a tick for each token."""
    most = int(shift.drop.argmax())
    fall = say(
        "“{token}” drops most, from {before} to {after}",
        token=texts[most],
        before=percent(float(np.exp(shift.before[most]))),
        after=percent(float(np.exp(shift.after[most]))),
    )
    found = fall if shift.drop[most] > 0.01 else say("no token drops")
    layout = base_layout(
        say("Original answer, token by token: {found}", found=found),
        height=HEIGHT_MEDIUM,
        alt=say(
            "Pairs of bars for {count} tokens, {before} and {after}; {fall}.",
            count=len(texts),
            before=names[0],
            after=names[1],
            fall=fall,
        ),
        x_title=say("token of the original answer"),
        y_title=say("probability"),
    )
    layout["barmode"] = "group"
    layout["yaxis"] |= {"range": [0, 1.08], "tickformat": ".0%"}
    # Positions, not names: a token may occur twice.
    layout["xaxis"] |= {
        "showgrid": False,
        "zeroline": False,
        "tickvals": list(range(len(texts))),
        "ticktext": list(texts),
    }
    layout["meta"]["columns"] = {
        "x": say("index"),
        "y": say("probability"),
        "customdata": say("token"),
    }
    return layout


def plot_patch_sweep(probs: np.ndarray, tokens: tuple[str, str]) -> go.Figure:
    """Activation patching (Meng et al. 2022) by layer: probabilities of both runs' next tokens.

    Args:
        probs: (2, layers + 1): probability of this run's next token and of the other run's when
            the input of layer i is patched; the last column is for the final norm.
        tokens: most likely next token of this run and of the other, escaped.
    """
    states = np.arange(probs.shape[1], dtype=np.int32)
    wins = np.flatnonzero(probs[1] > probs[0])
    found = say("“{token}” stays ahead", token=tokens[0])
    if len(wins):
        found = say(
            "“{token}” first takes the lead at layer {layer}", token=tokens[1], layer=wins[0]
        )
    layout = base_layout(
        say("One hidden state patched at each layer: {found}", found=found),
        height=HEIGHT_MEDIUM,
        alt=say("Two lines over {layers} layers; {found}.", layers=len(states), found=found),
        x_title=say("patched layer (last: final norm)"),
        y_title=say("probability of the next token"),
    )
    layout["xaxis"] |= {"zeroline": False, "dtick": max(1, len(states) // 14)}
    layout["yaxis"] |= {"range": [-0.03, 1.05], "tickformat": ".0%"}
    layout["meta"]["columns"] = {"x": say("layer"), "y": say("probability")}
    lines = (
        (
            tokens[0],
            say("“{token}”, predicted by this run", token=tokens[0]),
            BLUE,
            "solid",
            "circle",
        ),
        (
            tokens[1],
            say("“{token}”, predicted by the other run", token=tokens[1]),
            GREEN,
            "dash",
            "square",
        ),
    )
    traces = [
        go.Scatter(
            x=states,
            y=line.astype(np.float32),
            name=name,
            mode="lines+markers",
            line={"color": color, "dash": dash},
            marker={"symbol": symbol, "size": 8},
            hovertemplate=say("layer %{{x}} patched<br>“{token}”: %{{y:.2%}}", token=token)
            + "<extra></extra>",
        )
        for line, (token, name, color, dash, symbol) in zip(probs, lines, strict=True)
    ]
    return go.Figure(traces, layout)
