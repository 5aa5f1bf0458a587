"""One pointer: pixel ↔ patch ↔ merged token ↔ sequence index ↔ (t, h, w) ↔ KV slot.

The rows of ``pixel_values`` are not in raster order: the four patches of a 2x2 block, which the
merger turns into one token, are adjacent ("merge-block order"). Everything here follows from that,
the spans and ``position_ids``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from playground.errors import InputError
from playground.language import say
from playground.records import ModelInputs, VisualSpan


@dataclass(frozen=True, slots=True)
class Selection:
    """One position of the sequence and, for a visual token, its part of the image.

    Ranges include their first and last value.
    """

    index: int  # sequence index; after the prefill also the token's KV slot, in every layer
    thw: tuple[int, int, int]  # position_ids: time, height, width
    span: int | None = None  # index into ModelInputs.spans; None for text, like all fields below
    rows: tuple[int, int] | None = None  # patch rows of the token in its image
    columns: tuple[int, int] | None = None
    x: tuple[int, int] | None = None  # pixels of the resized image
    y: tuple[int, int] | None = None
    pixel_rows: tuple[int, ...] | None = None  # rows of pixel_values, in merge-block order
    patch: tuple[int, int] | None = None  # (row, column), if one patch was selected


def patch_rows(span: VisualSpan) -> np.ndarray:
    """The row of ``pixel_values`` of each patch, by its position in the image.

    Returns:
        ``(grid_h, grid_w)`` int64; subtract ``span.patch_start`` for the row within this span.
    """
    merge = span.merge_size
    rows = np.arange(span.num_patches, dtype=np.int64)
    blocks = rows.reshape(span.merged_h, span.merged_w, merge, merge)
    return span.patch_start + blocks.transpose(0, 2, 1, 3).reshape(span.grid_h, span.grid_w)


def patch_tokens(span: VisualSpan) -> np.ndarray:
    """The sequence index of the merged token of each patch, by its position in the image.

    Returns:
        ``(grid_h, grid_w)`` int64.
    """
    tokens = span.start + np.arange(span.merged_h * span.merged_w, dtype=np.int64)
    by_block = tokens.reshape(span.merged_h, span.merged_w)
    return by_block.repeat(span.merge_size, axis=0).repeat(span.merge_size, axis=1)


def locate_token(inputs: ModelInputs, position_ids: np.ndarray, index: int) -> Selection:
    """Locate a sequence index in all other coordinates.

    Args:
        inputs: the record of ``run_preprocess``.
        position_ids: ``(3, seq)``: t, h, w.
        index: sequence index.

    Raises:
        InputError: the sequence is shorter.
    """
    if not 0 <= index < inputs.num_tokens:
        raise InputError(
            say("There is no token {index:,}.", index=index),
            limit=say(
                "The sequence has {tokens:,} tokens, counted from 0.", tokens=inputs.num_tokens
            ),
        )
    t, h, w = (int(axis) for axis in position_ids[:, index])
    number = find_span(inputs, index)
    if number is None:
        return Selection(index, (t, h, w))
    span, patch = inputs.spans[number], inputs.patch_size
    row, column = divmod(index - span.start, span.merged_w)
    size = span.merge_size
    first = span.patch_start + (index - span.start) * size**2
    return Selection(
        index,
        (t, h, w),
        span=number,
        rows=(row * size, (row + 1) * size - 1),
        columns=(column * size, (column + 1) * size - 1),
        x=(column * size * patch, (column + 1) * size * patch - 1),
        y=(row * size * patch, (row + 1) * size * patch - 1),
        pixel_rows=tuple(range(first, first + size**2)),
    )


def locate_patch(
    inputs: ModelInputs, position_ids: np.ndarray, span: int, row: int, column: int
) -> Selection:
    """Locate a patch of an image in all other coordinates.

    Args:
        inputs: the record of ``run_preprocess``.
        position_ids: ``(3, seq)``: t, h, w.
        span: index into ``inputs.spans``.
        row: patch row, from 0 at the top.
        column: patch column, from 0 at the left.

    Raises:
        InputError: there is no such image, or the patch is outside it.
    """
    if not 0 <= span < len(inputs.spans):
        raise InputError(
            say("There is no image {number:,}.", number=span + 1),
            limit=say("This prompt has {count:,}.", count=len(inputs.spans)),
        )
    there = inputs.spans[span]
    if not (0 <= row < there.grid_h and 0 <= column < there.grid_w):
        raise InputError(
            say("There is no patch at row {row:,}, column {column:,}.", row=row, column=column),
            limit=say(
                "The image has {rows:,} rows and {columns:,} columns of patches.",
                rows=there.grid_h,
                columns=there.grid_w,
            ),
        )
    size = there.merge_size
    index = there.start + row // size * there.merged_w + column // size
    token = locate_token(inputs, position_ids, index)
    return Selection(
        token.index,
        token.thw,
        span,
        token.rows,
        token.columns,
        token.x,
        token.y,
        token.pixel_rows,
        patch=(row, column),
    )


def locate_answer_token(inputs: ModelInputs, position_ids: np.ndarray, number: int) -> Selection:
    """Locate a token of the answer in the sequence and in the KV cache.

    Args:
        inputs: of a run with an answer; see ``answer.stage``.
        position_ids: ``(3, seq)``: t, h, w.
        number: index into the answer's tokens.

    Raises:
        InputError: the answer is shorter.
    """
    if not 0 <= number < inputs.num_answer_tokens:
        raise InputError(
            say("There is no token {index:,}.", index=number),
            limit=say("The answer has {count:,} tokens.", count=inputs.num_answer_tokens),
        )
    return locate_token(inputs, position_ids, inputs.num_prompt_tokens + number)


def answer_number(inputs: ModelInputs, index: int) -> int | None:
    """The index into the answer's tokens of a sequence index; ``None`` in the prompt."""
    number = index - inputs.num_prompt_tokens
    return number if 0 <= number < inputs.num_answer_tokens else None


def still_there(
    inputs: ModelInputs, position_ids: np.ndarray, selection: Selection | None
) -> Selection | None:
    """The selection, if it means the same in this run as in the run where it was selected."""
    if selection is None:
        return None
    try:
        if selection.patch is not None and selection.span is not None:
            again = locate_patch(inputs, position_ids, selection.span, *selection.patch)
        else:
            again = locate_token(inputs, position_ids, selection.index)
    except InputError:
        return None
    return selection if again == selection else None


def find_span(inputs: ModelInputs, index: int) -> int | None:
    """The number of the span that contains a sequence index; ``None`` for text."""
    return next(
        (n for n, span in enumerate(inputs.spans) if span.start <= index < span.end),
        None,
    )
