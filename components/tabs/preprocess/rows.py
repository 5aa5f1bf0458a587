"""Preprocess, the pixels: smart_resize step by step, normalising, and the rows of pixel_values."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np

import playground
from components.chart_view.view import PlotlyView
from components.charts.preprocess import plot_histograms, plot_patch, plot_row
from components.charts.token_labels import span_name
from components.tabs.choices import fact_html, fact_markup
from components.tabs.preprocess.patch_rows import MAX_LISTED, numbered_picture_html, row_list_html
from components.tabs.preprocess.resize_words import resize_html
from components.tabs.stage_tab import App, Section
from components.views.html_view import build_html_view
from playground.language import say

if TYPE_CHECKING:
    from playground.pipeline import Run
    from playground.pointer import Place
    from playground.records import ModelInputs, VisualSpan


def build_resize_section(app: App) -> Section:
    """Build the arithmetic of the new size; nothing in it can be set."""
    del app
    gr.Markdown("### " + say("1. A size that patches can cover"))
    steps = build_html_view()

    def draw(run: Run) -> tuple[str]:
        return (resize_html(run),)

    return Section((), (steps,), draw)


def build_rows_section(app: App) -> Section:
    """Build what one picture goes through: values, rows, and one row in all its numbers."""
    picture = gr.Dropdown(
        [], label=say("Picture"), info=say("Or point at a patch of another one."), visible=False
    )
    gr.Markdown("### " + say("2. From 0–255 to numbers around zero"))
    value_words = build_html_view()
    with gr.Row():
        before = PlotlyView(label=say("Pixels before"))
        after = PlotlyView(label=say("Values after"))
    gr.Markdown("### " + say("3. The picture is cut into rows"))
    order_words = build_html_view()
    with gr.Row():
        grid = build_html_view(wide=True)
        rows = build_html_view(wide=True)
    gr.Markdown("### " + say("4. One row in all its numbers"))
    row_words = build_html_view()
    patch = PlotlyView(label=say("The chosen patch"))
    row = PlotlyView(label=say("The chosen row"))

    of_picture = (picture, value_words, before, after, order_words, grid)
    outputs = (*of_picture, rows, row_words, patch, row)

    def on_point(run: Run, place: Place | None, shown: Any) -> tuple[Any, ...]:
        """Redraw the row; all of the picture only where another one was pointed at."""
        if place is None or place.span is None:
            return tuple(gr.skip() for _ in outputs)
        if place.span != shown:
            return draw_picture(run, place.span, place)
        listed, *drawn = draw_chosen(run, place.span, place)
        # A list of all rows stays as it is, and so keeps to where it was scrolled.
        is_whole = run.inputs.spans[place.span].num_patches <= MAX_LISTED
        kept = (gr.skip() for _ in of_picture)
        return (*kept, gr.skip() if is_whole else listed, *drawn)

    app.on_view(picture.input, draw_picture, [picture, app.pointed], outputs)
    app.on_point(on_point, [picture], outputs)
    return Section((picture, app.pointed), outputs, draw_picture)


def draw_picture(run: Run, shown: Any, pointed: Place | None) -> tuple[Any, ...]:
    """Everything of the section for one picture.

    Args:
        run: the page's run.
        shown: index into the run's spans; another picture is taken where there is no such one.
        pointed: the fixed place, if any.
    """
    inputs = run.inputs
    if not inputs.spans:
        nothing = fact_html(say("This prompt has no picture."))
        hidden = gr.Dropdown(choices=[], value=None, visible=False)
        return hidden, nothing, None, None, nothing, "", "", nothing, None, None
    place = run.still_there(pointed)
    number = shown if isinstance(shown, int) and 0 <= shown < len(inputs.spans) else 0
    span = inputs.spans[number]
    pixels = playground.preprocess.stage.unpatchify(inputs, span)[0]
    return (
        gr.Dropdown(
            choices=[(span_name(inputs, each), n) for n, each in enumerate(inputs.spans)],
            value=number,
            visible=len(inputs.spans) > 1,
        ),
        value_html(inputs, span),
        *plot_values(inputs, span, pixels),
        order_html(inputs, span),
        numbered_picture_html(inputs, number, pixels),
        *draw_chosen(run, number, place, pixels),
    )


def draw_chosen(
    run: Run, number: int, place: Place | None, pixels: np.ndarray | None = None
) -> tuple[Any, ...]:
    """The list of rows around the chosen patch, and its numbers."""
    inputs = run.inputs
    span = inputs.spans[number]
    down, across = chosen_patch(span, number, place)
    there = playground.preprocess.views.read_patch(inputs, span, down, across)
    if pixels is None:
        pixels = playground.preprocess.stage.unpatchify(inputs, span)[0]
    is_pointed = place is not None and place.span == number
    frames = frame_names(inputs, span)
    return (
        row_list_html(inputs, number, pixels, there.row),
        patch_html(inputs, span, there, is_pointed),
        plot_patch(there.values, there.row, frames),
        plot_row(there.values, there.row),
    )


def chosen_patch(span: VisualSpan, number: int, place: Place | None) -> tuple[int, int]:
    """``(row, column)`` of the patch pointed at, or of the middle one."""
    if place is None or place.span != number or place.rows is None or place.columns is None:
        return span.grid_h // 2, span.grid_w // 2
    return place.patch or (place.rows[0], place.columns[0])


def frame_names(inputs: ModelInputs, span: VisualSpan) -> list[str]:
    """What the frames of a temporal patch are called."""
    first = span.frame * inputs.temporal_patch_size + 1
    return [
        say("frame {frame}", frame=first + offset) for offset in range(inputs.temporal_patch_size)
    ]


# ------------------------------------------------------------------------------------- words


def value_html(inputs: ModelInputs, span: VisualSpan) -> str:
    """What rescaling and normalising do, with this processor's numbers."""
    values = playground.preprocess.views.span_pixels(inputs, span)
    return fact_html(
        say(
            "Each value is divided by 255, then the mean ({means} for red / green / blue) is taken "
            "off and the rest divided by the standard deviation ({stds}). The shape of the "
            "distribution stays, its scale becomes that of the weights: here from {low:.3f} to "
            "{high:.3f}, on average {mean:.3f}.",
            means=" / ".join(f"{value:g}" for value in inputs.image_mean),
            stds=" / ".join(f"{value:g}" for value in inputs.image_std),
            low=values.min(),
            high=values.max(),
            mean=values.mean(),
        )
    )


def plot_values(inputs: ModelInputs, span: VisualSpan, pixels: np.ndarray) -> tuple[Any, Any]:
    """The histograms before and after."""
    counted = playground.preprocess.views.pixel_histograms(inputs, span, pixels)
    return (
        plot_histograms(
            np.stack([counted.pixel_edges] * 3),
            counted.pixel_counts,
            say("Before: whole numbers"),
            say("value of the resized pixel, 0 to 255"),
        ),
        plot_histograms(
            counted.value_edges,
            counted.value_counts,
            say("After: the same shape around zero"),
            say("value in pixel_values"),
        ),
    )


def order_html(inputs: ModelInputs, span: VisualSpan) -> str:
    """What is special about the order of the rows, and the two frames."""
    size, frames = inputs.patch_size, inputs.temporal_patch_size
    return fact_markup(
        say(
            "The {count:,} patches become {count:,} rows of <code>{name}</code>, each 3 channels × "
            "{frames} frames × {size} × {size} = {width:,} numbers. The rows do not run line by "
            "line: the {merge} × {merge} patches of one token follow one another, so that four "
            "rows in a row become one token.",
            count=span.num_patches,
            name=_tensor_name(span),
            frames=frames,
            size=size,
            width=3 * frames * size * size,
            merge=span.merge_size,
        ),
        _frame_words(inputs, span),
        say("Click a patch or a row to find it in the other."),
    )


def _frame_words(inputs: ModelInputs, span: VisualSpan) -> str:
    """Why a patch has two frames, and how much they differ."""
    frames = inputs.temporal_patch_size
    differ = playground.preprocess.views.frames_differ(inputs, span)
    if span.kind == "video":
        compared = span.num_patches * 3 * inputs.patch_size**2
        return say(
            "A patch has {frames} frames: two neighbouring frames of the video, in which "
            "{share:.0%} of the values differ.",
            frames=frames,
            share=differ / compared,
        )
    if differ:
        return say(
            "A patch has {frames} frames, since the model takes pictures as short videos: an "
            "image is doubled, and {differ:,} numbers differ between its frames.",
            frames=frames,
            differ=differ,
        )
    return say(
        "A patch has {frames} frames, since the model takes pictures as short videos: an "
        "image is doubled, and no number differs between its frames.",
        frames=frames,
    )


def _tensor_name(span: VisualSpan) -> str:
    return "pixel_values" if span.kind == "image" else "pixel_values_videos"


def patch_html(inputs: ModelInputs, span: VisualSpan, there: Any, is_pointed: bool) -> str:
    """Which row and patch the two charts show."""
    down, across = there.place
    size = inputs.patch_size
    words = say(
        "<strong>Row {row:,} of {tensor}</strong> is the patch at row {down}, column {across} of "
        "{name}: pixels x {left}–{right}, y {top}–{bottom}. With three others it becomes token "
        "{token:,}.",
        row=there.row,
        tensor=_tensor_name(span),
        down=down,
        across=across,
        name=html.escape(span_name(inputs, span)),
        left=across * size,
        right=across * size + size - 1,
        top=down * size,
        bottom=down * size + size - 1,
        token=there.index,
    )
    if is_pointed:
        return fact_markup(words)
    return fact_markup(words, say("Nothing is pointed at in this picture: this is the middle one."))
