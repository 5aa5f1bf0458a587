"""The vision tab's learned positions: the grid, its resampling, and nearest instead of bilinear."""

from __future__ import annotations

import html
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import gradio as gr

import playground
from components.chart_view.view import PlotlyView
from components.charts.decoder import percent
from components.charts.token_labels import token_label
from components.charts.vision_position import (
    plot_neighbours,
    plot_position_grid,
    plot_position_similarity,
)
from components.charts.what_if import plot_shift
from components.snippets.scripts import write_snippet
from components.tabs.choices import capital, fact_html, fact_markup
from components.tabs.stage_tab import App, Section, build_code_panel, skip_unless_run
from components.tabs.vision.focus import PatchFocus, choose_patch, point_here, stack_html
from components.views.html_view import build_html_view
from components.views.pictures import picture_html
from components.views.tables import Mono, table_html
from playground.language import mark, say
from playground.pipeline import Run
from playground.pointer import Place
from playground.records import Progress

if TYPE_CHECKING:
    from playground.experiments.what_if_runs import LogitsShift
    from playground.vision.position_grid import BlendedPosition, GridSamples

NUM_WORDS = 5  # likeliest tokens of each run
NAMES = (mark("bilinear (the model's own)"), mark("nearest"))
TRY_NOTE = mark(
    "What would the model say if each patch took its nearest entry alone? One click runs the "
    "tower, the merge and the decoder again with such positions; nothing else changes."
)


def build_position_section(app: App, span: gr.Dropdown) -> Section:
    """Build the part; the pointer chooses the patch."""
    gr.Markdown("### " + say("Where is each patch? The learned position grid"))
    intro = build_html_view()
    with gr.Row():
        grid = PlotlyView(label=say("The learned grid"))
        close_up = PlotlyView(label=say("Close-up of the neighbours"))
    blend = build_html_view()
    with gr.Row():
        with gr.Column(min_width=300):
            similarity = PlotlyView(label=say("Similarity of positions"))
        with gr.Column(min_width=300):
            resampled = build_html_view()
    gr.Markdown("#### " + say("What if: nearest entry instead of a mixture"))
    with gr.Row():
        with gr.Column(min_width=300):
            change = build_html_view(fact_html(say(TRY_NOTE)))
        try_nearest = gr.Button(say("Try nearest"), size="sm", scale=0, min_width=140)
    words = PlotlyView(label=say("Next token"), visible=False)
    code = build_code_panel()

    def point(run: Run, place: Place | None, number: int | None) -> tuple[Any, ...]:
        return draw_patch(run, number, place)

    patch_views = [grid, close_up, blend, similarity, code]
    picture_views = [intro, resampled, *patch_views]
    app.on_view(
        span.change,
        skip_unless_run("vision", draw_picture, len(picture_views)),
        [span, app.pointed],
        picture_views,
    )
    app.on_point(point_here(point, len(patch_views)), [span], patch_views)
    app.on_model(try_nearest.click, stream_nearest, [], [change, words])
    return Section((span, app.pointed), (*picture_views, change, words), draw_position)


def stream_nearest(run: Run, progress: Progress) -> Iterator[tuple[Any, ...]]:
    """The what-if's words and chart, after tower, merge and decoder have run with it."""
    change, figure = draw_nearest(run, progress)
    yield change, gr.update(value=figure, visible=figure is not None)


def draw_position(run: Run, span: int | None, pointed: Place | None) -> tuple[Any, ...]:
    """Everything of this part; the what-if goes back to its question."""
    question = fact_html(say(TRY_NOTE)) if run.inputs.spans else ""
    return *draw_picture(run, span, pointed), question, gr.update(value=None, visible=False)


def draw_picture(run: Run, span: int | None, pointed: Place | None) -> tuple[Any, ...]:
    """What belongs to one picture, and to the patch that is looked at in it."""
    focus = choose_patch(run, span, pointed)
    if focus is None:
        return "", "", *draw_patch(run, span, None)
    patch_views = draw_patch(run, span, pointed)
    return intro_html(run, focus), resampled_html(run, focus), *patch_views


def draw_patch(run: Run, span: int | None, place: Place | None) -> tuple[Any, ...]:
    """What depends on the patch: its place on the grid, its neighbours, its likes, the code."""
    focus = choose_patch(run, span, place)
    if focus is None:
        return None, None, "", None, ""
    engine, patch = run.engine, focus.patch
    samples = playground.vision.position_grid.sample_grid(engine, focus.span)
    colors = playground.vision.position_grid.grid_colors(engine, focus.tower, focus.span).grid
    blended = playground.vision.position_grid.blend_position(
        engine, focus.tower, focus.span, samples, patch
    )
    similarity = playground.vision.position_grid.position_similarity(focus.tower, focus.span, patch)
    indices, weights, places = samples.indices[patch], samples.weights[patch], samples.places
    return (
        plot_position_grid(colors, places, patch, indices),
        plot_neighbours(colors, places[patch], patch, indices, weights),
        blend_html(focus, samples, blended),
        plot_position_similarity(similarity, patch, focus.number),
        write_snippet("vision_position", run, span=focus.number, patch=patch),
    )


def intro_html(run: Run, focus: PatchFocus) -> str:
    """What the grid is and how far apart this picture's patches lie on it."""
    samples = playground.vision.position_grid.sample_grid(run.engine, focus.span)
    side, span = samples.side, focus.span
    down, across = ((side - 1) / max(size - 1, 1) for size in (span.grid_h, span.grid_w))
    return fact_html(
        say(
            "The tower has learned {side} × {side} = {entries:,} position vectors of {hidden:,} "
            "numbers, one grid for pictures of every size. The {rows} rows and {columns} columns "
            "of patches of {name} are spread over it from corner to corner: neighbours lie "
            "{down:.2f} entries apart downwards and {across:.2f} across. A patch that falls "
            "between entries takes a weighted sum of the four around it (bilinear interpolation), "
            "and that sum is added to its patch embedding.",
            side=side,
            entries=side**2,
            hidden=focus.tower.pos_embeds.shape[1],
            rows=span.grid_h,
            columns=span.grid_w,
            name=focus.name,
            down=down,
            across=across,
        )
    )


def resampled_html(run: Run, focus: PatchFocus) -> str:
    """The positions of the picture's patches, in the colours of the grid."""
    colors = playground.vision.position_grid.grid_colors(run.engine, focus.tower, focus.span)
    return picture_html(
        colors.resampled,
        alt=say(
            "Position embeddings of {name} as colours, the same as those of the grid",
            name=focus.name,
        ),
        caption=say(
            "The grid resampled to {name}, {across} × {down} patches, in the same colours: like "
            "colours, like positions. The three colours show {share:.0%} of the grid's variance.",
            name=focus.name,
            across=focus.span.grid_w,
            down=focus.span.grid_h,
            share=colors.variance,
        ),
        pixelated=True,
        span=focus.number,
    )


def blend_html(focus: PatchFocus, samples: GridSamples, blended: BlendedPosition) -> str:
    """The four entries with their weights, and the sum beside the model's own position."""
    side, patch = samples.side, focus.patch
    indices, weights = samples.indices[patch], samples.weights[patch]
    row, column = samples.places[patch]
    factors = [
        (f"{1 - abs(index // side - row):.3f}", f"{1 - abs(index % side - column):.3f}")
        for index in indices
    ]
    rows = [
        (
            str(index),
            f"{weight:.4f}",
            int(index // side),
            int(index % side),
            # At the last row or column the entry after it is the same one again, without weight.
            say("beyond the edge") if index in indices[:number] else Mono(f"{down} × {across}"),
            float(norm),
        )
        for number, (index, weight, norm, (down, across)) in enumerate(
            zip(indices, weights, blended.norms, factors, strict=True)
        )
    ]
    headers = (
        say("Entry"),
        say("Weight"),
        say("Grid row"),
        say("Grid column"),
        say("Down × across"),
        say("Norm"),
    )
    return stack_html(
        fact_html(_place_words(focus, samples), focus.hint),
        table_html(headers, rows, say("The entries around it"), right=(0, 1)),
        fact_html(_sum_words(blended)),
    )


def _place_words(focus: PatchFocus, samples: GridSamples) -> str:
    """Where the patch falls on the grid, and how that is computed."""
    row, column = samples.places[focus.patch]
    return say(
        "{patch} of {name} falls at grid row {row:.3f} ({down} × {last} / {last_row}), column "
        "{column:.3f} ({across} × {last} / {last_column}).",
        patch=capital(focus.words),
        name=focus.name,
        row=row,
        column=column,
        down=focus.patch[0],
        across=focus.patch[1],
        last=samples.side - 1,
        last_row=max(focus.span.grid_h - 1, 1),
        last_column=max(focus.span.grid_w - 1, 1),
    )


def _sum_words(blended: BlendedPosition) -> str:
    """How near the sum of the entries is to the model's own position."""
    if blended.max_abs_diff == 0:
        return say(
            "The sum of these four vectors, of norm {norm:.4g}, is exactly the position embedding "
            "that the model added.",
            norm=blended.norm,
        )
    return say(
        "The sum of these four vectors, of norm {norm:.4g}, is the position embedding that the "
        "model added, up to {diff:.1e} in any number.",
        norm=blended.norm,
        diff=blended.max_abs_diff,
    )


# ------------------------------------------------------------------ nearest instead of bilinear


def draw_nearest(run: Run, progress: Progress) -> tuple[str, Any]:
    """Run the tower with nearest positions, merge, decode, and compare the next token."""
    grid = playground.vision.position_grid
    run.ensure("decoder", progress)
    if not run.inputs.spans:
        return "", None
    vision = grid.run_nearest(run.engine, run.inputs, run.vision, progress=progress)
    merged = playground.merge.stage.run_merge(run.engine, run.inputs, vision)
    decoded = playground.decoder.stage.run_decoder(
        run.engine, run.inputs, merged, progress=progress
    )
    shift = playground.experiments.what_if_runs.compare_logits(
        run.engine, run.decoded.logits, decoded.logits, NUM_WORDS
    )
    names = (say(NAMES[0]), say(NAMES[1]))
    return change_html(shift, grid.position_shift(run.vision, vision)), plot_shift(shift, names)


def change_html(shift: LogitsShift, moved: float) -> str:
    """The effect of nearest positions in one paragraph."""
    if moved == 0:
        return fact_html(
            say(
                "Here nothing changes: every patch falls on an entry of the grid, so that there is "
                "nothing to mix, and the next token's distribution stays as it is."
            )
        )
    return fact_markup(
        say(
            "With nearest entries the position embeddings move by {moved} of their length on "
            "average.",
            moved=html.escape(percent(moved)),
        ),
        say(
            "The likeliest next token <strong>{verdict}</strong>; no token's probability changes "
            "by more than {points:.2g} percentage points (largest |Δp| {most:.2g}), and the KL "
            "divergence from the model's own distribution is {kl:.3g} nats.",
            verdict=_verdict(shift),
            points=shift.max_abs_dp * 100,
            most=shift.max_abs_dp,
            kl=shift.kl,
        ),
    )


def _verdict(shift: LogitsShift) -> str:
    """What becomes of the likeliest token, as escaped HTML."""
    top, other = (
        f'<span translate="no">{token_label(each.text)}</span>'
        for each in (shift.top, shift.changed_top)
    )
    if shift.same_top:
        return say("stays “{top}”", top=top)
    return say("changes from “{top}” to “{other}”", top=top, other=other)
