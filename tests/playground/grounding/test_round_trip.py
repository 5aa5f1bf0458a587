"""From pixels to thousandths and back, on 200 sizes, against formulas written out by hand."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize

from playground.engine import Engine
from playground.grounding.convert import Frame, Misreading, misread, overlap, to_pixels
from playground.grounding.locate import locate_answer
from playground.preprocess.views import pixel_budget
from playground.prompt import PromptImage
from tests.components.runs import make_run

FACTOR = 32  # patches of 16 pixels, merged 2 × 2
LEAST, MOST = 65_536, 16_777_216  # Qwen3-VL's own
NUM_SIZES = 200
LONGEST = 6_000


def resize_by_hand(size: tuple[int, int], factor: int) -> tuple[int, int]:
    """The size that an image is resized to: multiples of the factor, about as many pixels."""
    width, height = size
    columns, rows = (round(side / factor) * factor for side in (width, height))
    if columns * rows > MOST:
        scale = math.sqrt(width * height / MOST)
        columns, rows = (
            max(factor, math.floor(side / scale / factor) * factor) for side in (width, height)
        )
    elif columns * rows < LEAST:
        scale = math.sqrt(LEAST / (width * height))
        columns, rows = (math.ceil(side * scale / factor) * factor for side in (width, height))
    return columns, rows


def sizes() -> list[tuple[int, int]]:
    """200 sizes from tiny to huge, of every shape that a processor takes."""
    rng = random.Random(19)
    found: list[tuple[int, int]] = []
    while len(found) < NUM_SIZES:
        size = tuple(round(math.exp(rng.uniform(math.log(40), math.log(LONGEST)))) for _ in "xy")
        if max(size) / min(size) < 100:
            found.append((size[0], size[1]))
    return found


def box_in(size: tuple[int, int], rng: random.Random) -> tuple[float, float, float, float]:
    """A box of at least a hundredth of each side, in pixels."""
    ends = []
    for side in size:
        low = rng.uniform(0, 0.9)
        ends.append((low * side, rng.uniform(low + 0.01, 1) * side))
    (x1, x2), (y1, y2) = ends
    return x1, y1, x2, y2


def test_the_reference_resizes_as_transformers_does() -> None:
    for width, height in sizes():
        for factor in (FACTOR, 28):
            rows, columns = smart_resize(height, width, factor, LEAST, MOST)
            assert resize_by_hand((width, height), factor) == (columns, rows)


def test_a_box_finds_its_way_through_the_resized_image_and_back() -> None:
    """Off by at most half a thousandth of the side, whatever the image was resized to."""
    rng = random.Random(20)
    for size in sizes():
        resized, there = resize_by_hand(size, FACTOR), box_in(size, rng)
        seen = [value * resized[n % 2] / size[n % 2] for n, value in enumerate(there)]
        written = [round(1000 * value / resized[n % 2]) for n, value in enumerate(seen)]
        for n, back in enumerate(to_pixels(written, size)):
            assert abs(back - there[n]) <= size[n % 2] / 2_000 + 1e-6, size
        for n, back in enumerate(to_pixels(written, resized)):
            assert abs(back - seen[n]) <= resized[n % 2] / 2_000 + 1e-6, size
        x1, y1, x2, y2 = to_pixels(written, size)
        assert overlap(there, (x1, y1, x2, y2)) > 0.8, size  # half a thousandth of ten, per edge


def test_wrong_readings_are_the_formulas_of_the_software_that_makes_them() -> None:
    """Of one point, (250, 600) in thousandths."""
    for size in sizes():
        width, height = size
        seen, old = resize_by_hand(size, FACTOR), resize_by_hand(size, 28)
        side, shrunk = max(size), 1000 / max(1000, *size)
        expected: dict[Misreading, tuple[float, float]] = {
            "resized pixels": (250 / seen[0] * width, 600 / seen[1] * height),
            "28-pixel grid": (250 / old[0] * width, 600 / old[1] * height),
            "square padding": (0.25 * side - (side - width) / 2, 0.6 * side - (side - height) / 2),
            "swapped": (0.25 * height, 0.6 * width),
            "shrunk": (250 / shrunk, 600 / shrunk),
        }
        for how, pixels in expected.items():
            found = misread((250, 600), Frame(size, seen, LEAST, MOST), how)
            assert found == pytest.approx(pixels), (size, how)


@pytest.mark.parametrize("size", [size for size in sizes() if max(size) < 900][:12], ids=str)
def test_the_processor_resizes_as_the_reference_does(
    shipped_engine: Engine, size: tuple[int, int]
) -> None:
    run = make_run(shipped_engine, "Where?", PromptImage(np.zeros((size[1], size[0], 3), np.uint8)))
    frame = locate_answer(run).frame
    budget = pixel_budget(shipped_engine, "image", None)
    assert frame.original == size
    assert (frame.min_pixels, frame.max_pixels) == (budget.min_pixels, budget.max_pixels)
    if frame.min_pixels <= size[0] * size[1] <= frame.max_pixels:
        assert frame.resized == tuple(round(side / FACTOR) * FACTOR for side in size)
