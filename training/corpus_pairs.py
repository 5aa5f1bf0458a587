"""Questions about two images in one prompt, and about a short video of one moving shape."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from training.corpus import describe_shapes
from training.motion import Clip
from training.questions import Turn, count_answers, make_turn, pick
from training.scenes import KINDS, Scene
from training.words import (
    EN_DIRECTIONS,
    ORDINALS,
    ZH_DIRECTIONS,
    capitalize,
    name_color,
    name_kind,
    name_shape,
    with_article,
)

Generator = np.random.Generator
Pair = tuple[Scene, Scene]


def name_image(index: int, language: str) -> str:
    ordinal = ORDINALS[language][index]
    return f"the {ordinal} image" if language == "en" else f"{ordinal}张图"


def which_answers(index: int, language: str) -> list[str]:
    name = name_image(index, language)
    if language == "en":
        return [f"{capitalize(name)}.", f"It is {name}."]
    return [f"{name}。", f"是{name}。"]


def ask_which(pair: Pair, rng: Generator, language: str) -> Turn | None:
    """Which image shows a kind or colour that the other does not?"""
    by_kind = rng.random() < 0.5
    names = [{s.kind if by_kind else s.color for s in scene.shapes} for scene in pair]
    only = [(index, name) for index in (0, 1) for name in sorted(names[index] - names[1 - index])]
    if not only:
        return None
    index, name = only[rng.integers(len(only))]
    if by_kind:
        noun = with_article(name) if language == "en" else name_kind(name, "zh")
    else:
        noun = (
            with_article(f"{name} shape") if language == "en" else f"{name_color(name, 'zh')}的图形"
        )
    questions = {
        "en": [f"Which image has {noun}?", f"In which image is there {noun}?"],
        "zh": [f"哪张图有{noun}？", f"哪一张图里有{noun}？"],
    }
    return make_turn(rng, "pair", language, questions, which_answers(index, language))


def ask_about_one(pair: Pair, rng: Generator, language: str) -> Turn | None:
    """Colour or kind of the only shape of one of the images."""
    index = int(rng.integers(2))
    if len(pair[index].shapes) != 1:
        return None
    shape = pair[index].shapes[0]
    where_en, where_zh = f"in {name_image(index, 'en')}", name_image(index, "zh")
    if rng.random() < 0.5:
        word = name_color(shape.color, language)
        questions = {
            "en": [
                f"What color is the shape {where_en}?",
                f"What color is the {shape.kind} {where_en}?",
            ],
            "zh": [f"{where_zh}里的图形是什么颜色？", f"{where_zh}是什么颜色？"],
        }
        answers = [f"{capitalize(word)}."] if language == "en" else [f"{word}。"]
    else:
        word = name_kind(shape.kind, language)
        questions = {
            "en": [f"What shape is {where_en}?", f"Which shape is {where_en}?"],
            "zh": [f"{where_zh}里是什么形状？", f"{where_zh}是什么形状？"],
        }
        article = with_article(word)
        answers = (
            [f"{capitalize(article)}.", f"It is {article}."]
            if language == "en"
            else [f"{word}。", f"是{word}。"]
        )
    return make_turn(rng, "pair", language, questions, answers)


def ask_more(pair: Pair, rng: Generator, language: str) -> Turn | None:
    """Which image has more shapes, or how many shapes one image has."""
    counts = [len(scene.shapes) for scene in pair]
    if rng.random() < 0.5 and counts[0] != counts[1]:
        questions = {
            "en": ["Which image has more shapes?", "In which image are there more shapes?"],
            "zh": ["哪张图的图形更多？", "哪一张图里的图形更多？"],
        }
        index = int(counts[1] > counts[0])
        return make_turn(rng, "pair", language, questions, which_answers(index, language))
    index = int(rng.integers(2))
    questions = {
        "en": [f"How many shapes are in {name_image(index, 'en')}?"],
        "zh": [f"{name_image(index, 'zh')}有几个图形？"],
    }
    noun = "shape" if counts[index] == 1 else "shapes"
    answers = count_answers(counts[index], noun, "图形", language)
    return make_turn(rng, "pair", language, questions, answers)


def ask_same(pair: Pair, rng: Generator, language: str) -> Turn | None:
    """Whether two images of one shape have the same colour or kind."""
    if any(len(scene.shapes) != 1 or scene.shapes[0].mix is not None for scene in pair):
        return None
    first, second = pair[0].shapes[0], pair[1].shapes[0]
    if rng.random() < 0.5:
        same = first.color == second.color
        questions = {
            "en": ["Are the two shapes the same color?", "Do both images show the same color?"],
            "zh": ["两张图的颜色一样吗？", "两个图形的颜色一样吗？"],
        }
    else:
        same = first.kind == second.kind
        questions = {
            "en": ["Are the two shapes the same?", "Do both images show the same shape?"],
            "zh": ["两张图的形状一样吗？", "两个图形的形状一样吗？"],
        }
    if language == "en":
        answers = ["Yes."] if same else ["No."]
    else:
        answers = ["一样。"] if same else ["不一样。"]
    return make_turn(rng, "pair", language, questions, answers)


def ask_describe_one(pair: Pair, rng: Generator, language: str) -> Turn | None:
    """Describe one of the two images, or name what each shows."""
    if rng.random() < 0.6 or any(len(scene.shapes) != 1 for scene in pair):
        index = int(rng.integers(2))
        questions = {
            "en": [
                f"Describe {name_image(index, 'en')}.",
                f"What is in {name_image(index, 'en')}?",
            ],
            "zh": [
                f"描述{name_image(index, 'zh')}。",
                f"{name_image(index, 'zh')}里有什么？",
            ],
        }
        answers = describe_shapes(pair[index].shapes, language)
        return make_turn(rng, "pair_describe", language, questions, answers)
    names = [name_shape(scene.shapes[0], language) for scene in pair]
    questions = {
        "en": ["Compare the two images.", "What do the two images show?"],
        "zh": ["比较这两张图。", "两张图分别是什么？"],
    }
    if language == "en":
        nouns = [with_article(name) for name in names]
        answers = [f"The first image shows {nouns[0]} and the second image shows {nouns[1]}."]
    else:
        answers = [f"第一张图是{names[0]}，第二张图是{names[1]}。"]
    return make_turn(rng, "pair_describe", language, questions, answers)


PAIR_TASKS: dict[str, Callable[[Pair, Generator, str], Turn | None]] = {
    "which": ask_which,
    "about_one": ask_about_one,
    "more": ask_more,
    "same": ask_same,
    "describe_one": ask_describe_one,
}


def ask_pair(pair: Pair, rng: Generator, language: str, task: str = "") -> Turn | None:
    """A turn about two images, of one task of PAIR_TASKS or a random one."""
    return PAIR_TASKS[task or str(pick(rng, list(PAIR_TASKS)))](pair, rng, language)


def ask_direction(clip: Clip, rng: Generator, language: str) -> Turn:
    kind = clip.shape.kind
    questions = {
        "en": [
            "Which way does the shape move?",
            "In which direction does it move?",
            f"Where is the {kind} moving?",
            "Which way is it moving?",
        ],
        "zh": [
            "图形往哪个方向移动？",
            "它向哪边移动？",
            f"{name_kind(kind, 'zh')}向哪个方向移动？",
            "它往哪里走？",
        ],
    }
    if language == "en":
        way = EN_DIRECTIONS[clip.direction]
        answers = [f"{capitalize(way)}.", f"It moves {way}."]
    else:
        way = ZH_DIRECTIONS[clip.direction]
        answers = [f"{way}。", f"它{way}移动。"]
    return make_turn(rng, "direction", language, questions, answers)


def ask_clip_attribute(clip: Clip, rng: Generator, language: str) -> Turn:
    if rng.random() < 0.5:
        word = name_color(clip.shape.color, language)
        questions = {
            "en": ["What color is the moving shape?", "What color is the shape in the video?"],
            "zh": ["移动的图形是什么颜色？", "视频里的图形是什么颜色？"],
        }
        answers = [f"{capitalize(word)}."] if language == "en" else [f"{word}。"]
    else:
        word = name_kind(clip.shape.kind, language)
        questions = {
            "en": ["What shape is moving?", "Which shape is in the video?"],
            "zh": ["移动的是什么形状？", "视频里是什么形状？"],
        }
        noun = with_article(word)
        answers = (
            [f"{capitalize(noun)}.", f"It is {noun}."]
            if language == "en"
            else [f"{word}。", f"是{word}。"]
        )
    return make_turn(rng, "clip", language, questions, answers)


def ask_clip_describe(clip: Clip, rng: Generator, language: str) -> Turn:
    questions = {
        "en": [
            "Describe this video.",
            "Describe the video.",
            "What happens in this video?",
            "What happens?",
        ],
        "zh": ["描述这段视频。", "请描述这个视频。", "视频里发生了什么？", "发生了什么？"],
    }
    if language == "en":
        noun = with_article(name_shape(clip.shape, "en"))
        answers = [f"{capitalize(noun)} moves {EN_DIRECTIONS[clip.direction]}."]
    else:
        noun = name_shape(clip.shape, "zh")
        answers = [f"一个{noun}{ZH_DIRECTIONS[clip.direction]}移动。"]
    return make_turn(rng, "clip_describe", language, questions, answers)


def ask_clip_whether(clip: Clip, rng: Generator, language: str) -> Turn:
    yes = rng.random() < 0.5
    others = [d for d in EN_DIRECTIONS if d != clip.direction]
    way = clip.direction if yes else str(pick(rng, others))
    kind = clip.shape.kind if rng.random() < 0.5 else ""
    assert not kind or kind in KINDS
    if language == "en":
        question = f"Is the {kind or 'shape'} moving {EN_DIRECTIONS[way]}?"
        answer = "Yes." if yes else "No."
    else:
        subject = name_kind(kind, "zh") if kind else "图形"
        question = f"{subject}是{ZH_DIRECTIONS[way]}移动吗？"
        answer = "是的。" if yes else "不是。"
    return Turn("clip", language, question, (answer,))


CLIP_TASKS: dict[str, Callable[[Clip, Generator, str], Turn]] = {
    "direction": ask_direction,
    "attribute": ask_clip_attribute,
    "describe": ask_clip_describe,
    "whether": ask_clip_whether,
}


def ask_clip(clip: Clip, rng: Generator, language: str, task: str = "") -> Turn:
    """A turn about a video, of one task of CLIP_TASKS or a random one."""
    return CLIP_TASKS[task or str(pick(rng, list(CLIP_TASKS)))](clip, rng, language)
