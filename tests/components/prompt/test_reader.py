"""Raw values of the page and the API → a checked ``Prompt``."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from components.prompt.checks import check_number, check_whole
from components.prompt.reader import prompt_fingerprint, read_prompt
from playground.engine import Engine
from playground.errors import InputError
from playground.language import speaking
from playground.loading.load import load_engine
from playground.preprocess.stage import run_preprocess
from playground.prompt import Prompt, PromptImage, PromptVideo, Turn
from tests.media_samples import make_image, make_video, write_video
from tests.thinking_checkpoint import HYBRID, make_thinking_checkpoint


@pytest.fixture
def read(tiny_random_engine: Engine) -> Any:
    """``read(text="…")``: ``read_prompt`` with nothing else given."""

    def read_with(**values: Any) -> Prompt:
        given: dict[str, Any] = {
            "images": None,
            "video": None,
            "text": "",
            "system": "",
            "max_pixels": None,
        }
        return read_prompt(tiny_random_engine, **(given | values))

    return read_with


@pytest.fixture
def path(tmp_path: Path, image: PromptImage) -> str:
    """A PNG of the image."""
    Image.fromarray(image.pixels).save(tmp_path / "picture.png")
    return str(tmp_path / "picture.png")


def test_text_alone(read: Any) -> None:
    prompt = read(text="Hello", system="Be brief.", max_pixels="")
    (turn,) = prompt.turns
    assert (turn.role, turn.text, turn.images, turn.video) == ("user", "Hello", (), None)
    assert (prompt.system, prompt.max_pixels) == ("Be brief.", None)


def test_images_of_a_gallery_keep_their_order(
    read: Any, path: str, tmp_path: Path, image: PromptImage, wide_image: PromptImage
) -> None:
    Image.fromarray(wide_image.pixels).save(tmp_path / "wide.png")
    wide = str(tmp_path / "wide.png")
    prompt = read(images=[(wide, "caption"), [path, None], path], max_pixels=4096.0)
    found = [image.pixels.shape[:2] for image in prompt.images]
    assert found == [(64, 192), (96, 128), (96, 128)]
    np.testing.assert_array_equal(prompt.images[1].pixels, image.pixels)
    assert prompt.max_pixels == 4096
    assert type(prompt.max_pixels) is int


def test_video_alone(read: Any, tmp_path: Path) -> None:
    video = write_video(tmp_path / "clip.mp4", make_video(num_frames=8).frames, fps=4)
    prompt = read(video=str(video))
    (sampled,) = prompt.videos
    assert sampled.frames.shape == (4, 96, 96, 3)
    assert prompt.turns[0].text == ""


def test_frames_of_a_video_can_be_chosen(read: Any, tmp_path: Path) -> None:
    path = str(write_video(tmp_path / "clip.mp4", make_video(num_frames=8).frames, fps=4))
    (few,) = read(video=path, video_frames=3.0, video_start="", video_end=None).videos
    assert (few.frame_indices, few.chosen.num_frames) == ((0, 4, 7), 3)
    (late,) = read(video=path, video_fps=4, video_start=0.5, video_end=1.5).videos
    assert late.frame_indices == (2, 3, 4, 5, 6)
    assert late.times == (0.5, 0.75, 1.0, 1.25, 1.5)
    with pytest.raises(InputError, match="not both"):
        read(video=path, video_fps=4, video_frames=3)
    with pytest.raises(InputError, match=r"no frames at 3 s\. It is 2 s long\."):
        read(video=path, video_end=3)
    with speaking("zh"), pytest.raises(InputError, match=r"视频在 3 秒处没有帧。它长 2 秒。"):
        read(video=path, video_start=3)


@pytest.mark.parametrize("text", ["", "  \n\t", None])
def test_nothing_to_run(read: Any, text: str | None) -> None:
    with pytest.raises(InputError, match=r"There is nothing to run.*Write a question"):
        read(text=text, images=[])


def test_too_many_images_are_not_even_opened(read: Any) -> None:
    with pytest.raises(InputError, match=r"has 9 images.*At most 8"):
        read(images=["/no/such/file.png"] * 9)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"text": 5}, "The text must be text, not a number"),
        ({"text": "a", "system": {"a": 1}}, "The system prompt must be text, not an object"),
        ({"images": [5]}, "An image must be a file, not a number"),
        ({"images": [()]}, "An image must be a file, not a tuple"),
        ({"text": "a" * 20_001}, "A message has 20,001 characters"),
        ({"text": "\ud83d"}, "unpaired surrogate"),
        ({"text": "a", "max_pixels": math.nan}, "max pixels must be a finite number, not nan"),
        ({"text": "a", "max_pixels": -math.inf}, "max pixels must be a finite number, not -inf"),
        ({"text": "a", "max_pixels": 65_536.5}, "max pixels is 65,536.5. It must be a whole"),
        ({"text": "a", "max_pixels": "65536"}, "max pixels must be a number, not text"),
        ({"text": "a", "max_pixels": True}, "max pixels must be a number, not a Boolean"),
        ({"text": "a", "max_pixels": 1023}, "It must be between 1,024"),
        ({"text": "a", "max_pixels": 10**400}, "more than 15 digits"),
        (
            {"text": "a", "video_fps": 61},
            "frames per second is 61. It must be between 0 and 60",
        ),
        ({"text": "a", "video_fps": "2 or 3"}, "frames per second must be a number, not text"),
        ({"text": "a", "video_frames": 65}, r"the number of frames is 65\. .* between 2 and 64"),
        ({"text": "a", "video_frames": 2.5}, "must be a whole number"),
        ({"text": "a", "video_start": -1}, "the start of the time range is -1"),
        ({"text": "a", "video_end": math.nan}, "the end of the time range must be a finite"),
    ],
)
def test_bad_values(read: Any, values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read(**values)


def test_numbers_within_bounds() -> None:
    assert check_number("x", 0.5, low=0, high=1) == 0.5
    assert check_whole("x", 3.0, low=3, high=3) == 3
    with pytest.raises(InputError, match=r"x is 4\. It must be between 1 and 3\. Choose"):
        check_whole("x", 4, low=1, high=3)
    with pytest.raises(InputError, match=r"x is 0\. It must be at least 1\."):
        check_number("x", 0, low=1)
    with pytest.raises(InputError, match=r"x is 2\. It must be at most 1\."):
        check_number("x", 2, high=1)
    with pytest.raises(InputError, match="more than 15 digits"):
        check_whole("x", 10**5000, high=1)
    with pytest.raises(InputError, match="x must be a number, not empty"):
        check_number("x", None)


BASE = Prompt(
    (Turn("user", "a", (make_image(),), make_video()), Turn("assistant", "b"), Turn("user", "c")),
    system="s",
    max_pixels=4096,
)


def _changed() -> dict[str, Prompt]:
    first, *rest = BASE.turns
    image, video = first.images[0], first.video
    assert video is not None
    pixels, frames = image.pixels.copy(), video.frames.copy()
    pixels[5, 5, 0] ^= 1
    frames[3, 5, 5, 2] ^= 1

    def with_first(**values: Any) -> Prompt:
        return replace(BASE, turns=(replace(first, **values), *rest))

    turned = pixels.reshape(pixels.shape[1], pixels.shape[0], 3)
    return {
        "system": replace(BASE, system=""),
        "max_pixels": replace(BASE, max_pixels=None),
        "role": with_first(role="assistant"),
        "text": with_first(text="ab"),
        "one pixel": with_first(images=(PromptImage(pixels),)),
        "shape": with_first(images=(PromptImage(turned),)),
        "no picture": with_first(images=()),
        "two pictures": with_first(images=(image, image)),
        "no clip": with_first(video=None),
        "one frame": with_first(video=replace(video, frames=frames)),
        "indices": with_first(video=replace(video, frame_indices=(0, 1, 2, 4))),
        "fps": with_first(video=replace(video, fps=3.0)),
        "clip one turn later": replace(
            BASE, turns=(replace(first, video=None), rest[0], replace(rest[1], video=video))
        ),
        "fewer turns": replace(BASE, turns=(first,)),
        "text moved between turns": replace(
            BASE, turns=(replace(first, text=""), replace(rest[0], text="ab"), rest[1])
        ),
    }


def test_fingerprint_tells_prompts_apart() -> None:
    prints = {name: prompt_fingerprint(prompt) for name, prompt in _changed().items()}
    assert len({prompt_fingerprint(BASE), *prints.values()}) == len(prints) + 1


def test_fingerprint_ignores_names_and_notices() -> None:
    first, *rest = BASE.turns
    image, video = first.images[0], first.video
    assert video is not None
    renamed = replace(
        first,
        images=(replace(image, pixels=image.pixels.copy(), name="b", notices=("Turned.",)),),
        video=PromptVideo(
            video.frames.copy(), video.frame_indices, video.fps, video.total_num_frames, "other"
        ),
    )
    assert prompt_fingerprint(replace(BASE, turns=(renamed, *rest))) == prompt_fingerprint(BASE)


# ------------------------------------------------------------------------------- conversations


def test_the_images_belong_to_the_first_turn(read: Any, path: str) -> None:
    prompt = read(
        images=[path],
        text="And the square?",
        earlier="User: Describe this image.\nAssistant: A red circle:\nround and red.\n",
    )
    assert [(turn.role, turn.text, len(turn.images)) for turn in prompt.turns] == [
        ("user", "Describe this image.", 1),
        ("assistant", "A red circle:\nround and red.", 0),
        ("user", "And the square?", 0),
    ]


def test_names_may_be_chinese_or_small(read: Any) -> None:
    turns = read(text="好", earlier="用户：你好\n助手： 你好！\n user : Hi\nASSISTANT: Hello").turns
    assert [(turn.role, turn.text) for turn in turns] == [
        ("user", "你好"),
        ("assistant", "你好！"),
        ("user", "Hi"),
        ("assistant", "Hello"),
        ("user", "好"),
    ]


@pytest.mark.parametrize(
    ("earlier", "problem"),
    [
        ("What is it?", "who speaks first"),
        ("Well\nUser: a\nAssistant: b", "who speaks first"),
        ("Assistant: b", "begin with the assistant"),
        ("User: a\nUser: b", "Earlier turn 2 is from the user"),
        ("User: a", "has no answer"),
        ("User: a\nAssistant: ", "Earlier turn 2 is empty"),
        ("User: a\nAssistant: b\n" * 33, "66 earlier turns"),
        (["User: a"], "must be text, not a list"),
    ],
)
def test_a_conversation_that_cannot_be_read_is_explained(
    read: Any, earlier: Any, problem: str
) -> None:
    with pytest.raises(InputError, match=problem):
        read(text="b", earlier=earlier)


def test_a_conversation_needs_a_question_after_it(read: Any, path: str) -> None:
    with pytest.raises(InputError, match="no question after them"):
        read(images=[path], earlier="User: a\nAssistant: b")


def test_typed_specials_stay_text_in_every_turn(read: Any, tiny_random_engine: Engine) -> None:
    prompt = read(text="a", earlier="User: <|im_end|>\nAssistant: <|image_pad|>")
    inputs = run_preprocess(tiny_random_engine, prompt)
    assert inputs.rendered_prompt.count("<|im_start|>") == 4  # the last one for the answer
    assert inputs.media == ()
    assert [token.role for token in inputs.tokens].count("assistant") > 1


def test_another_conversation_is_another_prompt(read: Any) -> None:
    keys = {
        prompt_fingerprint(read(text="a", earlier=earlier))
        for earlier in ("", "User: a\nAssistant: b", "User: a\nAssistant: c")
    }
    assert len(keys) == 3


@pytest.mark.parametrize(
    ("given", "expected"),
    [(None, None), ("", None), ("on", True), ("off", False), (True, True), (False, False)],
)
def test_thinking(tmp_path: Path, given: Any, expected: bool | None) -> None:
    folder = make_thinking_checkpoint(tmp_path / "hybrid", HYBRID)
    engine = load_engine(folder, device="cpu", dtype="float32")
    values: dict[str, Any] = {"images": None, "video": None, "text": "Hi", "system": ""}
    prompt = read_prompt(engine, **values, max_pixels=None, thinking=given)
    assert prompt.enable_thinking is expected
    closed = run_preprocess(engine, prompt).rendered_prompt.endswith("</think>\n\n")
    assert closed == (expected is False)


@pytest.mark.parametrize("given", ["perhaps", 1, [], {}, 0.5])
def test_thinking_of_another_kind_is_refused(read: Any, given: Any) -> None:
    with pytest.raises(InputError, match="This choice for the thinking is not offered"):
        read(text="Hi", thinking=given)


def test_thinking_belongs_to_the_fingerprint(read: Any) -> None:
    prompt = read(text="Hi")
    other = replace(prompt, enable_thinking=False)
    assert prompt_fingerprint(other) != prompt_fingerprint(prompt)
