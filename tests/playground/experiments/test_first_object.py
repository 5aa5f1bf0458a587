"""The first object of an image, found from its pixels."""

from __future__ import annotations

import numpy as np
import pytest

from playground.engine import Engine
from playground.experiments.first_object import connected_regions, find_first_object
from playground.pipeline import Run
from playground.prompt import Prompt, PromptImage, Turn


def run_of(engine: Engine, pixels: np.ndarray) -> Run:
    image = PromptImage(pixels)
    return Run(engine, Prompt((Turn("user", "What?", images=(image,)),)))


def test_the_tokens_of_the_first_square(tiny_random_engine: Engine) -> None:
    """Tokens are 32 by 32 pixels; the square reaches into four of them, the second one does not
    touch it."""
    pixels = np.full((128, 128, 3), 240, np.uint8)
    pixels[40:80, 8:48] = (200, 20, 20)
    pixels[44:90, 56:100] = (20, 20, 200)
    run = run_of(tiny_random_engine, pixels)
    span = run.inputs.spans[0]
    assert (span.merged_h, span.merged_w) == (4, 4)
    rows_columns = [divmod(index - span.start, 4) for index in find_first_object(run.inputs, span)]
    assert rows_columns == [(1, 0), (1, 1), (2, 0), (2, 1)]


@pytest.mark.parametrize("kind", ["plain", "noise", "speck"])
def test_no_object_without_a_plain_ground(tiny_random_engine: Engine, kind: str) -> None:
    pixels = np.full((128, 128, 3), 240, np.uint8)
    if kind == "noise":
        pixels = np.random.default_rng(0).integers(0, 255, pixels.shape).astype(np.uint8)
    elif kind == "speck":
        pixels[64:72, 64:72] = 0
    run = run_of(tiny_random_engine, pixels)
    assert find_first_object(run.inputs, run.inputs.spans[0]) == ()


def test_regions_touch_at_sides() -> None:
    cells = np.array([[0, 1, 1], [1, 0, 0], [1, 0, 1]], bool)
    regions = [sorted(map(tuple, region.tolist())) for region in connected_regions(cells)]
    assert regions == [[(0, 1), (0, 2)], [(1, 0), (2, 0)], [(2, 2)]]
