"""Charts of a change: the next token before and after, and what parts of a picture are worth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from components.chart_style import (
    BLUE,
    DIVERGING,
    GREEN,
    HEIGHT_MEDIUM,
    ORANGE,
    base_layout,
    pointer_meta,
)
from components.charts.decoder import percent
from components.charts.token_labels import token_label

if TYPE_CHECKING:
    from playground.answers import AnswerShift
    from playground.what_if_runs import LogitsShift, TokenShift

ROW_HEIGHT = 34  # pixels per token: two bars
SHOWN = 8  # tokens


def plot_shift(shift: LogitsShift, names: tuple[str, str] = ("original", "changed")) -> go.Figure:
    """The likeliest next tokens of both runs, original above changed.

    Args:
        shift: the comparison.
        names: what the two runs are called.
    """
    tokens = shift.tokens[:SHOWN]
    rows = np.arange(len(tokens), dtype=np.int32)
    same = "the same token leads" if shift.same_top else "another token leads"
    largest = max(max(token.before, token.after) for token in tokens)
    layout = base_layout(
        f"Next token, {names[0]} and {names[1]}: {same}, KL = {shift.kl:.3g} nats",
        height=110 + ROW_HEIGHT * len(tokens),
        alt=f"Pairs of bars for {len(tokens)} tokens; the largest change of a probability is "
        f"{shift.max_abs_dp:.1%}.",
        x_title="probability",
        y_title="token",
    )
    layout["barmode"] = "group"
    layout["margin"]["r"] = 30
    layout["xaxis"] |= {"tickformat": ".2~p", "range": [0, min(1.15, 1.25 * largest)]}
    # Positions, not names: two tokens may be spelt alike.
    layout["yaxis"] |= {
        "autorange": "reversed",
        "showgrid": False,
        "tickvals": rows.tolist(),
        "ticktext": [token_label(token.text) for token in tokens],
    }
    layout["meta"]["columns"] = {"y": "rank − 1", "customdata": "token"}
    traces = [
        _shift_bars(tokens, side, name, color, pattern)
        for side, name, color, pattern in (
            ("before", names[0], BLUE, ""),
            ("after", names[1], ORANGE, "/"),
        )
    ]
    return go.Figure(traces, layout)


def _shift_bars(
    tokens: Sequence[TokenShift], side: str, name: str, color: str, pattern: str
) -> go.Bar:
    values = [getattr(token, side) for token in tokens]
    return go.Bar(
        x=np.array(values, np.float32),
        y=np.arange(len(tokens), dtype=np.int32),
        name=name,
        orientation="h",
        marker={"color": color, "pattern": {"shape": pattern, "fillmode": "overlay"}},
        text=[percent(value) for value in values],
        textposition="outside",
        cliponaxis=False,
        customdata=[token_label(token.text, 60) for token in tokens],
        hovertemplate=f"“%{{customdata}}”<br>{name}: %{{x:.4%}}<extra></extra>",
    )


def plot_answer_shift(
    shift: AnswerShift,
    texts: Sequence[str],
    names: tuple[str, str] = ("original", "changed"),
    chosen: int | None = None,
) -> go.Figure:
    """Each token of the original answer, as likely as each run finds it.

    Args:
        shift: the answer under both runs.
        texts: the escaped text of each token.
        names: what the two runs are called.
        chosen: index of the token to mark, if any.
    """
    before, after = np.exp(shift.before), np.exp(shift.after)
    places = np.arange(len(texts), dtype=np.int32)
    most = int(shift.drop.argmax())
    fall = f"“{texts[most]}” falls most, from {percent(before[most])} to {percent(after[most])}"
    layout = base_layout(
        f"The original answer word by word: {fall if shift.drop[most] > 0.01 else 'no word falls'}",
        height=HEIGHT_MEDIUM,
        alt=f"Pairs of bars for {len(texts)} tokens, {names[0]} and {names[1]}; {fall}.",
        x_title="token of the original answer",
        y_title="probability",
    )
    layout["barmode"] = "group"
    layout["yaxis"] |= {"range": [0, 1.08], "tickformat": ".0%"}
    # Positions, not names: a word may come twice.
    layout["xaxis"] |= {
        "showgrid": False,
        "zeroline": False,
        "tickvals": places.tolist(),
        "ticktext": list(texts),
    }
    if chosen is not None:
        layout["annotations"] = [
            {"x": chosen, "y": 1.0, "yanchor": "bottom", "text": "▼", "showarrow": False}
        ]
    layout["meta"]["columns"] = {"x": "place − 1", "y": "probability", "customdata": "token"}
    traces = [
        go.Bar(
            x=places,
            y=values.astype(np.float32),
            name=name,
            marker={"color": color, "pattern": {"shape": pattern, "fillmode": "overlay"}},
            customdata=list(texts),
            hovertemplate=f"“%{{customdata}}”<br>{name}: %{{y:.4%}}<extra></extra>",
        )
        for values, name, color, pattern in (
            (before, names[0], BLUE, ""),
            (after, names[1], ORANGE, "/"),
        )
    ]
    return go.Figure(traces, layout)


def plot_agreement(agreement: np.ndarray) -> go.Figure:
    """How well each head's attention orders the parts of a picture as the influence does.

    Args:
        agreement: (layers, heads) rank correlation; NaN where a head looks everywhere alike.
    """
    layers, heads = agreement.shape
    words = "no head looks anywhere in particular"
    if not np.isnan(agreement).all():
        layer, head = np.unravel_index(int(np.nanargmax(agreement)), agreement.shape)
        words = f"layer {layer}, head {head} comes nearest, {float(agreement[layer, head]):.2f}"
    layout = base_layout(
        f"Does attention tell? Rank correlation with the influence: {words}",
        height=int(np.clip(120 + 22 * layers, 260, 520)),
        alt=f"Map of {layers} layers by {heads} heads; {words}.",
        x_title="head",
        y_title="decoder layer",
    )
    layout["xaxis"] |= {"showgrid": False, "zeroline": False, "dtick": 1 if heads <= 16 else 4}
    layout["yaxis"] |= {"showgrid": False, "zeroline": False, "dtick": max(1, layers // 14)}
    layout["meta"]["columns"] = {"x": "head", "y": "layer", "z": "rank correlation"}
    heat_map = go.Heatmap(
        z=agreement.astype(np.float32),
        zmid=0,
        zmin=-1,
        zmax=1,
        colorscale=DIVERGING,
        colorbar={"title": {"text": "rank correlation"}},
        hoverongaps=False,
        hovertemplate="layer %{y}, head %{x}<br>rank correlation %{z:.2f}<extra></extra>",
    )
    return go.Figure(heat_map, layout)


def plot_patch_sweep(probs: np.ndarray, words: tuple[str, str]) -> go.Figure:
    """At which layer a state decides the next word: both runs' words, layer by layer.

    Args:
        probs: (2, layers + 1): probability of this run's word and of the other run's, when the
            state that layer i reads is replaced; the last column is the final norm's.
        words: this run's and the other run's likeliest next token, escaped.
    """
    states = np.arange(probs.shape[1], dtype=np.int32)
    wins = np.flatnonzero(probs[1] > probs[0])
    found = f"“{words[1]}” wins first at layer {wins[0]}" if len(wins) else f"“{words[0]}” stays"
    layout = base_layout(
        f"One state replaced, layer by layer: {found}",
        height=HEIGHT_MEDIUM,
        alt=f"Two lines over {len(states)} layers; {found}.",
        x_title="layer whose input is replaced (the last one: the final norm)",
        y_title="probability of the next token",
    )
    layout["xaxis"] |= {"zeroline": False, "dtick": max(1, len(states) // 14)}
    layout["yaxis"] |= {"range": [-0.03, 1.05], "tickformat": ".0%"}
    layout["meta"]["columns"] = {"x": "layer", "y": "probability"}
    traces = [
        go.Scatter(
            x=states,
            y=line.astype(np.float32),
            name=f"“{word}”, {of}",
            mode="lines+markers",
            line={"color": color, "dash": dash},
            marker={"symbol": symbol, "size": 8},
            hovertemplate=f"layer %{{x}} replaced<br>“{word}”: %{{y:.2%}}<extra></extra>",
        )
        for line, word, of, color, dash, symbol in (
            (probs[0], words[0], "this run's word", BLUE, "solid", "circle"),
            (probs[1], words[1], "the other run's word", GREEN, "dash", "square"),
        )
    ]
    return go.Figure(traces, layout)


def plot_influence(drop: np.ndarray, block: int, word: str, span: int) -> go.Figure:
    """What the answer word loses when a part of the picture is taken away.

    Args:
        drop: (rows, columns) nats: log p with the part - log p without it.
        block: tokens along each side of the block in the middle of a part.
        word: escaped.
        span: index into ``ModelInputs.spans``.
    """
    largest = max(float(np.abs(drop).max()), 1e-6)
    row, column = np.unravel_index(int(drop.argmax()), drop.shape)
    layout = base_layout(
        f"What “{word}” depends on: log-probability lost when a part is taken away",
        height=380,
        alt=f"Map of {drop.shape[0]} by {drop.shape[1]} parts of the picture; the most, "
        f"{float(drop.max()):.3g} nats, is lost at row {row}, column {column}.",
        x_title="token column",
        y_title="token row",
    )
    layout["xaxis"] |= {"showgrid": False, "zeroline": False, "constrain": "domain"}
    layout["yaxis"] |= {
        "showgrid": False,
        "zeroline": False,
        "autorange": "reversed",
        "scaleanchor": "x",
        "constrain": "domain",
    }
    middles = [
        (np.arange(size) * block + (block - 1) / 2).astype(np.float32) for size in drop.shape
    ]
    layout["meta"]["pointer"] = pointer_meta("merged", span=span)
    layout["meta"]["columns"] = {"x": "column", "y": "row", "z": "nats lost"}
    heat_map = go.Heatmap(
        z=drop.astype(np.float32),
        x=middles[1],
        y=middles[0],
        zmid=0,
        zmin=-largest,
        zmax=largest,
        colorscale=DIVERGING,
        colorbar={"title": {"text": "nats lost"}},
        hovertemplate="row %{y}, column %{x}<br>%{z:.3g} nats lost without it<extra></extra>",
    )
    return go.Figure(heat_map, layout)
