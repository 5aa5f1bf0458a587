"""Shared by all questions: the record of a turn, and phrases that identify one shape."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.scenes import Scene, Shape
from training.words import (
    EN_NUMBERS,
    ZH_NUMBERS,
    ZH_POSITIONS,
    capitalize,
    name_color,
    name_kind,
    name_place,
)

Generator = np.random.Generator


@dataclass(frozen=True, slots=True)
class Turn:
    """One question and all phrasings of its correct answer.

    Training samples one phrasing; the evaluation accepts any of them.
    """

    task: str
    language: str
    question: str
    answers: tuple[str, ...]


def pick(rng: Generator, options: tuple | list) -> object:
    return options[rng.integers(len(options))]


def make_turn(
    rng: Generator, task: str, language: str, questions: dict[str, list[str]], answers: list[str]
) -> Turn:
    """A turn with one of the phrasings of its language."""
    return Turn(task, language, str(pick(rng, questions[language])), tuple(answers))


def count_answers(number: int, noun_en: str, noun_zh: str, language: str) -> list[str]:
    """'Three.', 'There are three circles.' ..."""
    if language == "en":
        word = EN_NUMBERS[number]
        verb = "is" if number == 1 else "are"
        return [f"{capitalize(word)}.", f"There {verb} {word} {noun_en}."]
    word = ZH_NUMBERS[number]
    return [f"{word}个。", f"有{word}个{noun_zh}。"]


def is_only(scene: Scene, **facts: str) -> bool:
    """Whether exactly one shape has all these attribute values."""
    matches = [s for s in scene.shapes if all(getattr(s, k) == v for k, v in facts.items())]
    return len(matches) == 1


def references(scene: Scene, shape: Shape, language: str, *, hide: str = "") -> list[str]:
    """Ways to point at one shape ('the star', 'the red shape', 'the shape on the left').

    `hide` names the attribute that the question asks for and must not give away.
    """
    found = []
    kind, color = name_kind(shape.kind, language), name_color(shape.color, language)
    if hide != "kind" and is_only(scene, kind=shape.kind):
        found += [f"the {kind}" if language == "en" else kind] * 2
    if hide != "color" and is_only(scene, color=shape.color):
        found.append(f"the {color} shape" if language == "en" else f"{color}的图形")
    both = is_only(scene, color=shape.color, kind=shape.kind)
    if hide not in ("kind", "color") and both:
        found.append(f"the {color} {kind}" if language == "en" else f"{color}{kind}")
    if hide != "cell" and len(scene.shapes) > 1:
        place = name_place(shape.position, language)
        place_zh = ZH_POSITIONS[shape.position]
        found.append(f"the shape {place}" if language == "en" else f"{place_zh}的图形")
    elif hide != "cell" and not found:
        found.append("the shape" if language == "en" else "这个图形")
    return found


def refer(scene: Scene, rng: Generator, language: str, hide: str) -> tuple[Shape, str] | None:
    """A shape and a phrase that identifies it."""
    shape = scene.shapes[rng.integers(len(scene.shapes))]
    found = references(scene, shape, language, hide=hide)
    return (shape, str(pick(rng, found))) if found else None


# Side -> (axis, sign): the direction of the other shape, at least a third of a cell away.
SIDES = {"left": ("x", -1), "right": ("x", 1), "above": ("y", -1), "below": ("y", 1)}
MIN_OFFSET = 0.16  # fraction of the image


def is_beside(shape: Shape, anchor: Shape, side: str) -> bool:
    axis, sign = SIDES[side]
    return sign * (getattr(shape, axis) - getattr(anchor, axis)) > MIN_OFFSET


SIDE_WORDS = {
    "en": {
        "left": "to the left of",
        "right": "to the right of",
        "above": "above",
        "below": "below",
    },
    "zh": {"left": "左边", "right": "右边", "above": "上面", "below": "下面"},
}
