"""The vision tab's attention: where a patch looks, head by head, and what each head is like."""

from __future__ import annotations

from typing import Any

import gradio as gr
import numpy as np

import playground
from components.chart_view.view import PlotlyView
from components.snippets.scripts import write_snippet
from components.tabs.choices import build_index_slider, within
from components.tabs.stage_tab import App, Section, build_code_panel, skip_unless_run
from components.tabs.vision.attention_pictures import (
    LOOKS,
    MEAN,
    RECEIVED,
    attention_html,
    heads_html,
    intro_html,
)
from components.tabs.vision.focus import PatchFocus, choose_patch, point_here
from components.tabs.vision.heads import draw_summary, measure_heads
from components.views.html_view import build_html_view
from playground.language import say
from playground.pipeline import Run
from playground.pointer import Place

FIRST_BLOCK = 2


def build_attention_section(app: App, span: gr.Dropdown) -> Section:
    """Build the section inside its ``with gr.Tab(...)``.

    Args:
        app: the page.
        span: the tab's chooser of a picture or frame.
    """
    intro = build_html_view()
    block, head, direction = _build_controls()
    with gr.Row():
        picture = build_html_view(wide=True)
        heads = build_html_view(wide=True)
    gr.Markdown("### " + say("Which heads look nearby, which look everywhere?"))
    words = build_html_view()
    measure = gr.Button(say("Measure all heads"), size="sm", visible=False)
    with gr.Row():
        entropy = PlotlyView(label=say("Entropy by head"), min_width=320)
        distance = PlotlyView(label=say("Mean distance by head"), min_width=320)
    code = build_code_panel()

    controls = (span, block, head, direction, app.pointed)
    maps = [picture, heads, code]
    summary = [words, measure, entropy, distance]
    outputs = (intro, block, head, *maps, *summary)
    redraw_all = skip_unless_run("vision", draw_attention, len(outputs))
    app.on_view(span.change, redraw_all, controls, outputs)
    for control in (block, direction):
        app.on_view(control.input, draw_maps, controls, maps)
    app.on_view(head.input, draw_picture, controls, [picture, code])
    app.on_point(point_here(draw_pointed, len(maps)), [span, block, head, direction], maps)
    app.on_model(measure.click, measure_heads, [span], summary)
    for chart in (entropy, distance):
        _wire_cells(app, chart, controls, [block, head, *maps])
    return Section(controls, outputs, draw_attention)


def _build_controls() -> tuple[gr.Slider, gr.Dropdown, gr.Radio]:
    """Which block and head, and which way round; each run sets their ranges."""
    with gr.Row():
        block = build_index_slider(
            say("Attention of block"),
            say("Counted from 0; it reads what the blocks before it have made."),
            value=FIRST_BLOCK,
            min_width=240,
        )
        head = gr.Dropdown(
            [(say("mean of all heads"), MEAN)], value=MEAN, label=say("Head"), min_width=160
        )
        direction = gr.Radio(
            [(say("where the patch looks"), LOOKS), (say("what all patches look at"), RECEIVED)],
            value=LOOKS,
            label=say("Show"),
            min_width=240,
        )
    return block, head, direction


def _wire_cells(app: App, chart: PlotlyView, inputs: Any, outputs: list[Any]) -> None:
    """A click on a cell of the chart shows that block and head."""

    def choose(run: Run, event: gr.EventData, *values: Any) -> tuple[Any, ...]:
        if not event.points:
            return (gr.skip(),) * len(outputs)
        return draw_cell(run, int(event.points[0]["y"]), int(event.points[0]["x"]), *values)

    app.on_choice(chart.select, choose, inputs, outputs)


# ---------------------------------------------------------------------------------- drawing


def draw_attention(
    run: Run,
    span: float | None,
    block: float | None,
    head: float | None,
    direction: str | None,
    place: Place | None,
) -> tuple[Any, ...]:
    """Everything that belongs to one picture or frame, with the controls set to this tower."""
    focus = choose_patch(run, span, place)
    if focus is None:
        return "", gr.skip(), gr.skip(), "", "", "", "", gr.skip(), None, None
    facts = run.engine.facts
    block, head = _within(run, block, head)
    names = [(say("mean of all heads"), MEAN)]
    names += [(say("head {head}", head=number), number) for number in range(facts.vision_num_heads)]
    return (
        intro_html(run, focus),
        gr.update(maximum=facts.vision_depth - 1, value=block),
        gr.update(choices=names, value=head),
        *draw_maps(run, span, block, head, direction, place),
        *draw_summary(run, span),
    )


def draw_maps(
    run: Run,
    span: float | None,
    block: float | None,
    head: float | None,
    direction: str | None,
    place: Place | None,
) -> tuple[Any, ...]:
    """The picture with one head's attention, all heads in small, and the code."""
    focus = choose_patch(run, span, place)
    if focus is None:
        return "", "", ""
    block, head = _within(run, block, head)
    weights = compute_weights(run, focus, block, direction)
    return (
        attention_html(run, focus, weights, block, head, direction),
        heads_html(focus, weights, block, head),
        write_code(run, focus, block, head, direction),
    )


def draw_picture(
    run: Run,
    span: float | None,
    block: float | None,
    head: float | None,
    direction: str | None,
    place: Place | None,
) -> tuple[str, str]:
    """The picture alone, for another head, and its code."""
    focus = choose_patch(run, span, place)
    if focus is None:
        return "", ""
    block, head = _within(run, block, head)
    weights = compute_weights(run, focus, block, direction)
    return (
        attention_html(run, focus, weights, block, head, direction),
        write_code(run, focus, block, head, direction),
    )


def draw_pointed(
    run: Run,
    place: Place | None,
    span: float | None,
    block: float | None,
    head: float | None,
    direction: str | None,
) -> tuple[Any, ...]:
    """The maps of another patch."""
    if not run.inputs.spans or direction == RECEIVED:
        return gr.skip(), gr.skip(), gr.skip()
    return draw_maps(run, span, block, head, direction, place)


def draw_cell(
    run: Run,
    block: int,
    chosen_head: int,
    span: float | None,
    _block: float | None,
    _head: float | None,
    direction: str | None,
    place: Place | None,
) -> tuple[Any, ...]:
    """The block and head of a cell, with the controls set to them."""
    block, head = _within(run, block, chosen_head)
    return block, head, *draw_maps(run, span, block, head, direction, place)


def compute_weights(run: Run, focus: PatchFocus, block: int, direction: str | None) -> np.ndarray:
    """``(heads, grid_h, grid_w)`` float32: what is shown of one block; each head sums to 1."""
    attention = playground.vision.attention
    if direction == RECEIVED:
        return attention.measure_block(run.engine, focus.tower, focus.span, block).received
    weights: np.ndarray = attention.patch_attention(
        run.engine, focus.tower, focus.span, block, *focus.patch
    )
    return weights


def write_code(run: Run, focus: PatchFocus, block: int, head: int, direction: str | None) -> str:
    """The script that leaves the picture's numbers in ``shown``."""
    return write_snippet(
        "vision_attention",
        run,
        span=focus.number,
        patch=focus.patch,
        block=block,
        head=None if head == MEAN else head,
        received=direction == RECEIVED,
    )


def _within(run: Run, block: float | None, head: float | None) -> tuple[int, int]:
    """Block and head in the ranges that this tower has; no head means their mean."""
    facts = run.engine.facts
    chosen = MEAN if head is None else int(head)
    if not MEAN <= chosen < facts.vision_num_heads:
        chosen = MEAN
    return within(block, facts.vision_depth - 1), chosen
