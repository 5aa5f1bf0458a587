"""Parse what is typed into requests: an image by name, turns by their speaker, logs by line."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

import playground
from components.prompt.checks import check_text
from components.prompt.examples import EXAMPLES_FOLDER
from components.prompt.reader import SPEAKER, USER_NAMES
from playground.errors import InputError
from playground.language import mark, say
from playground.prompt import Prompt, PromptImage, PromptVideo, Turn
from playground.records import ModelInputs

if TYPE_CHECKING:
    from playground.pipeline import Run

# Names of the choices, as links and logs hold them; LABELS has what the page shows.
NO_IMAGE = "no picture"
RUN_IMAGES = "this run's"

# Example images. Star and heart have equally many tokens, and so do the first three.
SCENES = {
    mark("circle and square"): "circle_and_square.png",
    mark("four shapes"): "four_shapes.png",
    mark("red or orange"): "red_or_orange.png",
    mark("star"): "first.png",
    mark("heart"): "second.png",
    mark("number 42"): "digits.png",
}
LABELS = {
    NO_IMAGE: mark("no image"),
    RUN_IMAGES: mark("this run's image"),
    **{name: name for name in SCENES},
}
IMAGE_CHOICES = list(LABELS)


def image_choices() -> list[tuple[str, str]]:
    """``IMAGE_CHOICES`` as (label, name) pairs for a control."""
    return [(say(label), name) for name, label in LABELS.items()]


def list_images() -> str:
    """The labels of all choices, separated by commas."""
    return say(", ").join(say(label) for label in LABELS.values())


def say_image(name: str) -> str:
    """The label of an image in the page's language; an upload keeps its own name."""
    return say(LABELS[name]) if name in LABELS else name


def say_log(log: str) -> str:
    """A preset log with its image names in the page's language."""
    lines = [line.split(" | ", 2) for line in log.splitlines()]
    return "\n".join(f"{who} | {say_image(name)} | {asked}" for who, name, asked in lines)


@lru_cache(maxsize=16)
def read_scene(name: str) -> PromptImage:
    """Read one of the example images.

    Raises:
        InputError: there is no such image.
    """
    if name not in SCENES:
        raise InputError(
            say("There is no image named {name}.", name=repr(name[:40])),
            limit=say("Choose one of: {names}.", names=list_images()),
        )
    image = playground.preprocess.media.read_image(EXAMPLES_FOLDER / SCENES[name], name=name)
    return image


def choose_media(run: Run, choice: object) -> tuple[tuple[PromptImage, ...], PromptVideo | None]:
    """The images and the video that a choice stands for.

    Raises:
        InputError: the page does not offer this choice.
    """
    if not isinstance(choice, str):
        raise InputError(say("The image must be given by name."))
    if choice == NO_IMAGE:
        return (), None
    if choice == RUN_IMAGES:
        return run.prompt.images, (run.prompt.videos[0] if run.prompt.videos else None)
    return (read_scene(choice),), None


def split_turns(text: str) -> list[tuple[str, str]]:
    """Split a typed conversation into (role, text) turns at its speaker names.

    Text before the first speaker belongs to the user.
    """
    first, *parts = SPEAKER.split(text)
    turns = [("user", first.strip())] if first.strip() or not parts else []
    pairs = zip(parts[::2], parts[1::2], strict=True)
    return turns + [
        ("user" if name.lower() in USER_NAMES else "assistant", said.strip())
        for name, said in pairs
    ]


def build_prompt(run: Run, name: str, text: object, choice: object, system: object = "") -> Prompt:
    """Build a request: its turns, with the images before the first one, and a system prompt.

    Args:
        run: provides its images and its pixel limit.
        name: the request's name in error messages, such as "Request 2".
        text: as typed.
        choice: one of ``IMAGE_CHOICES``.
        system: the system prompt; if empty, the run's own.

    Raises:
        InputError: the text is not a string, the request is empty, or there is no such image.
    """
    typed = check_text(name, text)
    images, video = choose_media(run, choice)
    if not typed.strip() and not images and video is None:
        raise InputError(say("{setting} is empty.", setting=name), remedy=say("Write some text."))
    turns = [
        Turn("assistant" if role == "assistant" else "user", said)
        for role, said in split_turns(typed)
    ]
    if turns[0].role == "user":
        turns[0] = Turn("user", turns[0].text, images, video)
    return Prompt(
        tuple(turns),
        system=check_text(say("The system prompt"), system).strip() or run.prompt.system,
        max_pixels=run.prompt.max_pixels,
    )


def without_pixels(inputs: ModelInputs) -> ModelInputs:
    """A request without its pixel values, which take most of its memory."""
    return replace(inputs, pixel_values=None, pixel_values_videos=None)


def parse_log(text: object) -> list[tuple[str, str, str]]:
    """Parse a log into (session, image, question), one request per line, as ``A | star | Why?``.

    Raises:
        InputError: a line does not have three parts, or the log is empty or too long.
    """
    rows = []
    names = {text: name for name, label in LABELS.items() for text in (label, say(label))}
    for number, line in enumerate(check_text(say("The log"), text).splitlines(), 1):
        if not line.strip():
            continue
        parts = [part.strip() for part in line.split("|", 2)]
        if len(parts) != 3 or not parts[0] or not parts[2]:
            raise InputError(
                say(
                    "Line {number} of the log is not a request: {line}.",
                    number=number,
                    line=repr(line.strip()[:60]),
                ),
                limit=say("Each line must be: session | image | question."),
                remedy=say(
                    "For example: A | star | What is it? For no image, write: {name}.",
                    name=say_image(NO_IMAGE),
                ),
            )
        image = names.get(parts[1], parts[1] or NO_IMAGE)
        rows.append((parts[0][:20], image, parts[2]))
    playground.kv_cache.log.check_log(rows)
    return rows
