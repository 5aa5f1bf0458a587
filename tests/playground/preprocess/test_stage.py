"""Stage 1: the processor's tensors, handmade spans, restored images, limits."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as transforms

from playground.engine import Engine
from playground.errors import InputError
from playground.preprocess.stage import (
    MAX_MEDIA,
    MAX_PIXELS_LIMIT,
    MAX_TEXT_CHARS,
    find_spans,
    model_kwargs,
    run_preprocess,
    unpatchify,
)
from playground.preprocess.views import pixel_histograms
from playground.prompt import Prompt, PromptImage, PromptVideo, Turn
from tests.media_samples import make_image, make_video
from tests.playground.prompt_samples import PROMPTS


def test_text_is_what_the_tokenizer_gives(engine: Engine) -> None:
    inputs = run_preprocess(engine, Prompt((Turn("user", "Hello, 你好!"),), system="Be brief."))
    text = (
        "<|im_start|>system\nBe brief.<|im_end|>\n"
        "<|im_start|>user\nHello, 你好!<|im_end|>\n<|im_start|>assistant\n"
    )
    assert inputs.rendered_prompt == inputs.expanded_prompt == text
    assert inputs.input_ids[0].tolist() == engine.tokenizer(text)["input_ids"]
    assert inputs.attention_mask.tolist() == [[1] * inputs.num_tokens]
    assert inputs.mm_token_type_ids.tolist() == [[0] * inputs.num_tokens]
    assert set(model_kwargs(inputs)) == {"input_ids", "attention_mask", "mm_token_type_ids"}
    assert inputs.spans == inputs.media == ()


def test_images_are_what_the_processor_gives(engine: Engine) -> None:
    prompt = PROMPTS["two_images"]
    inputs = run_preprocess(engine, prompt)
    messages = [
        {"role": "system", "content": [{"type": "text", "text": prompt.system}]},
        {
            "role": "user",
            "content": [
                {"type": "image"},
                {"type": "image"},
                {"type": "text", "text": prompt.turns[0].text},
            ],
        },
    ]
    processor: Any = engine.processor
    text = processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    images = [Image.fromarray(image.pixels) for image in prompt.images]
    expected = processor(text=[text], images=images, return_tensors="pt")
    found = model_kwargs(inputs)
    assert set(found) == set(expected)
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name


@pytest.mark.parametrize("kind", sorted(PROMPTS))
def test_spans_cover_the_placeholders(engine: Engine, kind: str) -> None:
    inputs = run_preprocess(engine, PROMPTS[kind])
    covered = {index for span in inputs.spans for index in range(span.start, span.end)}
    placeholders = {t.index for t in inputs.tokens if t.kind in ("image", "video")}
    assert covered == placeholders
    for span in inputs.spans:
        assert span.end - span.start == span.merged_h * span.merged_w
    rows = {"image": inputs.pixel_values, "video": inputs.pixel_values_videos}
    for name, values in rows.items():
        spans = [span for span in inputs.spans if span.kind == name]
        following = 0
        for span in spans:
            assert span.patch_start == following
            following += span.num_patches
        assert following == (0 if values is None else len(values))
    assert sum(facts.num_tokens for facts in inputs.media) == len(placeholders)


def test_expanded_prompt_repeats_the_placeholders(engine: Engine) -> None:
    inputs = run_preprocess(engine, PROMPTS["image"])
    count = inputs.media[0].num_tokens
    pad = "<|image_pad|>"
    assert inputs.rendered_prompt.count(pad) == 1
    assert inputs.expanded_prompt == inputs.rendered_prompt.replace(pad, pad * count)


def test_find_spans_by_hand() -> None:
    """Text, a 4 x 6 image, text, two temporal patches of a 2 x 4 video, a 2 x 2 image."""
    types = [0] * 2 + [1] * 6 + [0] + [2] * 2 + [0] * 3 + [2] * 2 + [0] + [1] + [0]
    batch = {
        "mm_token_type_ids": torch.tensor([types]),
        "image_grid_thw": torch.tensor([[1, 4, 6], [1, 2, 2]]),
        "video_grid_thw": torch.tensor([[2, 2, 4]]),
    }
    image, first, second, last = find_spans(batch, 2)
    assert (image.kind, image.media_index, image.start, image.end) == ("image", 0, 2, 8)
    assert (image.grid_h, image.grid_w, image.patch_start) == (4, 6, 0)
    assert (first.kind, first.media_index, first.frame, first.start) == ("video", 0, 0, 9)
    assert (second.frame, second.start, second.end, second.patch_start) == (1, 14, 16, 8)
    assert (last.kind, last.media_index, last.patch_start, last.start) == ("image", 1, 24, 17)


@pytest.mark.parametrize(
    ("size", "max_pixels"), [((128, 96), None), ((301, 77), None), ((50, 200), 6144)]
)
def test_unpatchify_gives_the_resized_image(
    engine: Engine, size: tuple[int, int], max_pixels: int | None
) -> None:
    """Byte for byte the image that torchvision makes before patchify."""
    image = make_image(*size, seed=4)
    inputs = run_preprocess(
        engine, Prompt((Turn("user", "a", (make_image(), image)),), max_pixels=max_pixels)
    )
    facts, span = inputs.media[1], inputs.spans[1]
    width, height = facts.resized_size
    resized = transforms.resize(
        torch.from_numpy(image.pixels).permute(2, 0, 1),
        [height, width],
        interpolation=InterpolationMode.BICUBIC,
        antialias=True,
    )
    restored = unpatchify(inputs, span)
    assert restored.shape == (2, height, width, 3)
    for frame in restored:
        np.testing.assert_array_equal(frame, resized.permute(1, 2, 0).numpy())


@pytest.mark.parametrize("num_frames", [4, 5])
def test_unpatchify_gives_the_frames_of_a_video(engine: Engine, num_frames: int) -> None:
    """Two frames to a temporal patch; an odd last one is repeated."""
    video = make_video(num_frames=num_frames)
    inputs = run_preprocess(engine, Prompt((Turn("user", "a", video=video),), max_pixels=60_000))
    width, height = inputs.media[0].resized_size
    frames = transforms.resize(
        torch.from_numpy(video.frames).permute(0, 3, 1, 2),
        [height, width],
        interpolation=InterpolationMode.BICUBIC,
        antialias=True,
    ).permute(0, 2, 3, 1)
    restored = np.concatenate([unpatchify(inputs, span) for span in inputs.spans])
    assert len(restored) == num_frames + num_frames % 2
    np.testing.assert_array_equal(restored[:num_frames], frames.numpy())
    np.testing.assert_array_equal(restored[-1], frames[-1].numpy())


SCALES: dict[str, dict[str, Any]] = {
    "not normalised": {"do_normalize": False},
    "not rescaled": {"do_rescale": False, "image_mean": [127.5] * 3, "image_std": [127.5] * 3},
    "neither": {"do_rescale": False, "do_normalize": False},
    "other means": {"image_mean": [0.48, 0.45, 0.4], "image_std": [0.26, 0.27, 0.28]},
    "another factor": {"rescale_factor": 1 / 127.5, "image_mean": [1, 1, 1], "image_std": [1] * 3},
}


@pytest.mark.parametrize("kind", ["image", "video"])
@pytest.mark.parametrize("name", SCALES)
def test_unpatchify_inverts_the_settings_that_were_applied(
    tiny_random_engine: Engine, kind: str, name: str
) -> None:
    """The image's settings and the video's are two files, which may differ."""
    processor: Any = copy.deepcopy(tiny_random_engine.processor)
    part = processor.image_processor if kind == "image" else processor.video_processor
    for key, value in SCALES[name].items():
        setattr(part, key, value)
    image, video = make_image(96, 64), make_video(num_frames=2)
    prompt = Prompt((Turn("user", "a", (image,), video),))
    changed = run_preprocess(replace(tiny_random_engine, processor=processor), prompt)
    usual = run_preprocess(tiny_random_engine, prompt)
    for span in usual.spans:
        expected = unpatchify(usual, span)
        np.testing.assert_array_equal(unpatchify(changed, span), expected)
        counted = pixel_histograms(changed, span, expected[0])
        np.testing.assert_array_equal(counted.pixel_counts, counted.value_counts)


def test_unpatchify_of_what_is_not_there(tiny_random_engine: Engine) -> None:
    image = run_preprocess(tiny_random_engine, PROMPTS["image"])
    text = run_preprocess(tiny_random_engine, PROMPTS["text"])
    with pytest.raises(InputError, match="has no image"):
        unpatchify(text, image.spans[0])


@pytest.mark.parametrize("max_pixels", [1024, 4096, 20_000, 50_000, None])
def test_max_pixels_bounds_an_image(engine: Engine, max_pixels: int | None) -> None:
    image = make_image(640, 480)
    inputs = run_preprocess(engine, Prompt((Turn("user", "a", (image,)),), max_pixels=max_pixels))
    (facts,) = inputs.media
    limit = max_pixels or engine.processor.image_processor.size["longest_edge"]
    width, height = facts.resized_size
    assert width * height <= limit
    assert width * height > limit * 0.4 or facts.num_tokens == 1
    assert facts.original_size == (640, 480)
    assert facts.grid_thw == (1, height // 16, width // 16)
    assert facts.num_tokens == width * height // 1024


def test_max_pixels_bounds_all_frames_of_a_video_together(engine: Engine) -> None:
    video = make_video(num_frames=8, width=256, height=128)
    inputs = run_preprocess(engine, Prompt((Turn("user", "a", video=video),), max_pixels=65_536))
    (facts,) = inputs.media
    width, height = facts.resized_size
    assert 65_536 * 0.4 < 8 * width * height <= 65_536
    assert facts.grid_thw[0] == 4


def test_timestamps_are_those_of_the_file(engine: Engine) -> None:
    """Frames 0, 10, 20, 30 of a file with 5 frames per second: pairs at 1 s and 5 s."""
    frames = make_video(num_frames=4).frames
    video = PromptVideo(frames, (0, 10, 20, 30), fps=5.0, total_num_frames=40)
    inputs = run_preprocess(engine, Prompt((Turn("user", "a", video=video),), max_pixels=40_000))
    assert inputs.media[0].timestamps == (1.0, 5.0)
    assert inputs.rendered_prompt.count("<|video_pad|>") == 1
    first, second = inputs.spans
    text = inputs.expanded_prompt
    assert "<1.0 seconds><|vision_start|><|video_pad|>" in text
    assert "<5.0 seconds><|vision_start|><|video_pad|>" in text
    assert (first.frame, second.frame) == (0, 1)


@pytest.mark.parametrize("num_frames", [2, 3, 5])
def test_every_temporal_patch_has_a_timestamp(engine: Engine, num_frames: int) -> None:
    video = make_video(num_frames=num_frames)
    inputs = run_preprocess(engine, Prompt((Turn("user", "a", video=video),), max_pixels=60_000))
    (facts,) = inputs.media
    assert len(facts.timestamps) == facts.grid_thw[0] == len(inputs.spans) == (num_frames + 1) // 2


@pytest.mark.parametrize("size", [(1, 1), (5, 3), (31, 33), (1, 150)])
def test_tiny_images_are_enlarged(engine: Engine, size: tuple[int, int]) -> None:
    inputs = run_preprocess(engine, Prompt((Turn("user", "a", (make_image(*size),)),)))
    assert min(inputs.media[0].resized_size) >= 32
    assert inputs.media[0].original_size == size


def test_notices_of_images_are_passed_on(tiny_random_engine: Engine) -> None:
    image = PromptImage(make_image().pixels, name="a.png", notices=("Turned upright.",))
    inputs = run_preprocess(tiny_random_engine, Prompt((Turn("user", "a", (image,)),)))
    assert inputs.notices == ("a.png: Turned upright.",)
    assert inputs.media[0].name == "a.png"


BASE = Prompt((Turn("user", "Hello"),))


def _with_text(text: str) -> Prompt:
    return replace(BASE, turns=(Turn("user", text),))


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        (Prompt(()), "does not end with a user message"),
        (Prompt((Turn("user", "a"), Turn("assistant", "b"))), "does not end with a user message"),
        (_with_text("a" * (MAX_TEXT_CHARS + 1)), "20,001 characters.*At most 20,000"),
        (replace(BASE, system="a" * (MAX_TEXT_CHARS + 1)), "20,001 characters"),
        (_with_text("a\ud83d"), "unpaired surrogate"),
        (replace(BASE, system="\udc00"), "unpaired surrogate"),
        (
            Prompt((Turn("user", "a", (make_image(),) * (MAX_MEDIA + 1)),)),
            "has 9 images.*At most 8",
        ),
        (replace(BASE, max_pixels=1023), "max pixels is 1,023.*between 1,024"),
        (replace(BASE, max_pixels=0), "max pixels is 0"),
        (replace(BASE, max_pixels=MAX_PIXELS_LIMIT + 1), "max pixels is 16,777,217"),
        (Prompt((Turn("user", "a", (make_image(402, 2),)),)), "aspect ratio.*below 200"),
    ],
)
def test_limits(tiny_random_engine: Engine, prompt: Prompt, message: str) -> None:
    with pytest.raises(InputError, match=message):
        run_preprocess(tiny_random_engine, prompt)


def test_limits_themselves_are_accepted(tiny_random_engine: Engine) -> None:
    for max_pixels in (1024, MAX_PIXELS_LIMIT):
        run_preprocess(tiny_random_engine, replace(BASE, max_pixels=max_pixels))
    images = (make_image(32, 32),) * MAX_MEDIA
    inputs = run_preprocess(
        tiny_random_engine, Prompt((Turn("user", "a", images),), max_pixels=1024)
    )
    assert len(inputs.spans) == MAX_MEDIA


def test_the_context_window(tiny_random_engine: Engine) -> None:
    window = tiny_random_engine.facts.max_position_embeddings
    with pytest.raises(
        InputError, match=rf"tokens\. This model's context window is {window:,} tokens"
    ):
        run_preprocess(tiny_random_engine, _with_text("字𝄞" * 5000))
