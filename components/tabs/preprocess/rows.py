"""Preprocess, the pixels: smart_resize step by step, normalising, and the rows of pixel_values."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np

import playground
from components.charts.preprocess import plot_histograms, plot_patch, plot_row
from components.charts.token_labels import span_name
from components.html_view import build_html_view
from components.patch_rows import MAX_LISTED, numbered_picture_html, row_list_html
from components.plotly_view import PlotlyView
from components.resize_words import resize_html
from components.stage_tab import App, Section

if TYPE_CHECKING:
    from playground.pipeline import Run
    from playground.pointer import Place
    from playground.records import ModelInputs, VisualSpan


def build_resize_section(app: App) -> Section:
    """Build the arithmetic of the new size; nothing in it can be set."""
    del app
    gr.Markdown("### 1. A size that patches can cover")
    steps = build_html_view()

    def draw(run: Run) -> tuple[str]:
        return (resize_html(run),)

    return Section((), (steps,), draw)


def build_rows_section(app: App) -> Section:
    """Build what one picture goes through: values, rows, and one row in all its numbers."""
    picture = gr.Dropdown(
        [], label="Picture", info="Or point at a patch of another one.", visible=False
    )
    gr.Markdown("### 2. From 0–255 to numbers around zero")
    value_words = build_html_view()
    with gr.Row():
        before = PlotlyView(label="Pixels before")
        after = PlotlyView(label="Values after")
    gr.Markdown("### 3. The picture is cut into rows")
    order_words = build_html_view()
    with gr.Row():
        grid = build_html_view(wide=True)
        rows = build_html_view(wide=True)
    gr.Markdown("### 4. One row in all its numbers")
    row_words = build_html_view()
    patch = PlotlyView(label="The chosen patch")
    row = PlotlyView(label="The chosen row")

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
        nothing = '<p class="pg-fact">This prompt has no picture.</p>'
        hidden = gr.Dropdown(choices=[], value=None, visible=False)
        return hidden, nothing, None, None, nothing, "", "", nothing, None, None
    place = run.still_there(pointed)
    number = shown if isinstance(shown, int) and 0 <= shown < len(inputs.spans) else 0
    span = inputs.spans[number]
    pixels = playground.preprocess.unpatchify(inputs, span)[0]
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
    there = playground.preprocess_views.read_patch(inputs, span, down, across)
    if pixels is None:
        pixels = playground.preprocess.unpatchify(inputs, span)[0]
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
    return [f"frame {first + offset}" for offset in range(inputs.temporal_patch_size)]


# ------------------------------------------------------------------------------------- words


def value_html(inputs: ModelInputs, span: VisualSpan) -> str:
    """What rescaling and normalising do, with this processor's numbers."""
    means = " / ".join(f"{value:g}" for value in inputs.image_mean)
    stds = " / ".join(f"{value:g}" for value in inputs.image_std)
    values = playground.preprocess_views.span_pixels(inputs, span)
    return (
        '<p class="pg-fact">Each value is divided by 255, then the mean '
        f"({html.escape(means)} for red / green / blue) is taken off and the rest divided by the "
        f"standard deviation ({html.escape(stds)}). The shape of the distribution stays, its scale "
        f"becomes that of the weights: here from {values.min():.3f} to {values.max():.3f}, on "
        f"average {values.mean():.3f}.</p>"
    )


def plot_values(inputs: ModelInputs, span: VisualSpan, pixels: np.ndarray) -> tuple[Any, Any]:
    """The histograms before and after."""
    counted = playground.preprocess_views.pixel_histograms(inputs, span, pixels)
    return (
        plot_histograms(
            np.stack([counted.pixel_edges] * 3),
            counted.pixel_counts,
            "Before: whole numbers",
            "value of the resized pixel, 0 to 255",
        ),
        plot_histograms(
            counted.value_edges,
            counted.value_counts,
            "After: the same shape around zero",
            "value in pixel_values",
        ),
    )


def order_html(inputs: ModelInputs, span: VisualSpan) -> str:
    """What is special about the order of the rows, and the two frames."""
    name = "pixel_values" if span.kind == "image" else "pixel_values_videos"
    size, merge = inputs.patch_size, span.merge_size
    frames = inputs.temporal_patch_size
    width = 3 * frames * size * size
    differ = playground.preprocess_views.frames_differ(inputs, span)
    if span.kind == "image":
        time = (
            f"A patch has {frames} frames, since the model takes pictures as short videos: an "
            f"image is doubled, and {'no number differs' if not differ else f'{differ:,} differ'} "
            "between its frames."
        )
    else:
        compared = span.num_patches * width // frames
        time = (
            f"A patch has {frames} frames: two neighbouring frames of the video, in which "
            f"{differ / compared:.0%} of the values differ."
        )
    return (
        f'<p class="pg-fact">The {span.num_patches:,} patches become {span.num_patches:,} rows of '
        f"<code>{name}</code>, each 3 channels × {frames} frames × {size} × {size} = {width:,} "
        f"numbers. The rows do not run line by line: the {merge} × {merge} patches of one token "
        f"follow one another, so that four rows in a row become one token. {time} Click a patch or "
        "a row to find it in the other.</p>"
    )


def patch_html(inputs: ModelInputs, span: VisualSpan, there: Any, is_pointed: bool) -> str:
    """Which row and patch the two charts show."""
    name = "pixel_values" if span.kind == "image" else "pixel_values_videos"
    down, across = there.place
    size = inputs.patch_size
    chosen = "" if is_pointed else " Nothing is pointed at in this picture: this is the middle one."
    return (
        f'<p class="pg-fact"><strong>Row {there.row:,} of {name}</strong> is the patch at row '
        f"{down}, column {across} of {html.escape(span_name(inputs, span))}: pixels x "
        f"{across * size}–{across * size + size - 1}, y {down * size}–{down * size + size - 1}. "
        f"With three others it becomes token {there.index:,}.{chosen}</p>"
    )
