from __future__ import annotations

import numpy as np
import pytest
import torch

from playground.engine import Engine
from playground.merge.views import (
    corner_indices,
    mean_feature_norms,
    position_jumps,
    positions_thw,
    sequence_parts,
    spread_indices,
    tap_row,
    visual_mask,
)
from playground.pipeline import Run
from playground.prompt import Prompt, PromptImage, PromptVideo, Turn
from tests.components.runs import make_run
from tests.playground.merged_samples import make_merged


def test_positions_lose_their_batch_axis() -> None:
    merged = make_merged(torch.zeros(1, 2, 4), torch.zeros(1, 2, 4))
    np.testing.assert_array_equal(positions_thw(merged), [[0, 1], [2, 3], [4, 5]])


def test_jumps_of_two_images(
    tiny_random_engine: object, image: PromptImage, wide_image: PromptImage
) -> None:
    prompt = Prompt((Turn("user", "Which?", images=(image, wide_image)),))
    run = Run(tiny_random_engine, prompt)  # type: ignore[arg-type]
    first, second = position_jumps(run.inputs, run.merged)
    # Up to an image of H x W tokens that begins at position p: p + max(H, W) - 1.
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
    # 20 text tokens, an image of 3 x 5 tokens, 20 text tokens.
    text, down, across = np.arange(20), np.repeat(np.arange(3), 5), np.tile(np.arange(5), 3)
    after = 25 + np.arange(20)
    positions = np.stack(
        [
            np.concatenate([text, image + 20, after])
            for image in (np.zeros(15, np.int64), down, across)
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


def test_parts_of_an_image_between_texts(tiny_random_engine: Engine, image: PromptImage) -> None:
    run = make_run(tiny_random_engine, "What?", image)
    before, image, after = sequence_parts(run.inputs, run.merged)
    (span,) = run.inputs.spans
    assert (span.merged_h, span.merged_w) == (4, 5)
    assert (image.start, image.end, image.span) == (span.start, span.end, span)
    start = span.start  # text before it counts 0, 1, ...
    assert before.ranges == ((0, start - 1),) * 3
    assert image.ranges == ((start, start), (start, start + 3), (start, start + 4))
    assert (image.num_tokens, image.advance) == (20, 5)
    assert after.ranges == ((start + 5, start + 5 + after.num_tokens - 1),) * 3


def test_parts_add_up_to_rope_deltas(
    engine: Engine, image: PromptImage, wide_image: PromptImage, video: PromptVideo
) -> None:
    run = make_run(engine, "Both?", image, wide_image, video=video)
    parts = sequence_parts(run.inputs, run.merged)
    assert [part.start for part in parts[1:]] == [part.end for part in parts[:-1]]
    assert parts[-1].end == run.inputs.num_tokens
    assert [part.span for part in parts if part.span] == list(run.inputs.spans)
    with torch.no_grad():
        _, deltas = run.engine.model.model.get_rope_index(
            run.inputs.input_ids,
            run.inputs.mm_token_type_ids,
            image_grid_thw=run.inputs.image_grid_thw,
            video_grid_thw=run.inputs.video_grid_thw,
        )
    assert sum(part.advance - part.num_tokens for part in parts) == int(deltas)


def test_text_is_one_part(tiny_random_engine: Engine) -> None:
    run = make_run(tiny_random_engine, "Hello")
    (part,) = sequence_parts(run.inputs, run.merged)
    assert part.span is None
    assert part.advance == part.num_tokens == run.inputs.num_tokens


def test_tap_rows_are_those_that_the_model_adds(
    engine: Engine, image: PromptImage, video: PromptVideo
) -> None:
    """One step of the model's own ``_deepstack_process`` on nothing, with rows told apart."""
    run = make_run(engine, "Both?", image, video=video)
    merged = run.merged
    assert merged.visual_pos_masks is not None
    visual = int(merged.visual_pos_masks.sum())
    numbered = torch.arange(1.0, visual + 1)[:, None]
    decoder = run.engine.model.model.language_model
    added = decoder._deepstack_process(
        torch.zeros(1, run.inputs.num_tokens, 1), merged.visual_pos_masks, numbered
    )[0, :, 0]
    for index, value in enumerate(added.tolist()):
        assert tap_row(merged, index) == (None if value == 0 else value - 1)
    np.testing.assert_array_equal(visual_mask(merged), added.numpy() > 0)


def test_feature_norms_are_those_of_the_tower(engine: Engine, image: PromptImage) -> None:
    run = make_run(engine, "What?", image)
    with torch.no_grad():
        output = run.engine.model.model.get_image_features(
            run.inputs.pixel_values, run.inputs.image_grid_thw, return_dict=True
        )
    features = (output.pooler_output, *output.deepstack_features)
    expected = [torch.cat(of_images).norm(dim=-1).mean().item() for of_images in features]
    np.testing.assert_allclose(mean_feature_norms(run.merged), expected, rtol=1e-5)


def test_without_an_image_nothing_is_visual(tiny_random_engine: Engine) -> None:
    run = make_run(tiny_random_engine, "Hello")
    assert not visual_mask(run.merged).any()
    assert len(mean_feature_norms(run.merged)) == 0
    assert tap_row(run.merged, 0) is None
