from __future__ import annotations

import numpy as np
import pytest
import torch

from playground.merge_views import (
    corner_indices,
    embed_norms,
    position_jumps,
    positions_thw,
    spread_indices,
)
from playground.pipeline import Run
from playground.records import MergedInputs, Picture, Prompt, Turn


def _merged(before: torch.Tensor, after: torch.Tensor) -> MergedInputs:
    seq = before.shape[1]
    return MergedInputs(
        token_embeds=before,
        inputs_embeds=after,
        visual_pos_masks=None,
        deepstack_visual_embeds=None,
        position_ids=torch.arange(3 * seq).reshape(3, 1, seq),
        rope_deltas=torch.zeros(1, 1, dtype=torch.int64),
    )


def test_norms_by_hand() -> None:
    before = torch.tensor([[[3.0, 4.0], [0.0, 1.0]]])
    after = torch.tensor([[[3.0, 4.0], [6.0, 8.0]]])
    np.testing.assert_array_equal(embed_norms(_merged(before, after)), [[5, 1], [5, 10]])


def test_norms_of_half_precision_are_taken_in_float32() -> None:
    values = torch.full((1, 1, 4096), 300.0, dtype=torch.float16)  # the sum of squares overflows
    np.testing.assert_allclose(embed_norms(_merged(values, values)), 300 * 64)


def test_positions_lose_their_batch_axis() -> None:
    merged = _merged(torch.zeros(1, 2, 4), torch.zeros(1, 2, 4))
    np.testing.assert_array_equal(positions_thw(merged), [[0, 1], [2, 3], [4, 5]])


def test_jumps_of_two_pictures(
    tiny_random_engine: object, picture: Picture, wide_picture: Picture
) -> None:
    prompt = Prompt((Turn("user", "Which?", pictures=(picture, wide_picture)),))
    run = Run(tiny_random_engine, prompt)  # type: ignore[arg-type]
    first, second = position_jumps(run.inputs, run.merged)
    # Up to a picture of H x W tokens that begins at position p: p + max(H, W) - 1.
    start = int(run.merged.position_ids[0, 0, first.span.start])
    assert first.largest == start + max(first.span.merged_h, first.span.merged_w) - 1
    for jump in (first, second):
        assert jump.next_position == jump.largest + 1
    assert second.span.media_index == 1


@pytest.mark.parametrize(("num_tokens", "limit"), [(5, 10), (10, 10), (11, 10), (5_000, 64)])
def test_spread_indices_keep_both_ends(num_tokens: int, limit: int) -> None:
    kept = spread_indices(num_tokens, limit)
    assert kept[0] == 0
    assert kept[-1] == num_tokens - 1
    assert len(kept) == min(num_tokens, limit)
    assert (np.diff(kept) > 0).all()


def test_corners_lose_nothing_of_the_lines() -> None:
    # 20 text tokens, a picture of 3 x 5 tokens, 20 text tokens.
    text, down, across = np.arange(20), np.repeat(np.arange(3), 5), np.tile(np.arange(5), 3)
    after = 25 + np.arange(20)
    positions = np.stack(
        [
            np.concatenate([text, picture + 20, after])
            for picture in (np.zeros(15, np.int64), down, across)
        ]
    )
    kept = corner_indices(positions, limit=40)
    assert len(kept) < 20
    everywhere = np.arange(positions.shape[1])
    for row in positions:
        np.testing.assert_array_equal(np.interp(everywhere, kept, row[kept]), row)


def test_short_sequences_keep_every_index() -> None:
    positions = np.tile(np.arange(9), (3, 1))
    np.testing.assert_array_equal(corner_indices(positions, limit=9), np.arange(9))
