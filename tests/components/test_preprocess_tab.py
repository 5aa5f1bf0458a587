"""The preprocess tab: its words and pictures against the processor's own output."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from components.strips import template_html
from components.tabs.preprocess_tab import (
    build_preprocess_tab,
    media_html,
    notices_html,
    size_words,
)
from playground.engine import Engine
from playground.pipeline import Run
from playground.preprocess import run_preprocess
from playground.records import Clip, MediaFacts, Picture, Prompt, Turn
from tests.components.html_reader import read_html
from tests.components.runs import build_alone, ignore_progress


def pixels_of(source: str) -> list[np.ndarray]:
    """The pictures that a piece of HTML holds."""
    images = read_html(source).find("img")
    data = [base64.b64decode(each.attrs["src"].partition("base64,")[2]) for each in images]
    return [np.asarray(Image.open(io.BytesIO(each)).convert("RGB")) for each in data]


def test_the_way_from_pixels_to_tokens() -> None:
    image = MediaFacts("image", "a.png", (640, 480), (256, 192), (1, 12, 16), 48)
    assert size_words(image, 16, 2) == (
        "640 × 480 → 256 × 192 pixels = 16 × 12 patches of 16 × 16 = 8 × 6 tokens "
        "= 48 tokens in all"
    )
    video = MediaFacts("video", "a.mp4", (96, 64), (96, 64), (3, 4, 6), 18, (0.2, 1.2, 2.2))
    assert size_words(video, 16, 2).endswith(
        "3 × 2 tokens for a pair of frames; 3 such pairs = 18 tokens in all"
    )


def test_images_are_shown_as_the_processor_resized_them(
    tiny_random_engine: Engine, picture: Picture, wide_picture: Picture
) -> None:
    turn = Turn("user", "Compare.", pictures=(picture, wide_picture))
    inputs = run_preprocess(tiny_random_engine, Prompt((turn,)))
    source = media_html(inputs)
    shown = pixels_of(source)
    for facts, original, got in zip(inputs.media, (picture, wide_picture), shown, strict=True):
        assert got.shape[1::-1] == facts.resized_size
        resized = np.asarray(Image.fromarray(original.pixels).resize(facts.resized_size))
        assert np.abs(got.astype(int) - resized.astype(int)).mean() < 6
    grids = [each.attrs["viewbox"] for each in read_html(source).find("svg")]
    assert grids == [f"0 0 {facts.grid_thw[2]} {facts.grid_thw[1]}" for facts in inputs.media]


def test_every_frame_of_a_video_with_its_time(tiny_random_engine: Engine, clip: Clip) -> None:
    inputs = run_preprocess(tiny_random_engine, Prompt((Turn("user", "Describe.", clip=clip),)))
    source = media_html(inputs)
    shown = pixels_of(source)
    assert len(shown) == len(clip.frames)
    for frame, got in zip(clip.frames, shown, strict=True):
        resized = np.asarray(Image.fromarray(frame).resize(got.shape[1::-1]))
        assert np.abs(got.astype(int) - resized.astype(int)).mean() < 8
    captions = [each.text for each in read_html(source).find("figcaption")]
    times = inputs.media[0].timestamps
    assert captions[0] == f"Frame 1, pair 1 at {times[0]:.1f}\N{NO-BREAK SPACE}s"
    assert captions[-1] == f"Frame 4, pair 2 at {times[1]:.1f}\N{NO-BREAK SPACE}s"


def test_a_prompt_without_pictures_says_so(tiny_random_engine: Engine) -> None:
    inputs = run_preprocess(tiny_random_engine, Prompt((Turn("user", "你好"),)))
    page = read_html(media_html(inputs))
    assert page.find("img") == []
    assert "no picture" in page.find("p")[0].text


def test_notices_are_shown_and_escaped() -> None:
    page = read_html(notices_html(("<|im_end|> was treated as text.", "alpha removed")))
    assert [each.text for each in page.find("li")] == [
        "<|im_end|> was treated as text.",
        "alpha removed",
    ]
    assert notices_html(()) == ""


def test_the_stream_draws_everything_in_a_small_payload(tiny_random_engine: Engine) -> None:
    rng = np.random.default_rng(0)
    noise = Picture(rng.integers(0, 256, (192, 256, 3), dtype=np.uint8), name="noise <i>")
    text = "Describe this image: <|image_pad|> " + "各种各样的词 and words. " * 180
    run = Run(tiny_random_engine, Prompt((Turn("user", text, pictures=(noise,)),)))
    tab = build_alone(build_preprocess_tab)
    (drawn,) = tab.stream(run, ignore_progress)
    assert len(drawn) == len(tab.outputs)
    notices, media, template, strip, tokens, tensors, code = drawn
    assert "treated as text" in notices
    assert "noise &lt;i&gt;" in media
    assert "各种各样的词" in template
    assert f"{run.inputs.num_tokens:,} tokens" in strip
    assert "more rows" in tokens
    assert "pixel_values" in tensors
    assert "apply_chat_template" in code
    assert sum(len(part.encode()) for part in drawn) < 400_000
    assert not run.has("vision")


def test_eight_photos_stay_a_small_payload(tiny_random_engine: Engine) -> None:
    rng = np.random.default_rng(0)
    photos = tuple(Picture(rng.integers(90, 160, (480, 640, 3), dtype=np.uint8)) for _ in range(8))
    prompt = Prompt((Turn("user", "Compare.", pictures=photos),))
    source = media_html(run_preprocess(tiny_random_engine, prompt))
    assert len(read_html(source).find("img")) == 8
    assert len(source) < 400_000


@pytest.mark.parametrize("text", ["{{value}}", "${value}", "</p></div><script>1</script>"])
def test_text_that_looks_like_code_stays_text(tiny_random_engine: Engine, text: str) -> None:
    inputs = run_preprocess(tiny_random_engine, Prompt((Turn("user", text),)))
    page = read_html(template_html(inputs))
    assert any(text in each.text for each in page.find("div", "pg-message-text"))
