from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from transformers.models.qwen3_vl.modeling_qwen3_vl import apply_rotary_pos_emb_vision

from playground.engine import Engine
from playground.pipeline import Run
from playground.pointer import patch_rows
from playground.vision.rope import (
    distance_kernel,
    head_kernel,
    head_vectors,
    ones_kernel,
    patch_scores,
    rope_angles,
)


@torch.no_grad()
def _captured(run: Run, block: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The model's own cos and sin, and the input of one block's qkv, from a plain pass."""
    visual: Any = run.engine.model.model.visual
    seen: dict[str, Any] = {}
    hooks = [
        visual.rotary_pos_emb.register_forward_hook(lambda _m, _a, out: seen.update(rope=out)),
        visual.blocks[block].attn.register_forward_pre_hook(
            lambda _m, args: seen.update(states=args[0])
        ),
    ]
    try:
        visual(run.inputs.pixel_values, grid_thw=run.inputs.image_grid_thw)
    finally:
        for hook in hooks:
            hook.remove()
    return (*seen["rope"], seen["states"])


def test_angles_are_those_of_the_model(run: Run) -> None:
    cos, sin, _ = _captured(run, 0)
    for span in run.inputs.spans:
        angles = rope_angles(run.engine, span)
        pairs = len(angles.inv_freq)
        rows = patch_rows(span)
        # Pair i is dimensions i and i + head_dim / 2; the row's pairs come first.
        for half in (0, 2 * pairs):
            by_row, by_column = slice(half, half + pairs), slice(half + pairs, half + 2 * pairs)
            for table, function in ((cos, np.cos), (sin, np.sin)):
                of_model = table.numpy()[rows]
                expected = np.broadcast_to(
                    function(angles.by_row.T)[:, None], of_model[..., by_row].shape
                )
                np.testing.assert_allclose(of_model[..., by_row], expected, atol=1e-6)
                expected = np.broadcast_to(
                    function(angles.by_column.T)[None], of_model[..., by_column].shape
                )
                np.testing.assert_allclose(of_model[..., by_column], expected, atol=1e-6)


def test_wavelengths_by_hand(tiny_random_engine: Engine, run: Run) -> None:
    # head_dim 16: four frequencies, 10,000 ** -(0, 1/4, 1/2, 3/4).
    angles = rope_angles(tiny_random_engine, run.inputs.spans[0])
    np.testing.assert_allclose(angles.inv_freq, [1, 0.1, 0.01, 0.001], rtol=1e-6)
    np.testing.assert_allclose(
        angles.wavelengths, 2 * math.pi * np.array([1, 10, 100, 1000]), rtol=1e-6
    )
    assert angles.by_row[1, 3] == pytest.approx(0.3)


@pytest.mark.parametrize("number", [0, 1])
@torch.no_grad()
def test_scores_are_those_of_the_model(run: Run, number: int) -> None:
    block, head, patch = 2, 1, (1, 3)
    span, tower = run.inputs.spans[number], run.vision.image
    assert tower is not None
    vectors = head_vectors(run.engine, tower, span, block=block, head=head, patch=patch)
    scores = patch_scores(run.engine, span, vectors, patch)

    cos, sin, states = _captured(run, block)
    attn = run.engine.model.model.visual.blocks[block].attn
    q, k, _ = attn.qkv(states).reshape(len(states), 3, attn.num_heads, -1).unbind(1)
    rows = patch_rows(span)
    plain = (k[:, head] @ q[rows[patch], head]) * attn.scaling
    q, k = apply_rotary_pos_emb_vision(q, k, cos, sin)
    rotated = (k[:, head] @ q[rows[patch], head]) * attn.scaling
    np.testing.assert_allclose(scores.rotated, rotated.numpy()[rows], atol=1e-5)
    np.testing.assert_allclose(scores.plain, plain.numpy()[rows], atol=1e-5)
    assert np.abs(scores.rotated - scores.plain).max() > 1e-3
    # At distance 0 nothing rotates.
    assert scores.rotated[patch] == pytest.approx(scores.plain[patch], abs=1e-5)


def test_the_kernel_is_the_score_of_rotated_vectors(run: Run) -> None:
    span = run.inputs.spans[0]
    pairs = len(rope_angles(run.engine, span).inv_freq)
    generator = torch.Generator().manual_seed(0)
    query, key = torch.randn(2, 4 * pairs, generator=generator)
    kernel = distance_kernel(run.engine, span, query, key)
    assert kernel.shape == (2 * span.grid_h - 1, 2 * span.grid_w - 1)
    cos, sin, _ = _captured(run, 0)
    rows = patch_rows(span)
    for here, there in (((0, 0), (2, 1)), ((3, 2), (1, 5)), ((4, 4), (4, 4))):
        turned, _ = apply_rotary_pos_emb_vision(
            query[None, None], query[None, None], cos[rows[here]][None], sin[rows[here]][None]
        )
        other, _ = apply_rotary_pos_emb_vision(
            key[None, None], key[None, None], cos[rows[there]][None], sin[rows[there]][None]
        )
        position = (
            there[0] - here[0] + span.grid_h - 1,
            there[1] - here[1] + span.grid_w - 1,
        )
        assert kernel[position] == pytest.approx(float((turned * other).sum()), abs=1e-4)


def test_ones_fall_off_alike_on_all_sides(run: Run) -> None:
    span = run.inputs.spans[1]
    kernel = ones_kernel(run.engine, span)
    middle = (span.grid_h - 1, span.grid_w - 1)
    assert kernel[middle] == pytest.approx(1.0)
    assert kernel.max() == pytest.approx(1.0)
    np.testing.assert_allclose(kernel, kernel[::-1, ::-1], atol=1e-6)
    inv_freq = rope_angles(run.engine, span).inv_freq
    # A step to the side does not affect half of the pairs.
    expected = 0.5 + 0.5 * np.cos(inv_freq).mean()
    assert kernel[middle[0], middle[1] + 1] == pytest.approx(expected, abs=1e-6)


def test_a_heads_kernel_averages_over_the_keys(run: Run) -> None:
    span, tower = run.inputs.spans[0], run.vision.image
    assert tower is not None
    vectors = head_vectors(run.engine, tower, span, block=1, head=0, patch=(2, 2))
    kernel = head_kernel(run.engine, span, vectors)
    each = [
        distance_kernel(run.engine, span, vectors.query, key) * vectors.scaling
        for key in vectors.keys.flatten(0, 1)
    ]
    np.testing.assert_allclose(kernel, np.mean(each, 0), atol=1e-4)
