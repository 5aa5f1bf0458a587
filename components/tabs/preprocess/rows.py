"""Preprocess, pixels: ``smart_resize``, normalisation, and the rows of ``pixel_values``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go
from markupsafe import escape

import playground
from components.charts.preprocess import plot_histograms, plot_patch, plot_row
from components.charts.token_labels import span_name
from components.parts.controls import Choice
from components.parts.part import SELECTION, Heading, Part
from components.tabs.preprocess.patch_rows import numbered_image_html, row_list_html
from components.tabs.preprocess.resize_words import resize_html
from components.views.facts import fact_html, fact_markup
from playground.language import mark, say
from playground.pipeline import Run
from playground.pointer import Selection
from playground.records import ModelInputs, PixelScale, VisualSpan

if TYPE_CHECKING:
    from playground.preprocess.views import Histograms, PatchRow

IMAGE = Choice(
    id="picture",
    label=mark("Image"),
    info=mark("Or select a patch of another image."),
    options=lambda run: [
        (span_name(run.inputs, span), number) for number, span in enumerate(run.inputs.spans)
    ],
    compact=True,
    follows="image",
    shown=lambda run: len(run.inputs.spans) > 1,
)
PART = Part(
    "rows",
    mark("Pixels to rows"),
    stage="preprocess",
    controls=(IMAGE,),
    layout=(
        Heading(mark("1. Resize to whole patches")),
        "sizes",
        "picture",
        Heading(mark("2. Normalise the pixel values")),
        "values",
        ("before", "after"),
        Heading(mark("3. Flatten the patches into rows")),
        "order",
        ("grid", "rows"),
        Heading(mark("4. Inspect one row")),
        "chosen",
        "patch",
        "row",
    ),
    shown=lambda run: bool(run.inputs.spans),
    absent=mark("This prompt has no image or video."),
)


@PART.html()
def sizes(run: Run) -> str:
    """How each image and video gets its new size, step by step."""
    return resize_html(run)


# -------------------------------------------------------------------------- values of one image


@PART.html(needs=("picture",))
def values(run: Run, number: int) -> str:
    """What rescaling and normalisation do, with this processor's mean and deviation."""
    inputs = run.inputs
    span = inputs.spans[number]
    pixels = playground.preprocess.views.span_pixels(inputs, span)
    result = say(
        "The distribution keeps its shape and moves to the scale that the vision tower expects: "
        "here from {low:.3f} to {high:.3f}, with a mean of {mean:.3f}.",
        low=pixels.min(),
        high=pixels.max(),
        mean=pixels.mean(),
    )
    return fact_html(_scale_words(inputs.scale(span.kind)), result)


def _scale_words(scale: PixelScale) -> str:
    """What the processor does to each value."""
    means, stds = (" / ".join(f"{each:g}" for each in of) for of in (scale.mean, scale.std))
    if abs(255 * scale.factor - 1) < 1e-6:
        return say(
            "Each value is divided by 255, the mean ({means} for red / green / blue) is "
            "subtracted, and the result is divided by the standard deviation ({stds}).",
            means=means,
            stds=stds,
        )
    return say(
        "Each value is multiplied by {factor:.4g}, the mean ({means} for red / green / blue) is "
        "subtracted, and the result is divided by the standard deviation ({stds}).",
        factor=scale.factor,
        means=means,
        stds=stds,
    )


@PART.chart(mark("Pixel values before normalisation"), needs=("picture",))
def before(run: Run, number: int) -> go.Figure:
    """How often each value of the resized image occurs."""
    counted = _count_values(run, number)
    return plot_histograms(
        np.stack([counted.pixel_edges] * 3),
        counted.pixel_counts,
        say("Before: integers from 0 to 255"),
        say("pixel value after resizing"),
    )


@PART.chart(mark("Values after normalisation"), needs=("picture",))
def after(run: Run, number: int) -> go.Figure:
    """How often each value of ``pixel_values`` occurs, in the same bins."""
    counted = _count_values(run, number)
    return plot_histograms(
        counted.value_edges,
        counted.value_counts,
        say("After: the same shape, near zero"),
        say("value in pixel_values"),
    )


def _count_values(run: Run, number: int) -> Histograms:
    def count() -> Histograms:
        inputs = run.inputs
        span, pixels = inputs.spans[number], first_frame(inputs, number)
        return playground.preprocess.views.pixel_histograms(inputs, span, pixels)

    return run.memo("preprocess.histograms", count, of=number)


def first_frame(inputs: ModelInputs, number: int) -> np.ndarray:
    """``(height, width, 3)`` uint8: a span's first frame, after resizing."""
    frame: np.ndarray = playground.preprocess.stage.unpatchify(inputs, inputs.spans[number])[0]
    return frame


# ------------------------------------------------------------------------------ rows and patches


@PART.html(needs=("picture",))
def order(run: Run, number: int) -> str:
    """The order of the rows, and the frames of a patch."""
    inputs, span = run.inputs, run.inputs.spans[number]
    size, frames = inputs.patch_size, inputs.temporal_patch_size
    return fact_markup(
        say(
            "The {count:,} patches become {count:,} rows of <code>{name}</code>, each with 3 "
            "channels × {frames} frames × {size} × {size} = {width:,} values.",
            count=span.num_patches,
            name=_tensor_name(span),
            frames=frames,
            size=size,
            width=3 * frames * size * size,
        ),
        _order_words(span.merge_size),
        _frame_words(inputs, span),
        say("Click a patch to find its row, or a row to find its patch."),
    )


def _order_words(merge: int) -> str:
    """The order of the rows, which the merger needs."""
    if merge == 1:
        return say("The rows are in raster order: with merge_size 1, each row becomes one token.")
    return say(
        "The rows are not in raster order: the {merge} × {merge} patches of one token are "
        "adjacent, so {count} consecutive rows become one token.",
        merge=merge,
        count=merge**2,
    )


def _frame_words(inputs: ModelInputs, span: VisualSpan) -> str:
    """Why a patch spans several frames, and how much they differ."""
    frames = inputs.temporal_patch_size
    if frames == 1:
        return say("With temporal_patch_size 1, a patch spans one frame.")
    differ = playground.preprocess.views.frames_differ(inputs, span)
    if span.kind == "video":
        compared = span.num_patches * 3 * inputs.patch_size**2 * (frames - 1)
        return say(
            "A patch spans {frames} frames: here, consecutive sampled frames of the video, "
            "which differ in {share:.0%} of their values.",
            frames=frames,
            share=differ / compared,
        )
    if differ:
        return say(
            "A patch spans {frames} frames because the model treats an image as a short video: "
            "the image is repeated, and {differ:,} values differ between the frames.",
            frames=frames,
            differ=differ,
        )
    return say(
        "A patch spans {frames} frames because the model treats an image as a short video: the "
        "image is repeated, so the frames are identical.",
        frames=frames,
    )


def _tensor_name(span: VisualSpan) -> str:
    return "pixel_values" if span.kind == "image" else "pixel_values_videos"


@PART.html(needs=("picture",))
def grid(run: Run, number: int) -> str:
    """The image, each patch labelled with its row number."""
    return numbered_image_html(run.inputs, number, first_frame(run.inputs, number))


@PART.html(needs=("picture", SELECTION))
def rows(run: Run, number: int, selection: Selection | None) -> str:
    """The rows in order; of a long list, those around the selected row."""
    row = chosen_row(run, number, selection).row
    return row_list_html(run.inputs, number, first_frame(run.inputs, number), row)


# --------------------------------------------------------------------------------------- one row


@PART.html(needs=("picture", SELECTION))
def chosen(run: Run, number: int, selection: Selection | None) -> str:
    """Which row and patch the two charts show."""
    inputs, span = run.inputs, run.inputs.spans[number]
    there = chosen_row(run, number, selection)
    down, across = there.position
    size = inputs.patch_size
    words = say(
        "<strong>Row {row:,} of {tensor}</strong> is the patch at row {down}, column {across} of "
        "{name}: pixels x {left}–{right}, y {top}–{bottom}. Together with three other patches it "
        "becomes token {token:,}.",
        row=there.row,
        tensor=_tensor_name(span),
        down=down,
        across=across,
        name=escape(span_name(inputs, span)),
        left=across * size,
        right=across * size + size - 1,
        top=down * size,
        bottom=down * size + size - 1,
        token=there.index,
    )
    if selection is not None and selection.span == number:
        return fact_markup(words)
    return fact_markup(words, say("No patch of this image is selected, so this is the middle one."))


@PART.chart(mark("Selected patch"), needs=("picture", SELECTION))
def patch(run: Run, number: int, selection: Selection | None) -> go.Figure:
    """The selected row as heat maps, one for each frame and channel."""
    there = chosen_row(run, number, selection)
    return plot_patch(there.values, there.row, frame_names(run.inputs, run.inputs.spans[number]))


@PART.chart(mark("Selected row"), needs=("picture", SELECTION))
def row(run: Run, number: int, selection: Selection | None) -> go.Figure:
    """The values of the selected row, in memory order."""
    there = chosen_row(run, number, selection)
    return plot_row(there.values, there.row)


def chosen_row(run: Run, number: int, selection: Selection | None) -> PatchRow:
    """The row of ``pixel_values`` of the selected patch, or of the middle one."""
    span = run.inputs.spans[number]
    return playground.preprocess.views.read_patch(
        run.inputs, span, *chosen_patch(span, number, selection)
    )


def chosen_patch(span: VisualSpan, number: int, selection: Selection | None) -> tuple[int, int]:
    """``(row, column)`` of the selected patch, or of the middle one."""
    if (
        selection is None
        or selection.span != number
        or selection.rows is None
        or selection.columns is None
    ):
        return span.grid_h // 2, span.grid_w // 2
    return selection.patch or (selection.rows[0], selection.columns[0])


def frame_names(inputs: ModelInputs, span: VisualSpan) -> list[str]:
    """The names of the frames of a temporal patch."""
    first = span.frame * inputs.temporal_patch_size + 1
    return [
        say("frame {frame}", frame=first + offset) for offset in range(inputs.temporal_patch_size)
    ]
