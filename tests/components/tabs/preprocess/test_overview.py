"""The original and the resized images, against the processor's own output."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from components.tabs.preprocess import overview
from components.tabs.preprocess.overview import MEDIA_BYTES, notices_html, size_words
from playground.engine import Engine
from playground.pipeline import Run
from playground.preprocess.stage import unpatchify
from playground.prompt import PromptVideo
from playground.records import MediaFacts
from tests.components.html_reader import read_html
from tests.components.runs import make_run


def pixels_of(source: str) -> list[np.ndarray]:
    """The images embedded in HTML."""
    images = read_html(source).find("img")
    data = [base64.b64decode(each.attrs["src"].partition("base64,")[2]) for each in images]
    return [np.asarray(Image.open(io.BytesIO(each)).convert("RGB")) for each in data]


def test_the_way_from_pixels_to_tokens() -> None:
    image = MediaFacts("image", "a.png", (640, 480), (256, 192), (1, 12, 16), 48)
    assert size_words(image, 16, 2) == (
        "640 × 480 → 256 × 192 pixels = 16 × 12 patches of 16 × 16 = 8 × 6 tokens "
        "= 48 tokens in total"
    )
    video = MediaFacts("video", "a.mp4", (96, 64), (96, 64), (3, 4, 6), 18, (0.2, 1.2, 2.2))
    assert size_words(video, 16, 2).endswith(
        "3 × 2 tokens per temporal patch; 3 temporal patches = 18 tokens in total"
    )


def test_images_are_shown_as_they_came_and_as_they_were_resized(two_run: Run) -> None:
    inputs = two_run.inputs
    source = overview.media(two_run)
    shown = pixels_of(source)
    for index, (span, image) in enumerate(zip(inputs.spans, inputs.prompt.images, strict=True)):
        original, resized = shown[2 * index : 2 * index + 2]
        for got, expected in (
            (original, image.pixels),
            (resized, unpatchify(inputs, span)[0]),
        ):
            assert got.shape == expected.shape
            assert np.abs(got.astype(int) - expected.astype(int)).mean() < 6
    page = read_html(source)
    frames = page.find("div", "pg-picture-frame")
    assert [each.attrs["data-span"] for each in frames] == ["0", "0", "1", "1"]
    grids = [each.attrs["viewbox"] for each in page.find("svg")]
    assert grids == [f"0 0 {facts.grid_thw[2]} {facts.grid_thw[1]}" for facts in inputs.media]


def test_every_frame_of_a_video_with_its_time(video_run: Run, video: PromptVideo) -> None:
    inputs = video_run.inputs
    source = overview.media(video_run)
    shown = pixels_of(source)
    assert len(shown) == len(video.frames)
    for frame, got in zip(video.frames, shown, strict=True):
        resized = np.asarray(Image.fromarray(frame).resize(got.shape[1::-1]))
        assert np.abs(got.astype(int) - resized.astype(int)).mean() < 8
    page = read_html(source)
    captions = [each.text for each in page.find("figcaption")]
    times = inputs.media[0].timestamps
    assert captions[0] == f"Frame 1, temporal patch 1 at {times[0]:.1f}\N{NO-BREAK SPACE}s"
    assert captions[-1] == f"Frame 4, temporal patch 2 at {times[1]:.1f}\N{NO-BREAK SPACE}s"
    frames = page.find("div", "pg-picture-frame")
    assert [each.attrs["data-span"] for each in frames] == ["0", "0", "1", "1"]


def test_frames_full_of_noise_are_sent_smaller(tiny_random_engine: Engine) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (16, 160, 160, 3), dtype=np.uint8)
    video = PromptVideo(frames, tuple(range(16)), fps=8.0, total_num_frames=16)
    run = make_run(tiny_random_engine, "a", video=video, max_pixels=400_000)
    source = overview.media(run)
    assert len(read_html(source).find("img")) == 16
    assert len(source) <= MEDIA_BYTES + 2_000


def test_a_prompt_without_images_says_so(text_run: Run) -> None:
    page = read_html(overview.media(text_run))
    assert page.find("img") == []
    assert "no image" in page.find("p")[0].text


def test_the_sequence_is_counted(two_run: Run, text_run: Run) -> None:
    visual = sum(span.end - span.start for span in two_run.inputs.spans)
    words = read_html(overview.sequence(two_run)).find("p", "pg-lead")[0].text
    assert f"{two_run.inputs.num_tokens} tokens: {visual} for images and video" in words
    words = read_html(overview.sequence(text_run)).find("p", "pg-lead")[0].text
    assert f"{text_run.inputs.num_tokens} tokens, all of them text" in words


def test_notices_are_shown_and_escaped() -> None:
    page = read_html(notices_html(("<|im_end|> was treated as text.", "alpha removed")))
    assert [each.text for each in page.find("li")] == [
        "<|im_end|> was treated as text.",
        "alpha removed",
    ]
    assert notices_html(()) == ""
