"""An answer's boxes and points, placed on one image of the prompt."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

import playground
from components.views.boxes import Pixels, corners
from playground.grounding.read import Found, Reading, Unread
from playground.pipeline import Run
from playground.pointer import patch_tokens

if TYPE_CHECKING:
    from playground.grounding.convert import Frame
    from playground.grounding.edges import Edge
    from playground.records import MediaFacts, VisualSpan


@dataclass(frozen=True, slots=True, eq=False)
class PlacedObject:
    """A box or point of an answer."""

    number: int  # in the answer, from 0
    found: Found
    original: Pixels  # x, y, x, y or x, y in pixels of the original image
    resized: Pixels
    tokens: np.ndarray  # (tokens,) int64: sequence indices of the merged tokens that it covers
    middle: int  # sequence index of the token at its middle
    patch: tuple[int, int]  # row and column of the patch there
    edges: tuple[Edge | None, ...]  # empty until they are measured; None: not measured


@dataclass(frozen=True, slots=True, eq=False)
class Grounding:
    """An answer's boxes and points on one image."""

    name: str  # of the answer
    text: str
    span: int  # index into ModelInputs.spans
    frame: Frame
    objects: tuple[PlacedObject, ...]
    unread: tuple[Unread, ...]


def image_facts(run: Run, span: VisualSpan) -> MediaFacts:
    """What the processor did to the image of a span."""
    images = [facts for facts in run.inputs.media if facts.kind == "image"]
    return images[span.media_index]


def place_objects(
    run: Run,
    number: int,
    name: str,
    text: str,
    reading: Reading,
    edges: Sequence[tuple[Edge | None, ...]],
) -> Grounding:
    """Everything that was read, on one image.

    Args:
        run: of the prompt.
        number: index into ``ModelInputs.spans``.
        name: of the answer.
        text: of the answer.
        reading: of this text.
        edges: of the first objects; the others are not measured yet.
    """
    span = run.inputs.spans[number]
    facts = image_facts(run, span)
    processor = run.engine.processor.image_processor
    given = playground.preprocess.stage.size_argument(processor, run.prompt.max_pixels)
    limits = given.get("size", processor.size)
    frame = playground.grounding.convert.Frame(
        facts.original_size,
        facts.resized_size,
        int(limits["shortest_edge"]),
        int(limits["longest_edge"]),
    )
    objects = tuple(
        _place(found, index, frame, span, edges[index] if index < len(edges) else ())
        for index, found in enumerate(reading.found)
    )
    return Grounding(name, text, number, frame, objects, reading.unread)


def _place(
    found: Found, number: int, frame: Frame, span: VisualSpan, edges: tuple[Edge | None, ...]
) -> PlacedObject:
    to_pixels = playground.grounding.convert.to_pixels
    resized = to_pixels(found.values, frame.resized)
    tokens, middle, patch = _covered(resized, frame, span)
    original = to_pixels(found.values, frame.original)
    return PlacedObject(number, found, original, resized, tokens, middle, patch, edges)


def _covered(
    resized: Pixels, frame: Frame, span: VisualSpan
) -> tuple[np.ndarray, int, tuple[int, int]]:
    """The tokens that a box covers, the one at its middle, and the patch there."""
    left, top, right, bottom = corners(resized)
    width, height = frame.resized
    x0, x1 = _cells(left, right, width, span.merged_w)
    y0, y1 = _cells(top, bottom, height, span.merged_h)
    by_patch = patch_tokens(span)
    size = span.merge_size
    tokens = by_patch[::size, ::size][y0:y1, x0:x1].ravel()
    row = _cell((top + bottom) / 2, height, span.grid_h)
    column = _cell((left + right) / 2, width, span.grid_w)
    return tokens, int(by_patch[row, column]), (row, column)


def _cells(low: float, high: float, side: float, count: int) -> tuple[int, int]:
    """First cell, and one past the last, that a range of pixels touches; none outside the image."""
    if high < 0 or low > side:
        return 0, 0
    first = _cell(low, side, count)
    return first, max(first + 1, min(count, math.ceil(high / side * count)))


def _cell(value: float, side: float, count: int) -> int:
    """The cell of one pixel, within the image."""
    return min(max(int(value / side * count), 0), count - 1)
