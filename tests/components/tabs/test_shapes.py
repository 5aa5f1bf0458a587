"""Configurations that transformers runs: every part draws, and the numbers are transformers' own.

The long form, ``python -m reliability.shapes``, also runs the experiments.
"""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.strategies import sampled_from

from reliability.shape_checkpoints import Shape
from reliability.shapes import PROMPTS, check_shape, shapes

# As they are published, one thing changed each; one prompt is enough to see it.
PUBLISHED: dict[str, Shape] = {
    # The tiny random models of other libraries: transformers' default taps on two blocks.
    "taps beyond the tower": Shape(taps=None, blocks=2, vision_heads=4, vision_head_dim=4),
    "three taps, two layers": Shape(layers=2, taps=(0, 1, 2), blocks=4),
    "no tap": Shape(taps=()),
    "one tap twice, unsorted": Shape(layers=3, taps=(2, 0, 2), blocks=3),
    "one of everything": Shape(
        layers=1, heads=1, kv_heads=1, blocks=1, vision_heads=1, taps=(0,), num_positions=1
    ),
    "no mrope_section, no head_dim": Shape(head_dim=None, section=None),
    "rope_scaling null": Shape(rope_key="none"),
    "a small section on a large head": Shape(head_dim=128, section=(8, 4, 4)),
    "no square of positions": Shape(num_positions=250, patch=14, merge=3, temporal=1),
    "one patch a token": Shape(merge=1, patch=8),
    "five taps": Shape(layers=6, blocks=5, taps=(0, 1, 2, 3, 4)),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_configuration_is_drawn(name: str) -> None:
    assert check_shape(PUBLISHED[name], ["image"], experiments="none") == []


@pytest.mark.parametrize("temporal", [1, 3])
def test_a_video_in_patches_of_another_length_is_drawn(temporal: int) -> None:
    assert check_shape(Shape(temporal=temporal), ["video"], experiments="none") == []


@settings(
    max_examples=5,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(shapes(), sampled_from(PROMPTS))
def test_any_configuration_is_drawn(shape: Shape, prompt: str) -> None:
    assert check_shape(shape, [prompt], experiments="none") == []
