from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from transformers import Qwen3VLTextConfig
from transformers.models.qwen3_vl.modeling_qwen3_vl import Qwen3VLTextRotaryEmbedding

from playground.engine import Engine
from playground.merge.mrope import (
    MropeFrequencies,
    flat_positions,
    frequency_axes,
    position_distances,
    read_frequencies,
    rotary_angles,
    rotation_similarity,
)

# Three frequencies, one for each axis: a quarter, an eighth and a sixteenth of a turn.
BY_HAND = MropeFrequencies(
    np.array([math.pi / 2, math.pi / 4, math.pi / 8], np.float32), np.array([0, 1, 2])
)


def test_axes_take_turns_until_h_and_w_are_used_up() -> None:
    assert frequency_axes((4, 2, 2), 8).tolist() == [0, 1, 2, 0, 1, 2, 0, 0]


def test_axes_of_the_full_size_model() -> None:
    axes = frequency_axes((24, 20, 20), 64)
    assert np.bincount(axes).tolist() == [24, 20, 20]
    assert axes[:60].tolist() == [0, 1, 2] * 20
    assert not axes[60:].any(), "the four slowest frequencies are t's"


@pytest.mark.parametrize(
    ("section", "head_dim"),
    [((24, 20, 20), 16), ((4, 2, 2), 128), ((1, 0, 0), 2), ((8, 12, 12), 64), ((0, 0, 9), 32)],
    ids=["a large section", "a large head", "one frequency", "all", "width alone"],
)
def test_axes_are_those_of_transformers_for_any_section(
    section: tuple[int, int, int], head_dim: int
) -> None:
    config = Qwen3VLTextConfig(
        head_dim=head_dim,
        rope_parameters={
            "rope_type": "default",
            "rope_theta": 1e4,
            "mrope_section": list(section),
        },
    )
    rotary: Any = Qwen3VLTextRotaryEmbedding(config)
    count = head_dim // 2
    # Each axis alone gets the angle 1: what it moves is its own.
    chosen = [
        rotary.recomposition_frequencies(
            torch.eye(3)[axis][:, None, None, None].repeat(1, 1, 1, count)
        )[0, 0, :count]
        for axis in range(3)
    ]
    expected = torch.stack(chosen).argmax(0)
    np.testing.assert_array_equal(frequency_axes(section, count), expected.numpy())


def test_wavelengths_by_hand() -> None:
    np.testing.assert_allclose(BY_HAND.wavelengths, [4, 8, 16], rtol=1e-6)


def test_angles_by_hand() -> None:
    positions = np.array([[0, 3], [0, 2], [0, 1]])
    expected = [[0, 0, 0], [1.5 * math.pi, math.pi / 2, math.pi / 8]]
    np.testing.assert_allclose(rotary_angles(BY_HAND, positions), expected, rtol=1e-6)


@torch.no_grad()
def test_angles_are_those_of_the_models_own_rotary_embedding(engine: Engine) -> None:
    generator = torch.Generator().manual_seed(3)
    position_ids = torch.randint(0, 400, (3, 1, 50), generator=generator)
    model: Any = engine.model
    rotary = model.model.language_model.rotary_emb
    cos, sin = rotary(torch.zeros(1, dtype=torch.float32), position_ids)
    angles = rotary_angles(read_frequencies(engine), position_ids[:, 0].numpy())
    twice = np.concatenate([angles, angles], axis=-1)  # both numbers of a pair turn together
    np.testing.assert_allclose(np.cos(twice), cos[0].numpy(), atol=1e-5)
    np.testing.assert_allclose(np.sin(twice), sin[0].numpy(), atol=1e-5)


@torch.no_grad()
def test_each_frequency_answers_to_its_axis_alone(engine: Engine) -> None:
    model: Any = engine.model
    rotary = model.model.language_model.rotary_emb
    frequencies = read_frequencies(engine)
    for axis in range(3):
        position_ids = torch.zeros(3, 1, 1, dtype=torch.int64)
        position_ids[axis] = 1
        _, sin = rotary(torch.zeros(1), position_ids)
        turned = sin[0, 0, : len(frequencies.axes)].numpy() != 0
        np.testing.assert_array_equal(turned, frequencies.axes == axis)


def test_flat_positions_are_the_index_three_times() -> None:
    np.testing.assert_array_equal(flat_positions(3), [[0, 1, 2]] * 3)


def test_a_neighbour_below_is_a_row_away_in_1d_and_one_step_under_mrope() -> None:
    # An image of 2 x 3 tokens at position 5, alone in the sequence.
    mrope = np.array([[5] * 6, [5, 5, 5, 6, 6, 6], [5, 6, 7, 5, 6, 7]])
    assert position_distances(flat_positions(6), 1).tolist() == [1, 0, 1, 2, 3, 4]
    assert position_distances(mrope, 1).tolist() == [1, 0, 1, 1, 1, 1]
    assert position_distances(mrope, 0).tolist() == [0, 1, 2, 1, 1, 2]


def test_likeness_by_hand() -> None:
    positions = np.array([[0, 2, 0], [0, 0, 4], [0, 0, 0]])
    likeness = rotation_similarity(BY_HAND, positions, 0)
    # Half a turn of one of three frequencies: (−1 + 1 + 1) / 3.
    np.testing.assert_allclose(likeness, [1, 1 / 3, 1 / 3], atol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("index", [0, 7])
def test_likeness_is_the_score_of_equal_queries_and_keys(engine: Engine, index: int) -> None:
    from transformers.models.qwen3_vl.modeling_qwen3_vl import apply_rotary_pos_emb

    model: Any = engine.model
    frequencies = read_frequencies(engine)
    generator = torch.Generator().manual_seed(5)
    position_ids = torch.randint(0, 60, (3, 1, 12), generator=generator)
    rotary = model.model.language_model.rotary_emb
    cos, sin = rotary(torch.zeros(1, dtype=torch.float32), position_ids)
    ones = torch.ones(1, 1, 12, 2 * len(frequencies.axes))
    query, key = apply_rotary_pos_emb(ones, ones, cos, sin)
    scores = (query[0, 0] @ key[0, 0].T / ones.shape[-1])[index]
    likeness = rotation_similarity(frequencies, position_ids[:, 0].numpy(), index)
    np.testing.assert_allclose(likeness, scores.numpy(), atol=1e-5)
