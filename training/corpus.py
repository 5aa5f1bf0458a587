"""Questions and answers about one scene, in English and Chinese.

A `Turn` lists every accepted phrasing of its answer: training draws one, the evaluation accepts
any. A question is only asked where the scene settles its answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from training.scenes import COLORS, DIGITS, KINDS, SIZES, Scene, Shape
from training.words import (
    EN_NUMBERS,
    ZH_COLORS,
    ZH_KINDS,
    ZH_NUMBERS,
    ZH_POSITIONS,
    ZH_SIZES,
    capitalize,
    name_color,
    name_kind,
    name_place,
    name_shape,
    plural,
    with_article,
)

Generator = np.random.Generator


@dataclass(frozen=True, slots=True)
class Turn:
    """One question and all phrasings of its right answer."""

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


DESCRIBE = {
    "en": [
        "Describe this image.",
        "Describe this image.",
        "Describe the image.",
        "Describe the picture.",
        "Please describe this image.",
        "What is in this image?",
        "What do you see?",
        "What can you see in this picture?",
        "What does this image show?",
    ],
    "zh": [
        "描述这张图片。",
        "描述这张图片。",
        "请描述这张图片。",
        "描述一下这张图。",
        "图里有什么？",
        "图片里有什么？",
        "你看到了什么？",
        "这张图片里有什么？",
    ],
}


def describe_shapes(shapes: tuple[Shape, ...], language: str) -> list[str]:
    """Accepted descriptions: every shape in reading order with size, colour, kind and place."""
    if language == "en":
        parts = [
            f"{with_article(name_shape(s, 'en', size=True))} {name_place(s.position, 'en')}"
            for s in shapes
        ]
        text = parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]
        return [f"{capitalize(start + text)}." for start in ("", "there is ", "the image shows ")]
    parts = [f"{ZH_POSITIONS[s.position]}有一个{name_shape(s, 'zh', size=True)}" for s in shapes]
    text = "，".join(parts)
    return [f"{start}{text}。" for start in ("", "图中", "图片的")]


def describe_writing(scene: Scene, language: str) -> list[str]:
    writing = scene.writing
    assert writing is not None
    number = writing.text[0] in DIGITS
    color = name_color(writing.color, language)
    if language == "en":
        noun = "number" if number else ("letter" if len(writing.text) == 1 else "letters")
        whole = f"the {noun} {writing.text} in {color}"
        return [f"{capitalize(start + whole)}." for start in ("", "the image shows ")]
    noun = "数字" if number else "字母"
    return [f"{start}{color}的{noun}{writing.text}。" for start in ("", "图中有")]


def ask_describe(scene: Scene, rng: Generator, language: str) -> Turn | None:
    if scene.writing is not None:
        answers = describe_writing(scene, language)
    else:
        answers = describe_shapes(scene.shapes, language)
    return make_turn(rng, "describe", language, DESCRIBE, answers)


def count_answers(number: int, noun_en: str, noun_zh: str, language: str) -> list[str]:
    """'Three.', 'There are three circles.' ..."""
    if language == "en":
        word = EN_NUMBERS[number]
        verb = "is" if number == 1 else "are"
        return [f"{capitalize(word)}.", f"There {verb} {word} {noun_en}."]
    word = ZH_NUMBERS[number]
    return [f"{word}个。", f"有{word}个{noun_zh}。"]


def ask_count(scene: Scene, rng: Generator, language: str) -> Turn | None:
    number = len(scene.shapes)
    questions = {
        "en": [
            "How many shapes are there?",
            "How many shapes are in the image?",
            "Count the shapes.",
            "How many objects do you see?",
        ],
        "zh": ["有几个图形？", "图中有几个图形？", "数一数有多少个图形。", "一共有几个图形？"],
    }
    noun = "shape" if number == 1 else "shapes"
    return make_turn(
        rng, "count", language, questions, count_answers(number, noun, "图形", language)
    )


def ask_count_of(scene: Scene, rng: Generator, language: str) -> Turn | None:
    """How many of one kind or one colour; mostly of one that is there."""
    by_kind = rng.random() < 0.5
    names = [s.kind if by_kind else s.color for s in scene.shapes]
    present = rng.random() < 0.75
    name = str(pick(rng, names) if present else pick(rng, KINDS if by_kind else COLORS))
    number = names.count(name)
    if by_kind:
        noun_en, noun_zh = plural(name), ZH_KINDS[name]
        single = name
    else:
        noun_en, noun_zh = f"{name} shapes", f"{ZH_COLORS[name]}的图形"
        single = f"{name} shape"
    questions = {
        "en": [f"How many {noun_en} are there?", f"Count the {noun_en}."],
        "zh": [f"有几个{noun_zh}？", f"图中有几个{noun_zh}？"],
    }
    noun = single if number == 1 else noun_en
    answers = count_answers(number, noun, noun_zh, language)
    if number == 0 and language == "zh":
        answers = [f"没有{noun_zh}。", "零个。"]
    return make_turn(rng, "count_of", language, questions, answers)


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
    """A shape and words that single it out."""
    shape = scene.shapes[rng.integers(len(scene.shapes))]
    found = references(scene, shape, language, hide=hide)
    return (shape, str(pick(rng, found))) if found else None


def ask_color(scene: Scene, rng: Generator, language: str) -> Turn | None:
    if scene.writing is not None:
        target = "the number" if scene.writing.text[0] in DIGITS else "the text"
        reference = target if language == "en" else ("数字" if target.endswith("r") else "字母")
        color = scene.writing.color
    else:
        found = refer(scene, rng, language, "color")
        if found is None:
            return None
        shape, reference = found
        color = shape.color
    questions = {
        "en": [
            f"What color is {reference}?",
            f"What is the color of {reference}?",
            f"Which color does {reference} have?",
        ],
        "zh": [
            f"{reference}是什么颜色？",
            f"{reference}是什么颜色的？",
            f"{reference}的颜色是什么？",
        ],
    }
    word = name_color(color, language)
    answers = (
        [f"{capitalize(word)}.", f"{capitalize(reference)} is {word}."]
        if language == "en"
        else [f"{word}。", f"{reference}是{word}的。"]
    )
    return make_turn(rng, "color", language, questions, answers)


def ask_kind(scene: Scene, rng: Generator, language: str) -> Turn | None:
    found = refer(scene, rng, language, "kind")
    if found is None:
        return None
    shape, reference = found
    questions = {
        "en": [f"What is {reference}?", f"Which shape is it: {reference}?"],
        "zh": [f"{reference}是什么形状？", f"{reference}是什么形状的？"],
    }
    if reference.startswith("the shape"):
        where = reference.removeprefix("the shape").strip() or "in the image"
        questions["en"] = [f"What shape is {where}?", f"Which shape is {where}?"]
    elif reference.endswith(" shape"):
        color = reference.removeprefix("the ").removesuffix(" shape")
        questions["en"] = [
            f"What shape is {color}?",
            f"What is the {color} shape?",
            f"Which shape is {color}?",
        ]
    word = name_kind(shape.kind, language)
    answers = (
        [f"{capitalize(with_article(word))}.", f"It is {with_article(word)}."]
        if language == "en"
        else [f"{word}。", f"是{word}。"]
    )
    return make_turn(rng, "shape", language, questions, answers)


def ask_where(scene: Scene, rng: Generator, language: str) -> Turn | None:
    found = refer(scene, rng, language, "cell")
    if found is None:
        return None
    shape, reference = found
    questions = {
        "en": [f"Where is {reference}?", f"Where is {reference} in the image?"],
        "zh": [f"{reference}在哪里？", f"{reference}在哪？", f"{reference}在什么位置？"],
    }
    place = name_place(shape.position, language)
    answers = [f"{capitalize(place)}.", f"It is {place}."] if language == "en" else [f"{place}。"]
    return make_turn(rng, "where", language, questions, answers)


def ask_size(scene: Scene, rng: Generator, language: str) -> Turn | None:
    found = refer(scene, rng, language, "size")
    if found is None:
        return None
    shape, reference = found
    questions = {
        "en": [f"Is {reference} small or large?", f"How big is {reference}?"],
        "zh": [f"{reference}是大还是小？", f"{reference}有多大？"],
    }
    answers = (
        [f"{capitalize(shape.size)}.", f"It is {shape.size}."]
        if language == "en"
        else [f"{ZH_SIZES[shape.size]}的。", f"是{ZH_SIZES[shape.size]}的。"]
    )
    return make_turn(rng, "size", language, questions, answers)


# Side -> (axis, sign): which way a shape must lie, and by more than a third of a cell.
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


def ask_relation(scene: Scene, rng: Generator, language: str) -> Turn | None:
    """What is left of / right of / above / below a shape; at most one answer must fit."""
    if len(scene.shapes) < 2:
        return None
    side = str(pick(rng, list(SIDES)))
    anchors = []
    for shape in scene.shapes:
        beside = [s for s in scene.shapes if is_beside(s, shape, side)]
        if len(beside) == 1 or (not beside and rng.random() < 0.25):
            anchors.append((shape, beside))
    if not anchors:
        return None
    anchor, beside = anchors[rng.integers(len(anchors))]
    found = references(scene, anchor, language)
    found = [text for text in found if "shape " not in text and "角" not in text]
    if not found:
        return None
    reference = str(pick(rng, found))
    word = SIDE_WORDS[language][side]
    questions = {
        "en": [f"What is {word} {reference}?", f"Which shape is {word} {reference}?"],
        "zh": [f"{reference}的{word}是什么？", f"{reference}{word}有什么？"],
    }
    if not beside:
        answers = ["Nothing."] if language == "en" else ["什么都没有。"]
    elif language == "en":
        noun = with_article(name_shape(beside[0], "en"))
        answers = [f"{capitalize(noun)}.", f"It is {noun}."]
    else:
        noun = name_shape(beside[0], "zh")
        answers = [f"{noun}。", f"一个{noun}。"]
    return make_turn(rng, "relation", language, questions, answers)


def ask_order(scene: Scene, rng: Generator, language: str) -> Turn | None:
    """Colours or kinds from left to right or top to bottom."""
    if len(scene.shapes) < 2:
        return None
    axis = str(pick(rng, ("x", "y")))
    shapes = sorted(scene.shapes, key=lambda s: getattr(s, axis))
    places = [getattr(s, axis) for s in shapes]
    if min(b - a for a, b in pairwise(places)) < 0.14:
        return None
    by_color = rng.random() < 0.5
    names = [
        name_color(s.color, language) if by_color else name_kind(s.kind, language) for s in shapes
    ]
    way_en = "from left to right" if axis == "x" else "from top to bottom"
    way_zh = "从左到右" if axis == "x" else "从上到下"
    noun_en, noun_zh = ("colors", "颜色") if by_color else ("shapes", "形状")
    questions = {
        "en": [
            f"List the {noun_en} {way_en}.",
            f"Name the {noun_en} {way_en}.",
            f"What are the {noun_en} {way_en}?",
        ],
        "zh": [f"{way_zh}说出{noun_zh}。", f"{way_zh}依次是什么{noun_zh}？"],
    }
    answer = f"{capitalize(', '.join(names))}." if language == "en" else "、".join(names) + "。"
    return make_turn(rng, "order", language, questions, [answer])


def ask_read(scene: Scene, rng: Generator, language: str) -> Turn | None:
    writing = scene.writing
    if writing is None:
        return None
    text = writing.text
    if text[0] in DIGITS:
        task = "digits"
        questions = {
            "en": [
                "What number is shown?",
                "Read the number.",
                "Read the digits.",
                "What is the number in the image?",
                "Which number do you see?",
            ],
            "zh": ["图中的数字是什么？", "读出数字。", "这是什么数字？", "图里写的是什么数字？"],
        }
        long = f"The number is {text}." if language == "en" else f"数字是{text}。"
    else:
        task = "letters"
        questions = {
            "en": [
                "What letters are shown?",
                "Read the letters.",
                "What does the text say?",
                "Read the text.",
            ],
            "zh": ["图中的字母是什么？", "读出字母。", "这是什么字母？", "图里写的是什么字母？"],
        }
        long = f"The text is {text}." if language == "en" else f"字母是{text}。"
    short = f"{text}." if language == "en" else f"{text}。"
    return make_turn(rng, task, language, questions, [short, long])


def _absent_pair(scene: Scene, rng: Generator) -> tuple[str, str] | None:
    """A colour and kind not there together, as near to the scene as can be."""
    there = {(s.color, s.kind) for s in scene.shapes}
    shape = scene.shapes[rng.integers(len(scene.shapes))]
    other = scene.shapes[rng.integers(len(scene.shapes))]
    roll = rng.random()
    if roll < 0.4 and len(scene.shapes) > 1:
        pair = (shape.color, other.kind)
    elif roll < 0.7:
        pair = (shape.color, str(pick(rng, KINDS)))
    else:
        pair = (str(pick(rng, COLORS)), shape.kind)
    return None if pair in there else pair


def ask_exists(scene: Scene, rng: Generator, language: str) -> Turn | None:
    """Is there a ...? By colour and kind, by kind, or by colour."""
    yes = rng.random() < 0.5
    roll = rng.random()
    shape = scene.shapes[rng.integers(len(scene.shapes))]
    if any(s.mix is not None for s in scene.shapes):
        return None
    if roll < 0.5:
        pair = (shape.color, shape.kind) if yes else _absent_pair(scene, rng)
        if pair is None:
            return None
        noun_en, noun_zh = f"{pair[0]} {pair[1]}", ZH_COLORS[pair[0]] + ZH_KINDS[pair[1]]
    else:
        by_kind = roll < 0.78
        values = KINDS if by_kind else COLORS
        there = {s.kind if by_kind else s.color for s in scene.shapes}
        absent = [value for value in values if value not in there]
        value = (shape.kind if by_kind else shape.color) if yes else str(pick(rng, absent))
        noun_en = value if by_kind else f"{value} shape"
        noun_zh = ZH_KINDS[value] if by_kind else f"{ZH_COLORS[value]}的图形"
    article = with_article(noun_en)
    questions = {
        "en": [
            f"Is there {article}?",
            f"Is there {article} in the image?",
            f"Do you see {article}?",
        ],
        "zh": [f"有{noun_zh}吗？", f"图中有{noun_zh}吗？", f"有没有{noun_zh}？"],
    }
    if language == "en":
        long = f"Yes, there is {article}." if yes else f"No, there is no {noun_en}."
        answers = ["Yes." if yes else "No.", long]
    else:
        answers = ["有。", f"有{noun_zh}。"] if yes else ["没有。", f"没有{noun_zh}。"]
    return make_turn(rng, "yes_no", language, questions, answers)


def ask_whether(scene: Scene, rng: Generator, language: str) -> Turn | None:
    """Is the star red / large / a star / left of the circle?"""
    yes = rng.random() < 0.5
    claim = str(pick(rng, ("color", "kind", "size", "side", "side")))
    if claim == "side":
        claimed = _claim_side(scene, rng, language, yes)
    else:
        claimed = _claim_attribute(scene, rng, language, claim, yes)
    if claimed is None:
        return None
    question, answers = claimed, ["Yes."] if yes else ["No."]
    if language == "zh":
        answers = ["是的。"] if yes else ["不是。"]
    return Turn("yes_no", language, question, tuple(answers))


def _claim_attribute(
    scene: Scene, rng: Generator, language: str, claim: str, yes: bool
) -> str | None:
    found = refer(scene, rng, language, claim)
    if found is None or (claim == "color" and found[0].mix is not None):
        return None
    shape, reference = found
    values = {"color": COLORS, "kind": KINDS, "size": SIZES}[claim]
    value = getattr(shape, claim)
    if not yes:
        nearby = [getattr(s, claim) for s in scene.shapes if getattr(s, claim) != value]
        wrong = nearby if nearby and rng.random() < 0.6 else [v for v in values if v != value]
        value = str(pick(rng, wrong))
    if claim == "color":
        word = name_color(value, language)
    elif claim == "kind":
        word = with_article(value) if language == "en" else ZH_KINDS[value]
    else:
        word = value if language == "en" else ZH_SIZES[value]
    end = "" if claim == "kind" else "的"
    return f"Is {reference} {word}?" if language == "en" else f"{reference}是{word}{end}吗？"


def _claim_side(scene: Scene, rng: Generator, language: str, yes: bool) -> str | None:
    side = str(pick(rng, list(SIDES)))
    opposite = {"left": "right", "right": "left", "above": "below", "below": "above"}[side]
    pairs = [
        (a, b)
        for a in scene.shapes
        for b in scene.shapes
        if is_beside(a, b, side if yes else opposite)
        and is_only(scene, kind=a.kind)
        and is_only(scene, kind=b.kind)
    ]
    if not pairs:
        return None
    first, second = pairs[rng.integers(len(pairs))]
    word = SIDE_WORDS[language][side]
    if language == "en":
        return f"Is the {first.kind} {word} the {second.kind}?"
    return f"{ZH_KINDS[first.kind]}在{ZH_KINDS[second.kind]}的{word}吗？"


Ask = Callable[[Scene, Generator, str], Turn | None]
SHAPE_TASKS: dict[str, Ask] = {
    "describe": ask_describe,
    "count": ask_count,
    "count_of": ask_count_of,
    "color": ask_color,
    "shape": ask_kind,
    "where": ask_where,
    "size": ask_size,
    "relation": ask_relation,
    "order": ask_order,
    "exists": ask_exists,
    "whether": ask_whether,
}
WRITING_TASKS: dict[str, Ask] = {
    "describe": ask_describe,
    "read": ask_read,
    "color": ask_color,
}


def ask(scene: Scene, task: str, rng: Generator, language: str) -> Turn | None:
    """A turn of one task, or None where the scene does not settle any answer."""
    tasks = WRITING_TASKS if scene.writing is not None else SHAPE_TASKS
    return tasks[task](scene, rng, language)
