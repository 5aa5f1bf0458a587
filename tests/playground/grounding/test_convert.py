"""Thousandths, resized pixels and original pixels, and the readings that are not right."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize

from playground.grounding.convert import (
    Frame,
    Misreading,
    mean_overlap,
    misread,
    overlap,
    to_pixels,
)

SIZES = st.tuples(st.integers(32, 4_000), st.integers(32, 4_000)).filter(
    lambda size: max(size) / min(size) < 200
)
LEAST, MOST = 65_536, 16_777_216


def frame_of(size: tuple[int, int]) -> Frame:
    rows, columns = smart_resize(size[1], size[0], 32, LEAST, MOST)
    return Frame(size, (columns, rows), LEAST, MOST)


@given(SIZES, st.floats(0, 1), st.floats(0, 1))
def test_a_pixel_finds_its_way_back(size: tuple[int, int], across: float, down: float) -> None:
    """Written in thousandths, it is off by at most half a step; resizing takes nothing away."""
    pixel = (across * size[0], down * size[1])
    written = [round(value / side * 1000) for value, side in zip(pixel, size, strict=True)]
    for back, there, side in zip(to_pixels(written, size), pixel, size, strict=True):
        assert abs(back - there) <= side / 2_000 + 1e-9
    frame = frame_of(size)
    seen = to_pixels(written, frame.resized)
    again = [value / side for value, side in zip(seen, frame.resized, strict=True)]
    assert again == pytest.approx([value / 1000 for value in written])


def test_each_misreading_by_hand() -> None:
    frame = Frame((2_000, 1_000), (1_024, 512), LEAST, MOST)
    values = (500, 500)
    assert to_pixels(values, frame.original) == (1_000, 500)
    assert misread(values, frame, "resized pixels") == pytest.approx((976.5625, 976.5625))
    assert misread(values, frame, "square padding") == (1_000, 500)
    assert misread((0, 250), frame, "square padding") == (0, 0)
    assert misread(values, frame, "swapped") == (500, 1_000)
    assert misread(values, frame, "shrunk") == (1_000, 1_000)
    rows, columns = smart_resize(1_000, 2_000, 28, LEAST, MOST)
    expected = (500 * 2_000 / columns, 500 * 1_000 / rows)
    assert misread(values, frame, "28-pixel grid") == pytest.approx(expected)


@pytest.mark.parametrize("how", get_args(Misreading))
def test_on_a_square_of_1000_most_readings_agree(how: Misreading) -> None:
    frame = Frame((1_000, 1_000), (1_000, 1_000), LEAST, MOST)
    read = misread((100, 200, 300, 400), frame, how)
    if how == "28-pixel grid":
        assert read != (100, 200, 300, 400)
    else:
        assert read == pytest.approx((100, 200, 300, 400))


def test_overlap_by_hand() -> None:
    assert overlap((0, 0, 2, 2), (0, 0, 2, 2)) == 1
    assert overlap((0, 0, 2, 2), (1, 0, 3, 2)) == pytest.approx(1 / 3)
    assert overlap((2, 2, 0, 0), (0, 0, 2, 2)) == 1  # swapped corners
    assert overlap((0, 0, 1, 1), (1, 1, 2, 2)) == 0
    assert overlap((1, 1, 1, 1), (1, 1, 1, 1)) == 0


boxes = st.tuples(*[st.floats(0, 1_000)] * 4)


@given(boxes, boxes)
def test_overlap_is_symmetric_and_a_share(
    one: tuple[float, float, float, float], other: tuple[float, float, float, float]
) -> None:
    assert overlap(one, other) == pytest.approx(overlap(other, one))
    assert 0 <= overlap(one, other) <= 1 + 1e-9


def test_boxes_that_agree_with_others_by_hand() -> None:
    left, right, half = (0, 0, 10, 10), (20, 0, 30, 10), (0, 0, 5, 10)
    assert mean_overlap([left], []) is None
    assert mean_overlap([], [left]) == 0
    assert mean_overlap([right, left], [left, right]) == 1
    assert mean_overlap([half, right, (50, 50, 60, 60)], [left, right]) == pytest.approx(0.75)
    # A box matches one other box only: the best one.
    assert mean_overlap([left], [left, half]) == pytest.approx(0.5)
