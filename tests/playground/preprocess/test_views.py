"""The image processor's arithmetic and order, against transformers and by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize
from transformers.models.qwen3_vl.video_processing_qwen3_vl import (
    smart_resize as smart_resize_video,
)

from playground.engine import Engine
from playground.errors import InputError
from playground.pointer import patch_rows
from playground.preprocess.stage import run_preprocess, unpatchify
from playground.preprocess.views import (
    HISTOGRAM_BINS,
    PixelBudget,
    explain_resize,
    frames_differ,
    pixel_budget,
    pixel_histograms,
    read_patch,
    resize_steps,
    row_colors,
    row_positions,
    span_facts,
    span_pixels,
    timestamp_texts,
)
from playground.prompt import Prompt, PromptImage, Turn
from playground.records import ModelInputs
from tests.media_samples import make_image, make_video
from tests.playground.prompt_samples import PROMPTS


@pytest.fixture(scope="module")
def two_images(engine: Engine) -> ModelInputs:
    return run_preprocess(engine, PROMPTS["two_images"])


@pytest.fixture(scope="module")
def video(engine: Engine) -> ModelInputs:
    return run_preprocess(engine, PROMPTS["video"])


# ------------------------------------------------------------------------------ smart_resize


def test_shrinking_by_hand() -> None:
    """640 x 480 into 50,176 pixels: beta = sqrt(307,200 / 50,176) = 2.4744."""
    steps = resize_steps((640, 480), 1, PixelBudget(32, 1, 16_384, 50_176))
    assert steps.rounded == (640, 480)
    assert steps.rounded_area == 307_200
    assert steps.outcome == "shrunk"
    assert steps.beta == pytest.approx(2.47436, abs=1e-5)
    assert steps.resized == (256, 192)  # floor(8.08) and floor(6.06) times 32
    assert steps.resized_area == 49_152


def test_enlarging_and_rounding_by_hand() -> None:
    small = resize_steps((50, 40), 1, PixelBudget(32, 1, 16_384, 50_176))
    assert small.rounded == (64, 32)  # 1.56 rounds to 2, 1.25 to 1
    assert small.outcome == "enlarged"
    assert small.beta == pytest.approx(2.86217, abs=1e-5)
    assert small.resized == (160, 128)  # ceil(4.47) and ceil(3.58) times 32
    fits = resize_steps((150, 140), 1, PixelBudget(32, 1, 16_384, 50_176))
    assert (fits.outcome, fits.beta, fits.resized) == ("fits", None, (160, 128))


def test_images_of_any_size_are_resized_as_transformers_does() -> None:
    rng = np.random.default_rng(0)
    outcomes = set()
    for _ in range(400):
        width, height = (int(side) for side in np.exp(rng.uniform(2.5, 7.5, 2)))
        lowest = int(rng.choice([1024, 16_384, 65_536]))
        budget = PixelBudget(32, 1, lowest, lowest * int(rng.choice([1, 3, 64])))
        steps = resize_steps((width, height), 1, budget)
        expected = smart_resize(height, width, 32, budget.min_pixels, budget.max_pixels)
        assert steps.resized[::-1] == expected, (width, height, budget)
        outcomes.add(steps.outcome)
    assert outcomes == {"fits", "shrunk", "enlarged"}


def test_videos_of_any_size_are_resized_as_transformers_does() -> None:
    rng = np.random.default_rng(1)
    outcomes, started = set(), 0
    for _ in range(400):
        width, height = (int(side) for side in np.exp(rng.uniform(2.5, 7, 2)))
        frames = int(rng.integers(2, 20))
        budget = PixelBudget(32, 2, 65_536, 65_536 * int(rng.choice([1, 3, 64])))
        steps = resize_steps((width, height), frames, budget)
        expected = smart_resize_video(
            frames, height, width, 2, 32, budget.min_pixels, budget.max_pixels
        )
        assert steps.resized[::-1] == expected, (width, height, frames, budget)
        outcomes.add(steps.outcome)
        started += steps.start != steps.original
    assert outcomes == {"fits", "shrunk", "enlarged"}
    assert started > 20


@pytest.mark.parametrize("kind", sorted(set(PROMPTS) - {"text", "system"}))
def test_the_steps_end_at_the_size_that_the_processor_chose(engine: Engine, kind: str) -> None:
    inputs = run_preprocess(engine, PROMPTS[kind])
    for facts in inputs.media:
        steps = explain_resize(engine, inputs, facts)
        assert steps.original == facts.original_size
        assert steps.resized == facts.resized_size


def test_the_limits_are_the_processors(engine: Engine) -> None:
    own = engine.processor.image_processor.size
    default = pixel_budget(engine, "image", None)
    assert (default.min_pixels, default.max_pixels) == (own["shortest_edge"], own["longest_edge"])
    assert (default.factor, default.temporal_factor) == (32, 1)
    low = pixel_budget(engine, "image", 2048)
    assert (low.min_pixels, low.max_pixels) == (2048, 2048)
    assert pixel_budget(engine, "video", 300_000).temporal_factor == 2


# --------------------------------------------------------------------------- rows and patches


def test_each_row_is_its_patch_of_the_image(two_images: ModelInputs) -> None:
    """Rows against the resized image, normalised by hand."""
    for span in two_images.spans:
        image = unpatchify(two_images, span)[0]
        values = span_pixels(two_images, span)
        positions = row_positions(span)
        assert sorted(map(tuple, positions.tolist())) == [
            (row, column) for row in range(span.grid_h) for column in range(span.grid_w)
        ]
        for number in (0, 1, 2, 5, len(positions) - 1):
            row, column = positions[number]
            patch = image[row * 16 : row * 16 + 16, column * 16 : column * 16 + 16]
            expected = (patch.transpose(2, 0, 1) / 255 - 0.5) / 0.5
            np.testing.assert_allclose(values[number][:, 0], expected, atol=1e-6)
            assert patch_rows(span)[row, column] == span.patch_start + number


def test_merge_block_order_by_hand(two_images: ModelInputs) -> None:
    """The first four rows are the corner block, the next four the block to its right."""
    assert row_positions(two_images.spans[1])[:8].tolist() == [
        [0, 0],
        [0, 1],
        [1, 0],
        [1, 1],
        [0, 2],
        [0, 3],
        [1, 2],
        [1, 3],
    ]


def test_a_patch_is_read_with_its_row_and_token(two_images: ModelInputs) -> None:
    span = two_images.spans[1]
    patch = read_patch(two_images, span, 1, 2)
    assert patch.row == span.patch_start + 6
    assert patch.index == span.start + 1
    pixel_values = two_images.pixel_values
    assert pixel_values is not None
    assert torch.equal(torch.from_numpy(patch.values).flatten(), pixel_values[patch.row])


def test_row_colors_are_the_image_cut_up(two_images: ModelInputs) -> None:
    span = two_images.spans[0]
    image = unpatchify(two_images, span)[0]
    colors = row_colors(two_images, span, image)
    assert colors.shape == (span.num_patches, 256, 3)
    np.testing.assert_array_equal(colors[3].reshape(16, 16, 3), image[16:32, 16:32])


def test_two_equal_frames_in_an_image_and_different_ones_in_a_video(
    two_images: ModelInputs, video: ModelInputs
) -> None:
    assert [frames_differ(two_images, span) for span in two_images.spans] == [0, 0]
    assert all(frames_differ(video, span) > 0 for span in video.spans)


def test_rows_of_what_is_not_there(engine: Engine, two_images: ModelInputs) -> None:
    text = run_preprocess(engine, PROMPTS["text"])
    with pytest.raises(InputError, match="has no image"):
        span_pixels(text, two_images.spans[0])


# -------------------------------------------------------------------------------- histograms


def test_histograms_count_every_pixel_once(two_images: ModelInputs) -> None:
    span = two_images.spans[0]
    image = unpatchify(two_images, span)[0]
    histograms = pixel_histograms(two_images, span, image)
    assert histograms.pixel_counts.shape == (3, HISTOGRAM_BINS)
    assert histograms.pixel_counts.sum(1).tolist() == [image[..., 0].size] * 3
    np.testing.assert_array_equal(histograms.pixel_counts, histograms.value_counts)
    plain = np.bincount(image[..., 1].ravel() // 4, minlength=64)
    np.testing.assert_array_equal(histograms.pixel_counts[1], plain)


def test_edges_follow_the_channel_means(two_images: ModelInputs) -> None:
    image = unpatchify(two_images, two_images.spans[0])[0]
    edges = pixel_histograms(two_images, two_images.spans[0], image).value_edges
    np.testing.assert_allclose(edges[:, 0], (-0.5 / 255 - 0.5) / 0.5)
    np.testing.assert_allclose(edges[:, -1], (255.5 / 255 - 0.5) / 0.5)


# ------------------------------------------------------------------------------------ videos


def test_timestamps_as_they_stand_in_the_prompt(engine: Engine, video: ModelInputs) -> None:
    texts = timestamp_texts(video)
    times = video.media[0].timestamps
    assert texts == tuple(f"<{seconds:.1f} seconds>" for seconds in times)
    assert all(text in video.expanded_prompt for text in texts)
    assert timestamp_texts(run_preprocess(engine, PROMPTS["image"])) == ()


def test_the_facts_of_a_span(engine: Engine) -> None:
    inputs = run_preprocess(engine, PROMPTS["image_and_video"])
    kinds = [span_facts(inputs, span).kind for span in inputs.spans]
    assert kinds == [span.kind for span in inputs.spans]
    assert span_facts(inputs, inputs.spans[-1]).name == inputs.prompt.videos[0].name


def test_the_resized_image_is_also_what_pillow_makes(engine: Engine) -> None:
    """Equal up to rounding: another library with the same filter."""
    image = make_image(301, 77, seed=6)
    inputs = run_preprocess(engine, Prompt((Turn("user", "a", (image,)),)))
    restored = unpatchify(inputs, inputs.spans[0])[0]
    size = inputs.media[0].resized_size
    pillow = np.asarray(Image.fromarray(image.pixels).resize(size, Image.Resampling.BICUBIC))
    assert np.abs(restored.astype(int) - pillow.astype(int)).max() <= 2


def test_an_odd_video_is_explained_too(engine: Engine) -> None:
    video = make_video(num_frames=5, width=200, height=120)
    inputs = run_preprocess(engine, Prompt((Turn("user", "a", video=video),), max_pixels=70_000))
    steps = explain_resize(engine, inputs, inputs.media[0])
    assert (steps.num_frames, steps.rounded_frames) == (5, 4)
    assert steps.resized == inputs.media[0].resized_size


def test_a_larger_image_than_any_limit(engine: Engine) -> None:
    """Both sides at least one token, even if the limit is a single token."""
    image = PromptImage(np.zeros((320, 64, 3), np.uint8))
    inputs = run_preprocess(engine, Prompt((Turn("user", "a", (image,)),), max_pixels=1024))
    assert explain_resize(engine, inputs, inputs.media[0]).resized == (32, 64)
