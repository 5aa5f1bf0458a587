"""Questions and answers about scenes laid out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from training import corpus
from training.corpus import (
    ask,
    ask_color,
    ask_count,
    ask_count_of,
    ask_describe,
    ask_exists,
    ask_kind,
    ask_order,
    ask_read,
    ask_relation,
    ask_size,
    ask_where,
    ask_whether,
    references,
)
from training.corpus_pairs import ask_about_one, ask_direction, ask_more, ask_same, ask_which
from training.motion import sample_clip
from training.scenes import Background, Scene, Shape, Writing
from training.talk import sample_talk

PAPER = Background("plain", (1.0, 1.0, 1.0), (1.0, 1.0, 1.0), 0.0, 0.0)
CIRCLE = Shape("circle", "red", "large", 3, 0.2, 0.5, 0.2, (1.0, 0.0, 0.0))
SQUARE = Shape("square", "blue", "small", 5, 0.8, 0.5, 0.13, (0.0, 0.0, 1.0))
TWO = Scene(160, 160, PAPER, (CIRCLE, SQUARE))
ONE = Scene(160, 160, PAPER, (CIRCLE,))
WRITTEN = Scene(
    160, 128, PAPER, writing=Writing("42", "green", (0.0, 0.6, 0.0), 0.5, 0.5, 0.5, 0, 0, 0, 0.1)
)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_describe() -> None:
    english, chinese = (ask_describe(TWO, rng(), language) for language in ("en", "zh"))
    assert (
        english.answers[0] == "A large red circle on the left and a small blue square on the right."
    )
    assert chinese.answers[0] == "左边有一个大的红色圆形，右边有一个小的蓝色正方形。"
    assert ask_describe(WRITTEN, rng(), "en").answers[0] == "The number 42 in green."
    assert ask_describe(WRITTEN, rng(), "zh").answers[0] == "绿色的数字42。"


def test_count() -> None:
    assert ask_count(TWO, rng(), "en").answers == ("Two.", "There are two shapes.")
    assert ask_count(ONE, rng(), "en").answers == ("One.", "There is one shape.")
    assert ask_count(TWO, rng(), "zh").answers == ("两个。", "有两个图形。")


def test_count_of_agrees_with_its_question() -> None:
    for seed in range(60):
        turn = ask_count_of(TWO, rng(seed), "en")
        present = any(word in turn.question for word in ("circles", "squares", "red", "blue"))
        assert turn.answers[0] == ("One." if present else "Zero."), turn


@pytest.mark.parametrize(
    ("language", "red", "blue"), [("en", "Red.", "Blue."), ("zh", "红色。", "蓝色。")]
)
def test_color(language: str, red: str, blue: str) -> None:
    circle = ("circle", "left", "large", "圆形", "左边")
    for seed in range(30):
        turn = ask_color(TWO, rng(seed), language)
        about_circle = any(word in turn.question for word in circle if word != "正方形")
        assert turn.answers[0] == (red if about_circle else blue), turn


def test_color_question_never_names_the_colour() -> None:
    for seed in range(30):
        question = ask_color(TWO, rng(seed), "en").question
        assert "red" not in question
        assert "blue" not in question


def test_shape_where_and_size() -> None:
    for seed in range(20):
        kind = ask_kind(TWO, rng(seed), "en")
        wanted = "A circle." if ("red" in kind.question or "left" in kind.question) else "A square."
        assert kind.answers[0] == wanted
        where = ask_where(TWO, rng(seed), "en")
        on_left = "red" in where.question or "circle" in where.question
        assert where.answers[0] == ("On the left." if on_left else "On the right.")
        size = ask_size(TWO, rng(seed), "zh")
        big = any(word in size.question for word in ("红", "圆形", "左"))
        assert size.answers[0] == ("大的。" if big else "小的。")


def test_relation() -> None:
    seen = set()
    for seed in range(200):
        turn = ask_relation(TWO, rng(seed), "en")
        if turn is not None:
            seen.add((turn.question.split(" is ")[1], turn.answers[0]))
    assert ("to the left of the square?", "A red circle.") in seen
    assert ("to the right of the circle?", "A blue square.") in seen
    assert ("above the circle?", "Nothing.") in seen
    assert ask_relation(ONE, rng(), "en") is None


def test_order() -> None:
    turns = [ask_order(TWO, rng(seed), "en") for seed in range(20)]
    answers = {turn.answers for turn in turns if turn is not None}
    assert answers == {("Red, blue.",), ("Circle, square.",)}


def test_read() -> None:
    assert ask_read(WRITTEN, rng(), "en").answers == ("42.", "The number is 42.")
    assert ask_read(WRITTEN, rng(), "zh").answers == ("42。", "数字是42。")
    letters = replace(WRITTEN, writing=replace(WRITTEN.writing, text="QX"))
    assert ask_read(letters, rng(), "en").task == "letters"


def test_yes_and_no_are_balanced_and_true() -> None:
    yes = 0
    turns = [ask_exists(TWO, rng(seed), "en") for seed in range(200)]
    for turn in (turn for turn in turns if turn is not None):
        noun = turn.question.replace(" in the image", "").rstrip("?").split(" a ", 1)[-1]
        words = set(noun.split(" an ")[-1].split()) - {"shape"}
        true = any(words <= {s.color, s.kind} for s in TWO.shapes)
        assert turn.answers[0] == ("Yes." if true else "No."), turn
        yes += true
    assert 70 < yes < 130


def test_whether_left_and_right() -> None:
    for seed in range(120):
        turn = ask_whether(TWO, rng(seed), "en")
        if turn is None:
            continue
        if turn.question == "Is the circle to the left of the square?":
            assert turn.answers == ("Yes.",)
        if turn.question == "Is the circle to the right of the square?":
            assert turn.answers == ("No.",)


def test_references_single_out_one_shape() -> None:
    twins = Scene(160, 160, PAPER, (CIRCLE, replace(CIRCLE, cell=5, x=0.8)))
    assert references(twins, twins.shapes[0], "en") == ["the shape on the left"]
    assert "the circle" in references(TWO, CIRCLE, "en")


def test_two_images() -> None:
    pair = (ONE, Scene(160, 160, PAPER, (SQUARE, replace(SQUARE, cell=0, x=0.2, y=0.2))))
    for seed in range(40):
        which = ask_which(pair, rng(seed), "en")
        first = "circle" in which.question or "red" in which.question
        assert which.answers[0] == ("The first image." if first else "The second image.")
        more = ask_more(pair, rng(seed), "zh")
        if "更多" in more.question:
            assert more.answers[0] == "第二张图。"
        else:
            assert more.answers[0] == ("一个。" if "第一" in more.question else "两个。")
        about = ask_about_one(pair, rng(seed), "en")
        assert about is None or about.answers[0] in ("Red.", "A circle.")
    assert ask_same(pair, rng(), "en") is None
    assert ask_same((ONE, ONE), rng(), "en").answers == ("Yes.",)


def test_direction() -> None:
    clip = replace(sample_clip(rng()), direction="up")
    assert ask_direction(clip, rng(), "en").answers == ("Up.", "It moves up.")
    assert ask_direction(clip, rng(), "zh").answers == ("向上。", "它向上移动。")


def test_every_task_answers_in_its_language() -> None:
    for task in corpus.SHAPE_TASKS:
        for seed in range(10):
            turn = ask(TWO, task, rng(seed), "zh")
            if turn is not None:
                assert all(answer.endswith("。") for answer in turn.answers)
                assert not any(char.isascii() and char.isalpha() for char in turn.question)


def test_talk() -> None:
    turns = [sample_talk(rng(seed)) for seed in range(200)]
    greetings = [turn for turn in turns if turn.question == "你好"]
    assert greetings
    assert all("你好！" in turn.answers[0] for turn in greetings)
