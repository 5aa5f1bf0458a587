"""Charts of one step: the tokens that each filter removes, and the sampled token on the CDF."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from components.charts.sampling import filter_name
from components.charts.style import HEIGHT_SMALL, NO_LINES, base_layout, escape_label
from components.charts.token_labels import token_label
from components.look.colors import BLUE, GREEN, GREY, PURPLE, SEQUENTIAL, SKY
from components.views.facts import share_words
from components.views.text import quote
from playground.language import say

if TYPE_CHECKING:
    from playground.sampling.views import CdfSegment, FilterEffect, ShownToken, StepView

ROW_PX = 26
MAX_LABEL = 12  # characters
MIN_LABELLED = 0.04  # smallest share of the bar that gets a label


def stage_names(view: StepView) -> list[str]:
    """Labels for before the filters and after each active one."""
    return [say("before"), *(_stage_name(effect) for effect in view.effects)]


def _stage_name(effect: FilterEffect) -> str:
    if effect.name == "vision_tokens":
        return say("no vision tokens")
    return effect_name(effect)


def effect_name(effect: FilterEffect) -> str:
    """A filter's label; temperature is greedy decoding only if it removes tokens."""
    if effect.name == "temperature" and not effect.num_removed:
        return say("temperature")
    return filter_name(effect.name)


def plot_filters(view: StepView) -> go.Figure:
    """The most likely tokens through all filters: one cell per token and filter.

    Args:
        view: one step; its tokens become rows.
    """
    probs = np.array([token.probs for token in view.tokens], dtype=np.float32)
    stages = stage_names(view)
    gone = probs == 0
    shown = np.where(gone, np.nan, probs)
    has_gone = gone.any(axis=1)
    heat = go.Heatmap(
        z=shown,
        x=list(range(len(stages))),
        y=list(range(len(view.tokens))),
        zmin=0,
        zmax=float(max(probs.max(), 0.05)),
        colorscale=SEQUENTIAL,
        xgap=2,
        ygap=2,
        text=[[share_words(prob) if prob else "" for prob in row] for row in probs],
        texttemplate="%{text}",
        textfont={"size": 11},
        customdata=_cell_words(view, stages),
        hovertemplate="%{customdata}<extra></extra>",
        hoverongaps=True,
        showscale=False,
    )
    marks = go.Scatter(  # marks the cells whose token a filter removed
        x=[int(np.argmax(row)) for row in gone[has_gone]],
        y=np.flatnonzero(has_gone).tolist(),
        mode="text",
        text=["✕"] * int(has_gone.sum()),
        textfont={"color": "#d1342f", "size": 15},
        hoverinfo="skip",
        showlegend=False,
    )
    # One dict: each `update_layout` takes longer than all filters, and sliders wait for it.
    layout = base_layout(
        say("Most likely tokens after each filter (✕: removed here)"),
        height=110 + ROW_PX * len(view.tokens),
        alt=_walk_words(view),
        x_title=say("After filter"),
        y_title=say("Token"),
    )
    layout["meta"]["columns"] = {"customdata": [say("Description")]}
    layout["xaxis"] |= {
        "tickvals": list(range(len(stages))),
        "ticktext": stages,
        "side": "top",
        "showgrid": False,
    }
    layout["yaxis"] |= {
        "tickvals": list(range(len(view.tokens))),
        "ticktext": [_label(token, view.sampled_id) for token in view.tokens],
        "range": [len(view.tokens) - 0.5, -0.5],
        **NO_LINES,
    }
    return go.Figure([heat, marks], layout)


def _cell_words(view: StepView, stages: list[str]) -> list[list[str]]:
    return [
        [_fate(token, stage, prob) for stage, prob in zip(stages, token.probs, strict=True)]
        for token in view.tokens
    ]


def _fate(token: ShownToken, stage: str, prob: float) -> str:
    text = escape_label(quote(token.text))
    if prob:
        return say("{token}, {stage}: {prob:.2%}", token=text, stage=stage, prob=prob)
    return say(
        "{token}, {stage}: removed by {filter}",
        token=text,
        stage=stage,
        filter=filter_name(token.removed_by),
    )


def _label(token: ShownToken, sampled_id: int) -> str:
    return ("✓ " if token.id == sampled_id else "") + token_label(token.text, MAX_LABEL)


def _walk_words(view: StepView) -> str:
    best = view.tokens[0]
    cuts = [
        say(
            "{filter} removes {count:,}",
            filter=filter_name(effect.name),
            count=effect.num_removed,
        )
        for effect in view.effects
        if effect.num_removed
    ]
    return say(
        "Most likely before the filters: {best} ({prob:.1%}). {cuts}. Sampled: {sampled}.",
        best=quote(best.text),
        prob=best.probs[0],
        cuts=say(", ").join(cuts) or say("No token is removed"),
        sampled=quote(view.sampled_text),
    )


def plot_draw(view: StepView) -> go.Figure:
    """The final distribution as one bar of length 1, with the uniform sample on it."""
    segments = view.segments
    hit = [segment.token_id == view.sampled_id for segment in segments]
    shades = (BLUE, SKY)
    bar = go.Bar(
        x=np.array([segment.end - segment.start for segment in segments], dtype=np.float32),
        base=np.array([segment.start for segment in segments], dtype=np.float32),
        y=[0] * len(segments),
        orientation="h",
        marker={
            "color": [
                GREEN if sampled else GREY if segment.token_id is None else shades[index % 2]
                for index, (segment, sampled) in enumerate(zip(segments, hit, strict=True))
            ],
            "pattern": {
                "shape": ["/" if segment.token_id is None else "" for segment in segments],
                "solidity": 0.3,
            },
            "line": {"width": 1, "color": "rgba(255,255,255,0.6)"},
        },
        text=[_segment_label(segment) for segment in segments],
        textposition="inside",
        insidetextanchor="middle",
        textangle=0,
        textfont={"size": 12, "color": "#ffffff"},
        customdata=[_segment_words(segment) for segment in segments],
        hovertemplate="%{customdata}<extra></extra>",
        showlegend=False,
    )
    layout = base_layout(
        _draw_title(view),
        height=HEIGHT_SMALL - 50,
        alt=say(
            "{title}. The bar shows {count:,} tokens in order of their ids.",
            title=_draw_title(view),
            count=view.num_left,
        ),
        x_title=say("Cumulative probability, by token id"),
        y_title="",
    )
    layout["meta"]["columns"] = {"customdata": [say("Description")]}
    layout["bargap"] = 0.1
    layout["xaxis"] |= {"range": [-0.01, 1.01], "tickformat": ".0%"}
    layout["yaxis"] |= {"visible": False, "range": [-0.5, 0.75]}
    number = [] if view.uniform is None else [_number_mark(view.uniform)]
    return go.Figure([bar, *number], layout)


def _number_mark(uniform: float) -> go.Scatter:
    """The uniform sample, as a line across the bar."""
    return go.Scatter(
        x=[uniform, uniform],
        y=[-0.5, 0.55],
        mode="lines+markers+text",
        marker={"symbol": "triangle-down", "size": [0, 13], "color": PURPLE},
        line={"color": PURPLE, "width": 3},
        text=["", f"{uniform:.4f}"],
        textposition="middle left" if uniform > 0.5 else "middle right",
        textfont={"size": 13},
        hovertemplate=say("Uniform sample: %{x:.4f}<extra></extra>"),
        showlegend=False,
    )


def _draw_title(view: StepView) -> str:
    sampled = quote(view.sampled_text)
    if view.uniform is None:
        return say("Greedy: {sampled} has the largest logit", sampled=sampled)
    return say(
        "Uniform sample {uniform:.4f} selects {sampled}", uniform=view.uniform, sampled=sampled
    )


def _segment_label(segment: CdfSegment) -> str:
    if segment.end - segment.start < MIN_LABELLED:
        return ""
    if segment.token_id is None:
        return say("{count:,} others", count=segment.num_tokens)
    return token_label(segment.text, MAX_LABEL)


def _segment_words(segment: CdfSegment) -> str:
    what = escape_label(quote(segment.text))
    if segment.token_id is None:
        what = say("{count:,} less likely tokens", count=segment.num_tokens)
    return say(
        "{what}: {width:.2%}, from {start:.4f} to {end:.4f}",
        what=what,
        width=segment.end - segment.start,
        start=segment.start,
        end=segment.end,
    )
