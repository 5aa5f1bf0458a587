"""Charts of one decoder layer's attention."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from components.charts.heat_map import heat_map, hide_lines
from components.charts.style import (
    HEIGHT_LARGE,
    HEIGHT_MEDIUM,
    base_layout,
    chosen_mark,
    pointer_meta,
)
from components.look.colors import BLUE, GREEN, GREY, ORANGE
from playground.language import say

if TYPE_CHECKING:
    from playground.decoder.attention import HeadSummary

MAX_CELLS = 15_000  # of the matrix: 80 kB of float32 in base64


def plot_head_shares(summary: HeadSummary, layer: int, head: int | None) -> go.Figure:
    """What each head of a layer attends to, with its entropy on hover.

    Args:
        summary: of the layer.
        layer: from 0.
        head: the chosen head, marked; ``None`` for the mean of all.
    """
    heads = np.arange(len(summary.entropy), dtype=np.int32)
    visual = float(summary.on_visual.mean())
    layout = base_layout(
        say("Layer {layer}: what each head attends to", layer=layer),
        height=HEIGHT_MEDIUM,
        alt=say(
            "Stacked bars for {heads} heads; on average {visual:.0%} of the attention of the last "
            "{tokens} tokens goes to the image.",
            heads=len(heads),
            visual=visual,
            tokens=summary.num_queries,
        ),
        x_title=say("head (mean over the last {tokens} tokens)", tokens=summary.num_queries),
        y_title=say("share of attention"),
    )
    layout["barmode"] = "stack"
    layout["bargap"] = 0.15
    layout["meta"]["pick"] = {"head": "x"}
    layout["xaxis"] |= {"dtick": 1 if len(heads) <= 16 else 4, "zeroline": False}
    layout["yaxis"] |= {"range": [0, 1], "tickformat": ".0%"}
    if head is not None:
        layout["annotations"] = [chosen_mark(head)]
    layout["meta"]["columns"] = {"x": say("head"), "customdata": say("entropy (nats)")}
    return go.Figure(_share_bars(summary, heads), layout)


def _share_bars(summary: HeadSummary, heads: np.ndarray) -> list[go.Bar]:
    """The shares of the image, the text and the first token (attention sink, Xiao et al. 2023)."""
    parts = (
        (say("image"), summary.on_visual, ORANGE, ""),
        (say("text"), summary.on_text, BLUE, "/"),
        (say("first token (attention sink)"), summary.on_first, GREY, "x"),
    )
    return [
        go.Bar(
            x=heads,
            y=share.astype(np.float32),
            name=name,
            marker={"color": color, "pattern": {"shape": pattern, "size": 6, "solidity": 0.25}},
            customdata=summary.entropy.astype(np.float32),
            hovertemplate=say(
                "head %{{x}}<br>{part}: %{{y:.1%}}<br>entropy %{{customdata:.2f}} nats", part=name
            )
            + "<extra></extra>",
        )
        for name, share, color, pattern in parts
    ]


def plot_attention_matrix(weights: np.ndarray, first: int, layer: int, head: str) -> go.Figure:
    """One row of attention weights per query; later tokens are masked.

    Args:
        weights: (queries, seq), 0 for what comes after a query.
        first: sequence index of the first query.
        layer: from 0.
        head: the name of the head.
    """
    queries, seq = weights.shape
    # Masked cells have no weight at all: NaN leaves them empty.
    masked = np.arange(seq)[None] > first + np.arange(queries)[:, None]
    shown = np.where(masked, np.nan, np.sqrt(weights)).astype(np.float32)
    layout = base_layout(
        say(
            "Attention in layer {layer}, {head}: the causal mask hides later tokens",
            layer=layer,
            head=head,
        ),
        height=HEIGHT_LARGE,
        alt=say(
            "Matrix of {queries} queries by {keys} keys; the upper right triangle is masked.",
            queries=queries,
            keys=seq,
        ),
        x_title=say("key (sequence index)"),
        y_title=say("query (sequence index)"),
    )
    hide_lines(layout)
    layout["yaxis"] |= {"autorange": "reversed"}
    layout["meta"]["pointer"] = pointer_meta("token")
    layout["meta"]["columns"] = {"x": "key", "y": "query", "z": say("square root of the weight")}
    ticks = np.array([0, 0.01, 0.1, 0.25, 0.5, 1.0])
    matrix = heat_map(
        shown,
        say("token %{y} attends to token %{x}<br>square root of the weight %{z:.3f}"),
        bar=say("weight"),
        y=np.arange(first, first + queries, dtype=np.int32),
        zmin=0,
        zmax=max(float(np.nanmax(shown)), 0.1),
        hoverongaps=False,
    )
    names = [f"{tick:.0%}" for tick in ticks]
    matrix.update(colorbar={"tickvals": np.sqrt(ticks).tolist(), "ticktext": names})
    return go.Figure(matrix, layout)


def plot_attention_row(weights: np.ndarray, labels: Sequence[str], query: int) -> go.Figure:
    """What one token attends to, along the sequence up to itself.

    Args:
        weights: (seq,) of the query.
        labels: the escaped text of each token.
        query: sequence index.
    """
    seen = np.arange(query + 1, dtype=np.int32)
    best = int(weights.argmax())
    layout = base_layout(
        say("What token {query} “{token}” attends to", query=query, token=labels[query]),
        height=HEIGHT_MEDIUM,
        alt=say(
            "Bars for {tokens} tokens; the largest weight, {most:.0%}, is on token {best}.",
            tokens=query + 1,
            most=float(weights[best]),
            best=best,
        ),
        x_title=say("sequence index"),
        y_title=say("attention weight"),
    )
    layout["xaxis"] |= {"zeroline": False, "range": [-0.5, query + 0.5]}
    layout["yaxis"] |= {"rangemode": "tozero", "tickformat": ".0%"}
    layout["meta"]["pointer"] = pointer_meta("token")
    layout["meta"]["columns"] = {"x": say("index"), "y": say("weight"), "customdata": say("token")}
    bars = go.Bar(
        x=seen,
        y=weights[: query + 1].astype(np.float32),
        marker={"color": GREEN},
        customdata=list(labels[: query + 1]),
        hovertemplate=say("token %{x} “%{customdata}”<br>weight %{y:.2%}") + "<extra></extra>",
    )
    return go.Figure(bars, layout)
