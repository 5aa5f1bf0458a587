"""The decoder tab's M-RoPE: one head's query and key, and their score as they move apart."""

from __future__ import annotations

from typing import Any

import gradio as gr

import playground
from components.chart_view.view import PlotlyView
from components.charts.decoder_rotation import (
    plot_pair_strengths,
    plot_rotation,
    plot_score_curves,
)
from components.charts.token_labels import token_label
from components.tabs.choices import fact_markup
from components.tabs.decoder.focus import choose_token, whole_number
from components.tabs.stage_tab import App, Section, skip_unless_run
from components.views.html_view import build_html_view
from playground.language import say
from playground.pipeline import Run
from playground.pointer import Place


def build_rotation_section(app: App) -> Section:
    """Build the part inside the tab."""
    gr.Markdown(
        say(
            "Before a query meets a key, M-RoPE turns both, pair of numbers by pair, by their "
            "positions: some pairs by time t, some by height h, some by width w. Only the distance "
            "between the two tokens is left in their score."
        )
    )
    with gr.Row():
        layer = gr.Slider(0, 1, 0, step=1, label=say("Decoder layer"), min_width=200)
        head = gr.Slider(0, 1, 0, step=1, label=say("Head"), min_width=200)
    words = build_html_view()
    curves = PlotlyView(label=say("Score and distance"))
    strengths = PlotlyView(label=say("Rotating pairs"))
    numbers = PlotlyView(label=say("Query and key"))
    views = [words, curves, strengths, numbers]
    settings = [layer, head, app.pointed]
    redraw = skip_unless_run("decoder", draw_views, len(views))
    for control in (layer, head):
        app.on_view(control.input, redraw, settings, views)
    app.on_point(skip_unless_run("decoder", draw_pointed, len(views)), [layer, head], views)
    return Section(tuple(settings), (layer, head, *views), draw_rotation)


def draw_rotation(
    run: Run, layer: float | None, head: float | None, place: Place | None
) -> tuple[Any, ...]:
    """The controls as this model has them, and all views."""
    last, heads = run.decoded.num_layers - 1, run.engine.facts.num_attention_heads
    # Half-way up, where pictures are read, unless a layer was chosen.
    chosen = whole_number(layer or None, (last + 1) // 2, 0, last)
    picked = whole_number(head, 0, 0, heads - 1)
    return (
        gr.update(maximum=last, value=chosen),
        gr.update(maximum=max(heads - 1, 1), value=picked),
        *draw_views(run, chosen, picked, place),
    )


def draw_pointed(
    run: Run, place: Place | None, layer: float | None, head: float | None
) -> tuple[Any, ...]:
    """All views, for a place that was clicked."""
    return draw_views(run, layer, head, place)


def draw_views(
    run: Run, layer: float | None, head: float | None, place: Place | None
) -> tuple[Any, ...]:
    """Words, the three curves, the pairs' strengths, and the numbers."""
    chosen = whole_number(layer, 0, 0, run.decoded.num_layers - 1)
    picked = whole_number(head, 0, 0, run.engine.facts.num_attention_heads - 1)
    focus = choose_token(run, place)
    rotations = playground.decoder.rotation
    rotation = rotations.rotate_head(run.engine, run.decoded, chosen, picked, focus.index)
    return (
        words_html(run, rotation, focus.hint),
        plot_score_curves(rotation, rotations.score_curves(run.engine, rotation)),
        plot_pair_strengths(rotation),
        plot_rotation(rotation, say("Layer {layer}, head {head}", layer=chosen, head=picked)),
    )


def words_html(run: Run, rotation: Any, hint: str) -> str:
    """Which two tokens these are, how far apart, and the score that is left."""
    tokens = run.inputs.tokens
    query, key = (
        say("token {index} “{text}”", index=index, text=token_label(tokens[index].text))
        for index in (rotation.query_index, rotation.key_index)
    )
    steps = [f"{axis} {step}" for axis, step in zip("thw", rotation.distances, strict=True)]
    apart = say(", ").join(steps)
    if rotation.query_index < 2:
        pair = say(
            "The query of {query} against the key of {key} {apart} positions apart: score "
            "{score:.3g}.",
            query=query,
            key=key,
            apart=apart,
            score=rotation.score,
        )
    else:
        pair = say(
            "The query of {query} against the key of {key}, the one that this head looks at most, "
            "{apart} positions apart: score {score:.3g}.",
            query=query,
            key=key,
            apart=apart,
            score=rotation.score,
        )
    t, h, w = (int((rotation.axes == axis).sum()) for axis in range(3))
    shares = say(
        "Of the head’s {pairs} pairs {t} turn with t, {h} with h and {w} with w.",
        pairs=len(rotation.axes),
        t=t,
        h=h,
        w=w,
    )
    return fact_markup(pair, shares, hint)
