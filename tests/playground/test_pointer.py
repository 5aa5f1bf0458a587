"""Pixel ↔ patch row ↔ token, by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from playground.answer.stage import run_with_answer
from playground.decoder.attention import layer_queries_keys
from playground.engine import Engine
from playground.errors import InputError
from playground.pipeline import Run
from playground.pointer import (
    Selection,
    answer_number,
    locate_answer_token,
    locate_patch,
    locate_token,
    patch_rows,
    patch_tokens,
)
from playground.preprocess.stage import unpatchify
from playground.records import VisualSpan
from tests.playground.prompt_samples import PROMPTS

# 4 patches down, 6 across: 2 x 3 tokens that start at sequence index 10; the pixel rows of this
# image start at 100.
SPAN = VisualSpan(
    "image", 1, 0, start=10, end=16, grid_h=4, grid_w=6, patch_start=100, merge_size=2
)


def test_rows_run_block_by_block() -> None:
    expected = [
        [0, 1, 4, 5, 8, 9],
        [2, 3, 6, 7, 10, 11],
        [12, 13, 16, 17, 20, 21],
        [14, 15, 18, 19, 22, 23],
    ]
    rows = patch_rows(SPAN)
    assert (rows - 100).tolist() == expected
    assert rows.dtype == np.int64


def test_four_patches_share_a_token() -> None:
    expected = [
        [10, 10, 11, 11, 12, 12],
        [10, 10, 11, 11, 12, 12],
        [13, 13, 14, 14, 15, 15],
        [13, 13, 14, 14, 15, 15],
    ]
    assert patch_tokens(SPAN).tolist() == expected


def test_rows_and_tokens_agree() -> None:
    """The merger turns rows 4 k to 4 k + 3 into token k."""
    rows, tokens = patch_rows(SPAN) - 100, patch_tokens(SPAN) - 10
    np.testing.assert_array_equal(rows // 4, tokens)
    assert sorted(rows.ravel().tolist()) == list(range(24))


def test_sizes_of_a_span() -> None:
    assert (SPAN.merged_h, SPAN.merged_w, SPAN.num_patches) == (2, 3, 24)


@pytest.fixture(scope="module")
def runs(tiny_random_engine: Engine) -> dict[str, Run]:
    """One run of each kind of prompt, preprocessed when it is looked at."""
    return {name: Run(tiny_random_engine, prompt) for name, prompt in PROMPTS.items()}


def test_a_token_of_an_image_that_is_not_square(runs: dict[str, Run]) -> None:
    """64 × 160 pixels become 96 × 224: 14 rows of 6 patches, 7 rows of 3 tokens from index 4."""
    run = runs["image_alone"]
    (span,) = run.inputs.spans
    assert (span.start, span.grid_h, span.grid_w) == (4, 14, 6)
    # Row 2, column 1 of the tokens; positions count from 4, where the image starts.
    assert locate_token(run.inputs, run.positions, 4 + 2 * 3 + 1) == Selection(
        index=11,
        thw=(4, 6, 5),
        span=0,
        rows=(4, 5),
        columns=(2, 3),
        x=(32, 63),
        y=(64, 95),
        pixel_rows=(28, 29, 30, 31),
    )
    # The block's lower left patch is its third row of pixel_values.
    selection = locate_patch(run.inputs, run.positions, 0, 5, 2)
    assert (selection.index, selection.patch, selection.pixel_rows) == (
        11,
        (5, 2),
        (28, 29, 30, 31),
    )
    assert patch_rows(span)[5, 2] == 30


def test_the_second_of_two_images_goes_on_counting(runs: dict[str, Run]) -> None:
    run = runs["two_images"]
    first, second = run.inputs.spans
    selection = locate_patch(run.inputs, run.positions, 1, 0, 0)
    assert selection.index == second.start
    assert selection.pixel_rows == tuple(range(first.num_patches, first.num_patches + 4))
    # From the first image's start its largest side is counted, then <|vision_end|> and
    # <|vision_start|>.
    start = first.start + max(first.merged_h, first.merged_w) + 2
    assert selection.thw == (start, start, start)


def test_frames_of_a_video_are_images_of_their_own(runs: dict[str, Run]) -> None:
    run = runs["video"]
    second = run.inputs.spans[1]
    assert second.kind == "video"
    assert second.frame == 1
    last = locate_patch(run.inputs, run.positions, 1, second.grid_h - 1, second.grid_w - 1)
    assert last.index == second.end - 1
    t, h, w = last.thw
    assert (h - t, w - t) == (second.merged_h - 1, second.merged_w - 1)
    assert last.pixel_rows is not None
    assert last.pixel_rows[-1] == 2 * second.num_patches - 1


@pytest.mark.parametrize("name", PROMPTS)
def test_every_token_and_patch_agrees_with_the_tensors(name: str, runs: dict[str, Run]) -> None:
    """Positions are the model's; a patch's pixels are what its row of pixel_values holds."""
    run = runs[name]
    inputs = run.inputs
    visual = 0
    for token in inputs.tokens:
        selection = locate_token(inputs, run.positions, token.index)
        assert selection.thw == tuple(run.positions[:, token.index])
        assert (selection.span is not None) == (token.kind in ("image", "video"))
        visual += selection.span is not None
    assert visual == sum(facts.num_tokens for facts in inputs.media)
    for number, span in enumerate(inputs.spans):
        values = inputs.pixel_values if span.kind == "image" else inputs.pixel_values_videos
        assert values is not None
        pixels = unpatchify(inputs, span)
        rows, tokens = patch_rows(span), patch_tokens(span)
        for row, column in ((0, 0), (span.grid_h - 1, 0), (1, span.grid_w - 1)):
            selection = locate_patch(inputs, run.positions, number, row, column)
            assert selection.index == tokens[row, column]
            assert selection.pixel_rows is not None
            assert rows[row, column] in selection.pixel_rows
            assert selection.x is not None
            assert selection.y is not None
            assert selection.rows is not None
            box = pixels[
                :, selection.y[0] : selection.y[1] + 1, selection.x[0] : selection.x[1] + 1
            ]
            size = inputs.patch_size
            top, left = (row - selection.rows[0]) * size, (column % 2) * size
            patch = box[:, top : top + size, left : left + size]
            mean, std = np.array(inputs.image_scale.mean), np.array(inputs.image_scale.std)
            row_values = values[rows[row, column]].reshape(3, -1, size, size).numpy()
            shown = np.rint((row_values.transpose(1, 2, 3, 0) * std + mean) * 255)
            np.testing.assert_array_equal(patch, shown)


def test_a_selection_is_kept_only_where_it_means_the_same(runs: dict[str, Run]) -> None:
    here, there = runs["image_alone"], runs["two_images"]
    selection = locate_patch(here.inputs, here.positions, 0, 5, 2)
    assert here.still_there(selection) == selection
    assert there.still_there(selection) is None
    assert runs["text"].still_there(selection) is None
    assert here.still_there(None) is None


def test_places_outside_are_explained(runs: dict[str, Run]) -> None:
    run = runs["image_alone"]
    with pytest.raises(InputError, match=r"no token 999.*has 3\d tokens"):
        locate_token(run.inputs, run.positions, 999)
    with pytest.raises(InputError, match=r"no image 2.*has 1"):
        locate_patch(run.inputs, run.positions, 1, 0, 0)
    with pytest.raises(InputError, match=r"row 14, column 0.*14 rows and 6 columns"):
        locate_patch(run.inputs, run.positions, 0, 14, 0)


def test_an_answer_token_has_a_place_in_the_sequence_and_in_the_cache(
    tiny_random_engine: Engine,
) -> None:
    run = Run(tiny_random_engine, PROMPTS["image"])
    answered = run_with_answer(run, [5, 6, 7])
    length, position = run.inputs.num_tokens, int(run.positions.max()) + 1
    for number in range(3):
        found = locate_answer_token(answered.inputs, answered.positions, number)
        there = position + number
        assert found == Selection(length + number, (there, there, there))
        assert answer_number(answered.inputs, found.index) == number
        # A KV slot for each: the token's own key in every layer.
        keys = layer_queries_keys(answered.engine, answered.decoded, 1).key
        cached = answered.decoded.cache.layers[1].keys
        assert cached is not None
        torch.testing.assert_close(cached[0, :, found.index], keys[:, found.index])
        assert answered.still_there(found) is found
        assert run.still_there(found) is None
    assert answer_number(answered.inputs, length - 1) is None
    assert answer_number(answered.inputs, length + 3) is None
    assert answer_number(run.inputs, length) is None
    of_image = locate_token(answered.inputs, answered.positions, run.inputs.spans[0].start)
    assert run.still_there(of_image) is of_image
    for number in (-1, 3):
        with pytest.raises(InputError, match="The answer has 3 tokens"):
            locate_answer_token(answered.inputs, answered.positions, number)
