"""Turn raw values from the page and the API into a checked ``Prompt``.

Everything is checked here, on the server: a client can make a slider send NaN, a text box send a
list, and the API receive any JSON.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import playground
from components.prompt.checks import check_number, check_text, check_whole, kind_words
from components.prompt.previews import GalleryItem, original_of
from playground.errors import InputError
from playground.language import say
from playground.prompt import FrameChoice, Prompt, PromptImage, PromptVideo, Turn

if TYPE_CHECKING:
    from components.prompt.examples import Example
    from playground.engine import Engine

MAX_EARLIER = 64  # messages before the last one
THINKING = {"": None, "on": True, "off": False}  # the chat template's ``enable_thinking``
USER_NAMES = ("user", "用户")
SPEAKER = re.compile(r"^[ \t]*(user|assistant|用户|助手)[ \t]*[:：]", re.IGNORECASE | re.MULTILINE)


def read_prompt(
    engine: Engine,
    *,
    images: Sequence[GalleryItem] | None,
    video: str | None,
    text: str,
    system: str,
    max_pixels: int | float | str | None,
    earlier: str = "",
    thinking: str | bool | None = None,
    video_fps: int | float | str | None = None,
    video_frames: int | float | str | None = None,
    video_start: int | float | str | None = None,
    video_end: int | float | str | None = None,
) -> Prompt:
    """Read a user message with its images and video, and the messages before it, from raw values.

    Args:
        engine: gives the limits.
        images: paths of files that the app itself received; never a path that a client names.
        video: likewise.
        text: the question; may be empty if there is an image or a video.
        system: the system prompt; empty for none.
        max_pixels: per image, or over all frames of a video; ``None`` or ``""`` keeps the
            processor's default.
        earlier: the conversation so far, as ``read_turns`` takes it. Images and video then belong
            to its first message.
        thinking: the template's ``enable_thinking``, also as one of ``THINKING``; ``None`` or
            ``""`` leaves it to the template.
        video_fps: frames to sample per second of the video, or
        video_frames: how many in all; without both, the checkpoint's own number.
        video_start: where the sampled range begins, in seconds of the video.
        video_end: where it ends.

    Raises:
        InputError: a value has the wrong type, is out of range, or there is nothing to run.
    """
    text, system = check_text(say("The text"), text), check_text(say("The system prompt"), system)
    before = read_turns(check_text(say("The conversation"), earlier))
    pixels = None
    if max_pixels is not None and max_pixels != "":
        lowest, highest = playground.preprocess.stage.max_pixels_range(engine)
        pixels = check_whole(say("max pixels"), max_pixels, low=lowest, high=highest)
    chosen = _read_choice(video_fps, video_frames, video_start, video_end)
    paths = [gallery_path(item) for item in images or ()]
    _check_question(text, has_media=bool(paths or video), has_turns=bool(before))
    _check_image_count(len(paths))  # before reading them
    turns = [*before, Turn("user", text)]
    largest = engine.limits.max_image_pixels
    turns[0] = Turn(
        "user",
        turns[0].text,
        images=tuple(
            playground.preprocess.media.read_image(path, max_pixels=largest) for path in paths
        ),
        video=_read_video(engine, video, chosen) if video else None,
    )
    prompt = Prompt(
        turns=tuple(turns),
        system=system,
        max_pixels=pixels,
        enable_thinking=_read_thinking(thinking),
    )
    playground.preprocess.stage.check_prompt(engine, prompt)
    return prompt


def read_example(engine: Engine, example: Example) -> Prompt:
    """The prompt of an example of the gallery.

    Raises:
        InputError: the checkpoint or a limit does not allow it.
    """
    return read_prompt(
        engine,
        images=example.images,
        video=example.video,
        text=example.text,
        system=example.system,
        max_pixels=None,
        earlier=example.earlier,
    )


def _read_choice(fps: Any, num_frames: Any, start: Any, end: Any) -> FrameChoice:
    """The frames that a visitor asks for; empty fields are not chosen."""
    sampling = playground.preprocess.video_sampling

    def read(name: str, value: Any, low: int, high: float, check: Any = check_number) -> Any:
        empty = value is None or value == ""
        return None if empty else check(name, value, low=low, high=int(high))

    return FrameChoice(
        fps=read(say("frames per second"), fps, 0, sampling.MAX_SAMPLED_FPS),
        num_frames=read(
            say("the number of frames"),
            num_frames,
            sampling.MIN_SAMPLED_FRAMES,
            sampling.MAX_VIDEO_FRAMES,
            check_whole,
        ),
        start_s=read(say("the start of the time range"), start, 0, sampling.MAX_SECONDS),
        end_s=read(say("the end of the time range"), end, 0, sampling.MAX_SECONDS),
    )


def _read_video(engine: Engine, path: str, chosen: FrameChoice) -> PromptVideo:
    """Sample a video as the checkpoint's own video processor would, or as chosen."""
    sampling = playground.preprocess.video_sampling.VideoSampling.of_processor(
        engine.processor.video_processor
    )
    return playground.preprocess.media.read_video(
        path, chosen=chosen, sampling=sampling, max_pixels=engine.limits.max_image_pixels
    )


def _read_thinking(thinking: object) -> bool | None:
    """The template's ``enable_thinking``; None leaves it to the template."""
    if thinking is None or isinstance(thinking, bool):
        return thinking
    if not isinstance(thinking, str) or thinking not in THINKING:
        raise InputError(
            say("This choice for the thinking is not offered."),
            limit=say("It is on, off, or as the template has it."),
        )
    return THINKING[thinking]


def _check_question(text: str, *, has_media: bool, has_turns: bool) -> None:
    if text.strip():
        return
    if has_turns:
        raise InputError(
            say("There are earlier turns, but no question after them."),
            remedy=say("Write a question."),
        )
    if not has_media:
        raise InputError(
            say("There is nothing to run: the prompt has no text, image or video."),
            remedy=say("Write a question, add an image, or choose an example."),
        )


def _check_image_count(count: int) -> None:
    limit = playground.preprocess.stage.MAX_MEDIA
    if count > limit:
        raise InputError(
            say("The prompt has {count} images.", count=count),
            limit=say("At most {limit} are accepted.", limit=limit),
            remedy=say("Remove some of them."),
        )


def read_turns(text: str) -> tuple[Turn, ...]:
    """Parse a typed conversation: each message begins with ``User:`` or ``Assistant:`` on a new
    line. ``用户：`` and ``助手：`` also work. A message may span several lines.

    Raises:
        InputError: there is text before the first name, a message is empty, there are too many, or
            user and assistant do not alternate.
    """
    if not text.strip():
        return ()
    first, *parts = SPEAKER.split(text)
    turns = [
        Turn("user" if name.lower() in USER_NAMES else "assistant", words.strip())
        for name, words in zip(parts[::2], parts[1::2], strict=True)
    ]
    if first.strip() or not turns:
        raise InputError(
            say("The earlier turns do not say who speaks first."),
            remedy=say("Begin each message on a new line with “User:” or “Assistant:”."),
        )
    if len(turns) > MAX_EARLIER:
        raise InputError(
            say("There are {count} earlier turns.", count=len(turns)),
            limit=say("At most {limit} are accepted.", limit=MAX_EARLIER),
            remedy=say("Remove some of them."),
        )
    for number, turn in enumerate(turns):
        if turn.role != ("user", "assistant")[number % 2]:
            raise InputError(
                _who_repeats(number, turn.role),
                remedy=say("User and assistant must alternate, starting with the user."),
            )
        if not turn.text:
            raise InputError(
                say("Earlier turn {number} is empty.", number=number + 1),
                remedy=say("Fill it in or remove it."),
            )
    if turns[-1].role != "assistant":
        raise InputError(
            say("The last of the earlier turns has no answer."),
            remedy=say("Add an “Assistant:” line, or move the question to the text."),
        )
    return tuple(turns)


def _who_repeats(number: int, role: str) -> str:
    """Name the earlier turn, counted from 0, that breaks the alternation."""
    if number == 0:
        return say("The earlier turns begin with the assistant.")
    if role == "user":
        return say(
            "Earlier turn {number} is from the user, like the one before it.", number=number + 1
        )
    return say(
        "Earlier turn {number} is from the assistant, like the one before it.", number=number + 1
    )


def prompt_fingerprint(prompt: Prompt) -> str:
    """A hash of what the model gets from a prompt; names and notices do not count."""
    digest = hashlib.sha256()

    def add(*values: object) -> None:
        for value in values:
            data = str(value).encode("utf-8", errors="surrogatepass")
            # Lengths keep ("ab", "c") and ("a", "bc") apart.
            digest.update(len(data).to_bytes(8, "big") + data)

    def add_pixels(media: PromptImage | PromptVideo) -> None:
        array = media.pixels if isinstance(media, PromptImage) else media.frames
        add(array.shape)
        digest.update(array.tobytes())

    add(prompt.system, prompt.max_pixels, prompt.enable_thinking, len(prompt.turns))
    for turn in prompt.turns:
        add(turn.role, turn.text, len(turn.images), turn.video is not None)
        for image in turn.images:
            add_pixels(image)
        if turn.video is not None:
            add(turn.video.frame_indices, turn.video.fps, turn.video.total_num_frames)
            add(turn.video.seconds)
            add_pixels(turn.video)
    return digest.hexdigest()


def gallery_path(item: Any) -> str:
    """The uploaded file of a gallery item, which may show a preview of it.

    Raises:
        InputError: the item is no file, or the upload has been deleted.
    """
    path = item[0] if isinstance(item, list | tuple) and item else item
    if not isinstance(path, str):
        raise InputError(
            say("An image must be a file, not {kind}.", kind=kind_words(path)),
            remedy=say("Upload it again."),
        )
    return original_of(path)
