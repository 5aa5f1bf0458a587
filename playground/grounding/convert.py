"""Coordinates in thousandths as pixels, and the readings that are often mistaken for that one.

Qwen3-VL's coordinates are relative: thousandths of the width and of the height, whatever size the
image was resized to. Earlier models wrote pixels of the resized image, other tools pad to a square
or exchange width and height; each of these readings draws another box.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize

from playground.grounding.read import FULL_SCALE

Misreading = Literal["resized pixels", "28-pixel grid", "square padding", "swapped", "shrunk"]

OLD_FACTOR = 28  # patch size 14, merged 2 × 2: Qwen2-VL and Qwen2.5-VL

Size = tuple[int, int]
"""Width and height in pixels."""

Box = tuple[float, float, float, float]
"""x1, y1, x2, y2."""


@dataclass(frozen=True, slots=True)
class Frame:
    """The sizes of one image."""

    original: Size
    resized: Size  # what the vision tower gets
    min_pixels: int  # of the image processor
    max_pixels: int


def to_pixels(values: Sequence[float], size: Size) -> tuple[float, ...]:
    """Thousandths as pixels of an image of this size.

    Args:
        values: x, y, x, y, …
        size: the original's for pixels of the original, or the resized image's.
    """
    return tuple(value / FULL_SCALE * size[number % 2] for number, value in enumerate(values))


def misread(values: Sequence[float], frame: Frame, how: Misreading) -> tuple[float, ...]:
    """Pixels of the original where somebody ends up who reads thousandths in another way.

    Args:
        values: x, y, x, y, … in thousandths.
        frame: the image's sizes.
        how: ``resized pixels``: as pixels of the resized image (Qwen2.5-VL's way);
            ``28-pixel grid``: the same with the size that a grid of 28 pixels would give;
            ``square padding``: of a square around the centred image;
            ``swapped``: x of the height and y of the width;
            ``shrunk``: of the original, as pixels of an image of at most 1000 pixels a side.
    """
    width, height = frame.original
    if how == "swapped":
        return to_pixels(values, (height, width))
    if how == "square padding":
        side = max(width, height)
        margins = ((side - width) / 2, (side - height) / 2)
        pixels = to_pixels(values, (side, side))
        return tuple(pixel - margins[number % 2] for number, pixel in enumerate(pixels))
    if how == "shrunk":
        scale = max(1.0, max(width, height) / FULL_SCALE)
        return tuple(value * scale for value in values)
    seen = frame.resized
    if how == "28-pixel grid":
        rows, columns = smart_resize(height, width, OLD_FACTOR, frame.min_pixels, frame.max_pixels)
        seen = (columns, rows)
    return tuple(
        value * (frame.original[number % 2] / seen[number % 2])
        for number, value in enumerate(values)
    )


def overlap(one: Box, other: Box) -> float:
    """Intersection over union of two boxes, in [0, 1]; the corners may be swapped."""
    (left, top, right, bottom), (x1, y1, x2, y2) = map(_in_order, (one, other))
    shared = max(0.0, min(right, x2) - max(left, x1)) * max(0.0, min(bottom, y2) - max(top, y1))
    both = (right - left) * (bottom - top) + (x2 - x1) * (y2 - y1) - shared
    return shared / both if both > 0 else 0.0


def mean_overlap(boxes: Sequence[Box], reference: Sequence[Box]) -> float | None:
    """The mean intersection over union of reference boxes with the boxes that match them best.

    Each box matches one reference box at most; one without a match counts as 0. Further boxes are
    ignored.

    Returns:
        In [0, 1]; None without a reference box.
    """
    if not reference:
        return None
    pairs = [
        (overlap(box, right), one, other)
        for one, box in enumerate(boxes)
        for other, right in enumerate(reference)
    ]
    total = 0.0
    while pairs:
        best, one, other = max(pairs)
        total += best
        pairs = [pair for pair in pairs if pair[1] != one and pair[2] != other]
    return total / len(reference)


def _in_order(box: Box) -> Box:
    x1, y1, x2, y2 = box
    return min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)
