"""The vision tab's 2-D RoPE: angles by row and column, and how distance changes a score."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np

import playground
from components.charts.vision_rope import (
    plot_distance_kernel,
    plot_kernel_lines,
    plot_patch_scores,
    plot_rope_angles,
)
from components.html_view import build_html_view
from components.plotly_view import PlotlyView
from components.stage_tab import App, Section, skip_unless_run
from components.tables import table_html
from components.tabs.choices import capital, fact_html, within
from components.tabs.vision.focus import PatchFocus, choose_patch, point_here
from playground.pipeline import Run
from playground.pointer import Place

if TYPE_CHECKING:
    from playground.vision_rope import PatchScores, RopeAngles

ONES, HEAD = "ones", "head"
KERNELS = [("Ones: the rotation alone", ONES), ("This head: its query, its average key", HEAD)]
FIRST_BLOCK = 1


def build_rope_section(app: App, span: gr.Dropdown) -> Section:
    """Build the part; the pointer chooses the patch that asks."""
    gr.Markdown("### Near or far? 2-D RoPE")
    intro = build_html_view()
    with gr.Row():
        by_row = PlotlyView(label="Angles by row", min_width=320)
        by_column = PlotlyView(label="Angles by column", min_width=320)
    with gr.Accordion("Table of frequencies", open=False):
        frequencies = build_html_view()
    with gr.Row():
        block = gr.Slider(
            0,
            FIRST_BLOCK,
            FIRST_BLOCK,
            step=1,
            label="Block whose scores are shown",
            min_width=220,
            info="Counted from 0.",
        )
        head = gr.Slider(
            0, 1, 0, step=1, label="Head", min_width=220, info="Counted from 0; each has its own."
        )
        kernel_of = gr.Radio(
            KERNELS,
            value=ONES,
            label="Vectors that are moved about",
            min_width=260,
            info="The same query and key, however far apart.",
        )
    distance_words = build_html_view()
    with gr.Row():
        kernel = PlotlyView(label="Score by distance", min_width=320)
        lines = PlotlyView(label="Score along the axes", min_width=320)
    score_words = build_html_view()
    with gr.Row():
        rotated = PlotlyView(label="Scores with RoPE", min_width=320)
        plain = PlotlyView(label="Scores without RoPE", min_width=320)

    choices = [span, block, head, kernel_of]
    score_views = [distance_words, kernel, lines, score_words, rotated, plain]
    pointed_views = [by_row, by_column, *score_views]
    controls = (*choices, app.pointed)
    outputs = (intro, frequencies, block, head, *pointed_views)
    redraw = skip_unless_run("vision", _redraw_scores, len(score_views))
    for control in (block, head, kernel_of):
        app.on_view(control.input, redraw, controls, score_views)
    app.on_view(span.change, skip_unless_run("vision", draw_rope, len(outputs)), controls, outputs)
    app.on_point(point_here(_point, len(pointed_views)), choices, pointed_views)
    return Section(controls, outputs, draw_rope)


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
    angles = playground.vision_rope.rope_angles(run.engine, focus.span)
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
    angles = playground.vision_rope.rope_angles(run.engine, focus.span)
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
    return "", None, None, "", None, None


def draw_angles(angles: RopeAngles, focus: PatchFocus) -> tuple[Any, Any]:
    """The two heat maps of angles, with the patch's row and column marked."""
    return (
        plot_rope_angles(angles.by_row, "row", 0, focus.patch[0]),
        plot_rope_angles(angles.by_column, "column", len(angles.inv_freq), focus.patch[1]),
    )


def draw_scores(
    run: Run, focus: PatchFocus, block: int, head: int, kernel_of: str | None
) -> tuple[Any, ...]:
    """Score by distance, and the patch's own scores with and without the rotation."""
    rope, engine, span = playground.vision_rope, run.engine, focus.span
    vectors = rope.head_vectors(
        engine, focus.tower, span, block=block, head=head, patch=focus.patch
    )
    scores = rope.patch_scores(engine, span, vectors, focus.patch)
    of_head = kernel_of == HEAD
    kernel = rope.head_kernel(engine, span, vectors) if of_head else rope.ones_kernel(engine, span)
    whose = f"block {block}, head {head}" if of_head else "all ones"
    reach = float(max(np.abs(scores.rotated).max(), np.abs(scores.plain).max())) or 1.0
    place = f"block {block}, head {head}"
    return (
        distance_html(kernel, focus, block, head, of_head),
        plot_distance_kernel(kernel, whose),
        plot_kernel_lines(kernel),
        scores_html(scores, focus, block, head),
        plot_patch_scores(
            scores.rotated, reach, focus.patch, focus.number, f"Scores with RoPE, {place}"
        ),
        plot_patch_scores(
            scores.plain, reach, focus.patch, focus.number, f"The same without RoPE, {place}"
        ),
    )


def intro_html(angles: RopeAngles) -> str:
    """Which numbers of a head carry the row, and which the column."""
    pairs = len(angles.inv_freq)
    shortest, longest = float(angles.wavelengths.min()), float(angles.wavelengths.max())
    return fact_html(
        "The position grid says where a patch is; RoPE says how far apart two patches are. In "
        "every block and head, query and key are turned before they meet. A head has "
        f"{4 * pairs} numbers, that is {2 * pairs} pairs: number i turns together with number "
        f"i + {2 * pairs}. Pairs 0–{pairs - 1} turn with the patch's row, pairs "
        f"{pairs}–{2 * pairs - 1} with its column, both at the same {pairs} speeds, from a whole "
        f"turn in {shortest:.3g} patches to one in {longest:,.0f}. Both vectors turn, so their "
        "score depends on the rows and columns between them alone, not on where they are."
    )


def frequencies_table(run: Run, focus: PatchFocus, angles: RopeAngles) -> str:
    """Each speed with its wavelength, and how far it gets in this picture."""
    size, pairs = run.inputs.patch_size, len(angles.inv_freq)
    row, column = focus.span.grid_h - 1, focus.span.grid_w - 1
    rows = [
        (
            f"{index} and {pairs + index}",
            float(freq),
            float(wavelength),
            float(wavelength * size),
            float(row / wavelength),
            float(column / wavelength),
        )
        for index, (freq, wavelength) in enumerate(
            zip(angles.inv_freq, angles.wavelengths, strict=True)
        )
    ]
    headers = (
        "Pairs (row and column)",
        "Radians a patch",
        "Whole turn, in patches",
        "in pixels",
        f"Turns over {focus.span.grid_h} rows",
        f"Turns over {focus.span.grid_w} columns",
    )
    return table_html(headers, rows, f"Frequencies, and what they do in {focus.name}")


def distance_html(
    kernel: np.ndarray, focus: PatchFocus, block: int, head: int, of_head: bool
) -> str:
    """What the score by distance shows."""
    down, across = (size // 2 for size in kernel.shape)
    centre = float(kernel[down, across])
    below = float(kernel[min(down + 1, 2 * down), across])
    right = float(kernel[down, min(across + 1, 2 * across)])
    if not of_head:
        return fact_html(
            "Two vectors of ones, moved apart: at distance 0 all pairs agree (score 1). One row "
            f"down the score is {below:.3f}, one column to the right {right:.3f}; far away only "
            "the slow pairs still agree. Both lines follow one curve, since rows and columns turn "
            "at the same speeds. This is what every head starts from; its own vectors "
            "decide which pairs count."
        )
    best = np.unravel_index(int(kernel.argmax()), kernel.shape)
    rows, columns = int(best[0]) - down, int(best[1]) - across
    return fact_html(
        f"The query of {focus.words} in block {block}, head {head}, and the average key of "
        f"{focus.name}, as if that same key stood everywhere: what is left is the head's liking "
        f"for places. It scores {centre:.3g} at distance 0 and most, {float(kernel.max()):.3g}, "
        f"{_distance_words(rows, columns)}.",
        focus.hint.strip(),
    )


def scores_html(scores: PatchScores, focus: PatchFocus, block: int, head: int) -> str:
    """Where the patch looks with and without RoPE."""
    places = [
        np.unravel_index(int(values.argmax()), values.shape)
        for values in (scores.rotated, scores.plain)
    ]
    with_rope, without = (f"row {place[0]}, column {place[1]}" for place in places)
    verdict = (
        f"The best key is at {with_rope} either way"
        if places[0] == places[1]
        else f"With RoPE the best key is at {with_rope}, without it at {without}"
    )
    change = float(np.abs(scores.rotated - scores.plain).max())
    return fact_html(
        f"{capital(focus.words)} asks, all patches of {focus.name} answer: the scores of block "
        f"{block}, head {head}, as the model computes them, and from the same vectors without the "
        f"rotation. {verdict}; the rotation moves single scores by up to {change:.3g}.",
    )


def _distance_words(rows: int, columns: int) -> str:
    """``2 rows up and 1 column to the right``."""
    parts = [
        f"{abs(count)} {name}{'s' if abs(count) > 1 else ''} {ways[count > 0]}"
        for count, name, ways in (
            (rows, "row", ("up", "down")),
            (columns, "column", ("to the left", "to the right")),
        )
        if count
    ]
    return " and ".join(parts) or "right there"


def _within(run: Run, block: int | None, head: int | None) -> tuple[int, int]:
    """The sliders' values in the range that this checkpoint has."""
    facts = run.engine.facts
    return within(block, facts.vision_depth - 1), within(head, facts.vision_num_heads - 1)
