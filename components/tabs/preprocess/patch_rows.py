"""The rows of ``pixel_values`` as a list, and their numbers on the image."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

import numpy as np

import playground
from components.charts.token_labels import span_name
from components.views.images import image_html, image_uri
from playground.language import say

if TYPE_CHECKING:
    from playground.records import ModelInputs, VisualSpan

MAX_NUMBERED = 256  # patches; on a finer grid the numbers would be unreadable
MAX_LISTED = 256  # rows; a longer list starts just above the selected row
ROWS_ABOVE = 8
IMAGE_SIDE = 640


def numbered_image_html(inputs: ModelInputs, number: int, pixels: np.ndarray) -> str:
    """The resized image, each patch labelled with its row of ``pixel_values``.

    Args:
        inputs: the record of the preprocess stage.
        number: index into ``inputs.spans``.
        pixels: ``(height, width, 3)`` uint8: the first frame after resizing.
    """
    span = inputs.spans[number]
    has_numbers = span.num_patches <= MAX_NUMBERED
    name = span_name(inputs, span)
    if has_numbers:
        alt = say("{name} with its patch grid and the row number of each patch", name=name)
        caption = say("The number on each patch is its row.")
    else:
        alt = say("{name} with its patch grid", name=name)
        caption = say(
            "The {count:,} patches are too small for numbers: select one to see its row in the "
            "list.",
            count=span.num_patches,
        )
    figure = image_html(
        pixels,
        alt=alt,
        caption=caption,
        grid=(span.grid_h, span.grid_w),
        max_side=IMAGE_SIDE,
        span=number,
    )
    return _add_numbers(figure, span) if has_numbers else figure


def _add_numbers(figure: str, span: VisualSpan) -> str:
    """Overlay the row numbers as the last element of the image's frame."""
    rows = playground.pointer.patch_rows(span)
    texts = "".join(
        f'<text x="{column + 0.5}" y="{row + 0.66}">{rows[row, column]}</text>'
        for row in range(span.grid_h)
        for column in range(span.grid_w)
    )
    overlay = (
        f'<svg class="pg-numbers" viewBox="0 0 {span.grid_w} {span.grid_h}" '
        f'preserveAspectRatio="none" aria-hidden="true">{texts}</svg>'
    )
    frame, end, caption = figure.rpartition("</div>")
    return f"{frame}{overlay}{end}{caption}"


def row_list_html(inputs: ModelInputs, number: int, pixels: np.ndarray, row: int) -> str:
    """The rows in order, each with its pixels side by side and its grid position.

    Args:
        inputs: the record of the preprocess stage.
        number: index into ``inputs.spans``.
        pixels: ``(height, width, 3)`` uint8: the first frame after resizing.
        row: the selected row of ``pixel_values``.
    """
    span = inputs.spans[number]
    first, last = listed_rows(span, row)
    views = playground.preprocess.views
    positions = views.row_positions(span)[first:last]
    colors = views.row_colors(inputs, span, pixels)[first:last]
    count = len(positions)
    merge = span.merge_size**2
    items = "".join(
        f'<li data-span="{number}" data-row="{down}" data-column="{across}"'
        f"{_row_class((first + n) % merge == 0)}><b>{span.patch_start + first + n}</b>"
        f'<i style="--at:{n / max(1, count - 1):.5f}"></i><span>{down}, {across}</span></li>'
        for n, (down, across) in enumerate(positions.tolist())
    )
    words = html.escape(_listed_words(inputs, span, first, last))
    head = (
        f"<b>{say('row')}</b><span>{say('pixels, line by line')}</span>"
        f"<span>{say('patch row, column')}</span>"
    )
    return (
        f'<div class="pg-pixel-rows"><p class="pg-pixel-rows-head">{head}</p>'
        f'<ol class="pg-scroll" data-pointer tabindex="0" aria-label="{words}" '
        f"style=\"--rows:url('{image_uri(colors, max_side=max(colors.shape), exact=False)}');"
        f'--count:{count}">{items}</ol><p class="pg-more">{words}</p></div>'
    )


def _listed_words(inputs: ModelInputs, span: VisualSpan, first: int, last: int) -> str:
    """Which rows are listed; ``first`` and ``last`` (exclusive) are relative to the span."""
    positions = {
        "first": span.patch_start + first,
        "last": span.patch_start + last - 1,
        "name": span_name(inputs, span),
    }
    if last - first == span.num_patches:
        return say("rows {first:,} to {last:,} of {name}", **positions)
    return say(
        "rows {first:,} to {last:,} of {name} ({total:,} in total), starting just above the "
        "selected row",
        total=span.num_patches,
        **positions,
    )


def _row_class(begins_token: bool) -> str:
    return ' class="pg-first"' if begins_token else ""


def listed_rows(span: VisualSpan, row: int) -> tuple[int, int]:
    """The rows of a span to list: first and one past the last, relative to the span."""
    if span.num_patches <= MAX_LISTED:
        return 0, span.num_patches
    merge = span.merge_size**2
    start = row - span.patch_start - ROWS_ABOVE
    start = min(max(0, start), span.num_patches - MAX_LISTED)
    return start - start % merge, min(start - start % merge + MAX_LISTED, span.num_patches)
