"""The vision tab's learned positions: the grid, its resampling, nearest entry or bilinear."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import plotly.graph_objects as go

import playground
from components.charts.vision_position import (
    plot_neighbours,
    plot_position_grid,
    plot_position_similarity,
)
from components.charts.what_if import plot_shift
from components.parts.part import SELECTION, Heading, Part
from components.snippets.scripts import write_snippet
from components.tabs.vision.focus import ABSENT, CHOSEN, PatchFocus, choose_patch, has_image
from components.tabs.vision.position_words import blend_html, change_html
from components.views.facts import fact_html
from components.views.images import image_html
from playground.language import mark, say
from playground.pipeline import Run
from playground.pointer import Selection
from playground.records import Progress

if TYPE_CHECKING:
    from playground.experiments.what_if_runs import LogitsShift
    from playground.vision.position_grid import GridColors, GridSamples

NUM_TOKENS = 5  # most likely tokens of each run
NAMES = (mark("bilinear (original)"), mark("nearest entry"))

PART = Part(
    "position-grid",
    mark("Position grid"),
    stage="vision",
    heading=mark("Where is each patch? The learned position grid"),
    layout=(
        "intro",
        ("grid", "close_up"),
        "blend",
        ("similarity", "resampled"),
        Heading(mark("What if: nearest entry instead of bilinear interpolation")),
        "change",
        ("nearest",),
        "likeliest",
        "code",
    ),
    shown=has_image,
    absent=ABSENT,
)


@PART.html(needs=(CHOSEN,))
def intro(run: Run, span: int) -> str:
    """What the grid is and how far apart this image's patches lie on it."""
    focus = choose_patch(run, span)
    samples = playground.vision.position_grid.sample_grid(run.engine, focus.span)
    side, here = samples.side, focus.span
    down, across = ((side - 1) / max(size - 1, 1) for size in (here.grid_h, here.grid_w))
    return fact_html(
        say(
            "The tower has learned a grid of {side} × {side} = {entries:,} position embeddings of "
            "{hidden:,} dimensions, shared by images of all sizes. The {rows} rows and {columns} "
            "columns of patches of {name} are stretched over it from corner to corner: "
            "neighbouring patches are {down:.2f} entries apart vertically and {across:.2f} "
            "horizontally. A patch that falls between entries takes a weighted sum of the four "
            "surrounding ones (bilinear interpolation), which is added to its patch embedding.",
            side=side,
            entries=side**2,
            hidden=focus.tower.pos_embeds.shape[1],
            rows=here.grid_h,
            columns=here.grid_w,
            name=focus.name,
            down=down,
            across=across,
        )
    )


@PART.chart(mark("The learned grid"), needs=(CHOSEN, SELECTION))
def grid(run: Run, span: int, selection: Selection | None) -> go.Figure:
    """The grid's entries as colours, with the image's patches on it."""
    focus = choose_patch(run, span, selection)
    samples = _sample(run, focus)
    indices = samples.indices[focus.patch]
    return plot_position_grid(_colors(run, focus).grid, samples.positions, focus.patch, indices)


@PART.chart(mark("Close-up of the surrounding entries"), needs=(CHOSEN, SELECTION))
def close_up(run: Run, span: int, selection: Selection | None) -> go.Figure:
    """The four entries around the patch, with their weights."""
    focus = choose_patch(run, span, selection)
    samples, patch = _sample(run, focus), focus.patch
    indices, weights = samples.indices[patch], samples.weights[patch]
    colors = _colors(run, focus).grid
    return plot_neighbours(colors, samples.positions[patch], patch, indices, weights)


@PART.chart(mark("Position similarity"), needs=(CHOSEN, SELECTION))
def similarity(run: Run, span: int, selection: Selection | None) -> go.Figure:
    """Cosine similarity of all patches' position embeddings to the selected patch's."""
    focus = choose_patch(run, span, selection)
    values = playground.vision.position_grid.position_similarity(
        focus.tower, focus.span, focus.patch
    )
    return plot_position_similarity(values, focus.patch, focus.number)


@PART.code(mark("Show the code"), needs=(CHOSEN, SELECTION))
def code(run: Run, span: int, selection: Selection | None) -> str:
    """The script that computes the patch's position from the grid."""
    focus = choose_patch(run, span, selection)
    return write_snippet("vision_position", run, span=focus.number, patch=focus.patch)


@PART.html(needs=(CHOSEN,))
def resampled(run: Run, span: int) -> str:
    """The position embeddings of the image's patches, in the colours of the grid."""
    focus = choose_patch(run, span)
    colors = _colors(run, focus)
    return image_html(
        colors.resampled,
        alt=say(
            "Position embeddings of {name}, in the colours of the grid",
            name=focus.name,
        ),
        caption=say(
            "The grid resampled to {name}, {across} × {down} patches, in the same colours: "
            "similar colours mean similar positions. The three principal components shown explain "
            "{share:.0%} of the grid's variance.",
            name=focus.name,
            across=focus.span.grid_w,
            down=focus.span.grid_h,
            share=colors.variance,
        ),
        pixelated=True,
        span=focus.number,
    )


@PART.html(needs=(CHOSEN, SELECTION))
def blend(run: Run, span: int, selection: Selection | None) -> str:
    """The four entries with their weights, and their sum compared with the model's own position."""
    focus = choose_patch(run, span, selection)
    samples = _sample(run, focus)
    blended = playground.vision.position_grid.blend_position(
        run.engine, focus.tower, focus.span, samples, focus.patch
    )
    return blend_html(focus, samples, blended)


# ------------------------------------------------------ nearest entry or bilinear interpolation


@dataclass(frozen=True, slots=True)
class NearestShift:
    """The effect of nearest-entry positions."""

    shift: LogitsShift
    moved: float  # mean change of the position embeddings, as a share of their norm


@PART.experiment(mark("Try the nearest entry"))
def nearest(run: Run, progress: Progress) -> Iterator[NearestShift]:
    """Run the tower with nearest-entry positions, merge, decode, and compare the next token."""
    grid = playground.vision.position_grid
    run.ensure("decoder", progress)
    vision = grid.run_nearest(run.engine, run.inputs, run.vision, progress=progress)
    merged = playground.merge.stage.run_merge(run.engine, run.inputs, vision)
    decoded = playground.decoder.stage.run_decoder(
        run.engine, run.inputs, merged, progress=progress
    )
    shift = playground.experiments.what_if_runs.compare_logits(
        run.engine, run.decoded.logits, decoded.logits, NUM_TOKENS
    )
    yield NearestShift(shift, grid.position_shift(run.vision, vision))


@PART.html(needs=("nearest",))
def change(_run: Run, found: NearestShift | None) -> str:
    """The effect of nearest-entry positions in one paragraph, or the question before it is run."""
    if found is None:
        return fact_html(
            say(
                "What would the model predict if each patch used only its nearest grid entry? The "
                "button reruns the vision tower, the merge and the decoder with these positions; "
                "nothing else changes."
            )
        )
    return change_html(found.shift, found.moved)


@PART.chart(mark("Next token"), needs=("nearest",))
def likeliest(_run: Run, found: NearestShift | None) -> go.Figure | None:
    """The most likely next tokens with both kinds of positions."""
    return None if found is None else plot_shift(found.shift, (say(NAMES[0]), say(NAMES[1])))


def _sample(run: Run, focus: PatchFocus) -> GridSamples:
    return playground.vision.position_grid.sample_grid(run.engine, focus.span)


def _colors(run: Run, focus: PatchFocus) -> GridColors:
    return playground.vision.position_grid.grid_colors(run.engine, focus.tower, focus.span)
