"""The vision tab's 2-D RoPE: angles by row and column, and how distance changes a score."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np

import playground
from components.chart_view.view import PlotlyView
from components.charts.vision_rope import (
    plot_distance_kernel,
    plot_kernel_lines,
    plot_patch_scores,
    plot_rope_angles,
)
from components.snippets.scripts import write_snippet
from components.tabs.choices import build_index_slider, within
from components.tabs.stage_tab import App, Section, build_code_panel, skip_unless_run
from components.tabs.vision.focus import PatchFocus, choose_patch, point_here
from components.tabs.vision.rope_words import (
    distance_html,
    frequencies_table,
    intro_html,
    scores_html,
)
from components.views.html_view import build_html_view
from playground.language import mark, say
from playground.pipeline import Run
from playground.pointer import Place

if TYPE_CHECKING:
    from playground.vision.rope import RopeAngles

ONES, HEAD = "ones", "head"
KERNELS = (
    (mark("Ones: the rotation alone"), ONES),
    (mark("This head: its query, its average key"), HEAD),
)
FIRST_BLOCK = 1


def build_rope_section(app: App, span: gr.Dropdown) -> Section:
    """Build the part; the pointer chooses the patch that asks."""
    gr.Markdown("### " + say("Near or far? 2-D RoPE"))
    intro = build_html_view()
    with gr.Row():
        by_row = PlotlyView(label=say("Angles by row"), min_width=320)
        by_column = PlotlyView(label=say("Angles by column"), min_width=320)
    with gr.Accordion(say("Table of frequencies"), open=False):
        frequencies = build_html_view()
    block, head, kernel_of = _build_controls()
    distance_words = build_html_view()
    with gr.Row():
        kernel = PlotlyView(label=say("Score by distance"), min_width=320)
        lines = PlotlyView(label=say("Score along the axes"), min_width=320)
    score_words = build_html_view()
    with gr.Row():
        rotated = PlotlyView(label=say("Scores with RoPE"), min_width=320)
        plain = PlotlyView(label=say("Scores without RoPE"), min_width=320)
    code = build_code_panel()

    choices = [span, block, head, kernel_of]
    score_views = [distance_words, kernel, lines, score_words, rotated, plain, code]
    pointed_views = [by_row, by_column, *score_views]
    controls = (*choices, app.pointed)
    outputs = (intro, frequencies, block, head, *pointed_views)
    redraw = skip_unless_run("vision", _redraw_scores, len(score_views))
    for control in (block, head, kernel_of):
        app.on_view(control.input, redraw, controls, score_views)
    app.on_view(span.change, skip_unless_run("vision", draw_rope, len(outputs)), controls, outputs)
    app.on_point(point_here(_point, len(pointed_views)), choices, pointed_views)
    return Section(controls, outputs, draw_rope)


def _build_controls() -> tuple[gr.Slider, gr.Slider, gr.Radio]:
    """Which block and head, and which vectors are moved; each run sets the ranges."""
    with gr.Row():
        block = build_index_slider(
            say("Block whose scores are shown"),
            say("Counted from 0."),
            value=FIRST_BLOCK,
            min_width=220,
        )
        head = build_index_slider(
            say("Head"), say("Counted from 0; each has its own."), min_width=220
        )
        kernel_of = gr.Radio(
            [(say(label), value) for label, value in KERNELS],
            value=ONES,
            label=say("Vectors that are moved about"),
            min_width=260,
            info=say("The same query and key, however far apart."),
        )
    return block, head, kernel_of


def draw_rope(
    run: Run,
    span: int | None,
    block: int | None,
    head: int | None,
    kernel_of: str | None,
    pointed: Place | None,
) -> tuple[Any, ...]:
    """Everything of this part."""
    focus = choose_patch(run, span, pointed)
    if focus is None:
        return "", "", gr.skip(), gr.skip(), None, None, *_no_scores()
    block, head = _within(run, block, head)
    angles = playground.vision.rope.rope_angles(run.engine, focus.span)
    facts = run.engine.facts
    return (
        intro_html(angles),
        frequencies_table(run, focus, angles),
        gr.update(maximum=facts.vision_depth - 1, value=block),
        gr.update(maximum=facts.vision_num_heads - 1, value=head),
        *draw_angles(angles, focus),
        *draw_scores(run, focus, block, head, kernel_of),
    )


def _point(
    run: Run,
    place: Place | None,
    span: int | None,
    block: int | None,
    head: int | None,
    kernel_of: str | None,
) -> tuple[Any, ...]:
    focus = choose_patch(run, span, place)
    if focus is None:
        return None, None, *_no_scores()
    angles = playground.vision.rope.rope_angles(run.engine, focus.span)
    block, head = _within(run, block, head)
    return *draw_angles(angles, focus), *draw_scores(run, focus, block, head, kernel_of)


def _redraw_scores(
    run: Run,
    span: int | None,
    block: int | None,
    head: int | None,
    kernel_of: str | None,
    pointed: Place | None,
) -> tuple[Any, ...]:
    focus = choose_patch(run, span, pointed)
    if focus is None:
        return _no_scores()
    return draw_scores(run, focus, *_within(run, block, head), kernel_of)


def _no_scores() -> tuple[Any, ...]:
    return "", None, None, "", None, None, ""


def draw_angles(angles: RopeAngles, focus: PatchFocus) -> tuple[Any, Any]:
    """The two heat maps of angles, with the patch's row and column marked."""
    return (
        plot_rope_angles(angles.by_row, "row", 0, focus.patch[0]),
        plot_rope_angles(angles.by_column, "column", len(angles.inv_freq), focus.patch[1]),
    )


def draw_scores(
    run: Run, focus: PatchFocus, block: int, head: int, kernel_of: str | None
) -> tuple[Any, ...]:
    """Score by distance, and the patch's own scores with and without the rotation; the code."""
    rope, engine, span = playground.vision.rope, run.engine, focus.span
    vectors = rope.head_vectors(
        engine, focus.tower, span, block=block, head=head, patch=focus.patch
    )
    scores = rope.patch_scores(engine, span, vectors, focus.patch)
    of_head = kernel_of == HEAD
    kernel = rope.head_kernel(engine, span, vectors) if of_head else rope.ones_kernel(engine, span)
    place = say("block {block}, head {head}", block=block, head=head)
    reach = float(max(np.abs(scores.rotated).max(), np.abs(scores.plain).max())) or 1.0
    with_rope = say("Scores with RoPE, {place}", place=place)
    without = say("The same without RoPE, {place}", place=place)
    return (
        distance_html(kernel, focus, block, head, of_head),
        plot_distance_kernel(kernel, place if of_head else say("all ones")),
        plot_kernel_lines(kernel),
        scores_html(scores, focus, block, head),
        plot_patch_scores(scores.rotated, reach, focus.patch, focus.number, with_rope),
        plot_patch_scores(scores.plain, reach, focus.patch, focus.number, without),
        write_snippet(
            "vision_rope",
            run,
            span=focus.number,
            patch=focus.patch,
            block=block,
            head=head,
            of_head=of_head,
        ),
    )


def _within(run: Run, block: int | None, head: int | None) -> tuple[int, int]:
    """The sliders' values in the range that this checkpoint has."""
    facts = run.engine.facts
    return within(block, facts.vision_depth - 1), within(head, facts.vision_num_heads - 1)
