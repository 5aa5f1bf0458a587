"""Requests from what is typed: a picture by name, turns by their first word, a log line by line."""

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
from playground.records import Clip, ModelInputs, Picture, Prompt, Turn

if TYPE_CHECKING:
    from playground.pipeline import Run

NO_PICTURE = mark("no picture")
RUN_PICTURES = mark("this run's")

# Our own scenes. Star and heart have as many tokens as each other, and so have the first three.
SCENES = {
    mark("circle and square"): "circle_and_square.png",
    mark("four shapes"): "four_shapes.png",
    mark("red or orange"): "red_or_orange.png",
    mark("star"): "first.png",
    mark("heart"): "second.png",
    mark("number 42"): "digits.png",
}
PICTURE_CHOICES = [NO_PICTURE, RUN_PICTURES, *SCENES]


def picture_choices() -> list[tuple[str, str]]:
    """``PICTURE_CHOICES`` as a list offers them: what it shows, and the name."""
    return [(say(name), name) for name in PICTURE_CHOICES]


def list_pictures() -> str:
    """All of them in a sentence."""
    return say(", ").join(say(name) for name in PICTURE_CHOICES)


def say_picture(name: str) -> str:
    """A picture's name as the page says it; that of an upload is the visitor's own."""
    return say(name) if name in PICTURE_CHOICES else name


def say_log(log: str) -> str:
    """A log of ours with its pictures as the page says them."""
    lines = [line.split(" | ", 2) for line in log.splitlines()]
    return "\n".join(f"{who} | {say_picture(name)} | {asked}" for who, name, asked in lines)


@lru_cache(maxsize=16)
def read_scene(name: str) -> Picture:
    """One of our own scenes.

    Raises:
        InputError: there is no such scene.
    """
    if name not in SCENES:
        raise InputError(
            say("There is no picture named {name}.", name=repr(name[:40])),
            limit=say("Choose {names}.", names=list_pictures()),
        )
    picture = playground.preprocess.media.read_picture(EXAMPLES_FOLDER / SCENES[name], name=name)
    return picture


def choose_media(run: Run, choice: object) -> tuple[tuple[Picture, ...], Clip | None]:
    """The pictures and the clip that a choice of the page stands for.

    Raises:
        InputError: it is none that the page offers.
    """
    if not isinstance(choice, str):
        raise InputError(say("A picture is chosen by its name."))
    if choice == NO_PICTURE:
        return (), None
    if choice == RUN_PICTURES:
        return run.prompt.pictures, (run.prompt.clips[0] if run.prompt.clips else None)
    return (read_scene(choice),), None


def split_turns(text: str) -> list[tuple[str, str]]:
    """A typed conversation as (role, text), its speakers named as in the page's earlier turns.

    What stands before the first speaker is the user's.
    """
    first, *parts = SPEAKER.split(text)
    turns = [("user", first.strip())] if first.strip() or not parts else []
    pairs = zip(parts[::2], parts[1::2], strict=True)
    return turns + [
        ("user" if name.lower() in USER_NAMES else "assistant", words.strip())
        for name, words in pairs
    ]


def build_prompt(run: Run, name: str, text: object, choice: object, system: object = "") -> Prompt:
    """A request: its turns, the pictures before the first one, and a system prompt.

    Args:
        run: gives its pictures and its limit of pixels.
        name: of the request, as a message begins: Request 2.
        text: as it was typed.
        choice: of ``PICTURE_CHOICES``.
        system: the system prompt; the run's own where it is empty.

    Raises:
        InputError: the text is none, the request is empty, or there is no such picture.
    """
    typed = check_text(name, text)
    pictures, clip = choose_media(run, choice)
    if not typed.strip() and not pictures and clip is None:
        raise InputError(say("{setting} is empty.", setting=name), remedy=say("Write a few words."))
    turns = [
        Turn("assistant" if role == "assistant" else "user", words)
        for role, words in split_turns(typed)
    ]
    if turns[0].role == "user":
        turns[0] = Turn("user", turns[0].text, pictures, clip)
    return Prompt(
        tuple(turns),
        system=check_text(say("The system prompt"), system).strip() or run.prompt.system,
        max_pixels=run.prompt.max_pixels,
    )


def without_pixels(inputs: ModelInputs) -> ModelInputs:
    """A request without what the vision tower was given, which is most of its memory."""
    return replace(inputs, pixel_values=None, pixel_values_videos=None)


def parse_log(text: object) -> list[tuple[str, str, str]]:
    """A log as (session, picture, question), one request per line: ``A | star | What is it?``.

    Raises:
        InputError: a line has other than three parts, or the log is empty or too long.
    """
    rows = []
    spoken = {say(name): name for name in PICTURE_CHOICES}
    for number, line in enumerate(check_text(say("The log"), text).splitlines(), 1):
        if not line.strip():
            continue
        parts = [part.strip() for part in line.split("|", 2)]
        if len(parts) != 3 or not parts[0] or not parts[2]:
            raise InputError(
                say(
                    "Line {number} of the log is no request: {line}.",
                    number=number,
                    line=repr(line.strip()[:60]),
                ),
                limit=say("A line is: session | picture | question."),
                remedy=say(
                    "For example: A | star | What is it? Without a picture: {name}.",
                    name=say(NO_PICTURE),
                ),
            )
        picture = spoken.get(parts[1], parts[1] or NO_PICTURE)
        rows.append((parts[0][:20], picture, parts[2]))
    playground.kv_cache.log.check_log(rows)
    return rows
