"""Questions and answers about one scene, in English and Chinese.

A question is only asked if the scene determines its answer.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from training.claims import ask_exists, ask_whether
from training.questions import (
    SIDE_WORDS,
    SIDES,
    Generator,
    Turn,
    count_answers,
    is_beside,
    make_turn,
    pick,
    refer,
    references,
)
from training.scenes import COLORS, DIGITS, KINDS, Scene, Shape
from training.words import (
    ZH_COLORS,
    ZH_KINDS,
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
    """Accepted descriptions: all shapes in reading order, with size, colour, kind and position."""
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
    """Count the shapes of one kind or colour, usually one that occurs in the scene."""
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


def ask_relation(scene: Scene, rng: Generator, language: str) -> Turn | None:
    """What is left of / right of / above / below a shape; only asked with at most one answer."""
    if len(scene.shapes) < 2:
        return None
    side = str(pick(rng, list(SIDES)))
    anchors = []
    for shape in scene.shapes:
        beside = [s for s in scene.shapes if is_beside(s, shape, side)]
        if len(beside) == 1 or (not beside and rng.random() < 0.02):
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
    """A turn of one task, or None if the scene does not determine an answer."""
    tasks = WRITING_TASKS if scene.writing is not None else SHAPE_TASKS
    return tasks[task](scene, rng, language)
