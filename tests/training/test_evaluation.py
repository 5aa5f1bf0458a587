"""Scores worked out by hand, held-out items, and the ablations' switches."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from training.ablations import (
    ABLATIONS,
    flat_positions,
    no_vision_rope,
    swap_pictures,
    zero_deepstack,
    zero_position_grid,
)
from training.evaluate import END, START, format_table, write_card
from training.evaluation import (
    ALL_TASKS,
    Answerer,
    Item,
    build_items,
    parse_description,
    score_exact,
    score_slots,
)
from training.questions import Turn
from training.scenes import Shape
from training.words import LANGUAGES

CIRCLE = Shape("circle", "red", "large", 3, 0.2, 0.5, 0.2, (1.0, 0.0, 0.0))
SQUARE = Shape("square", "blue", "small", 5, 0.8, 0.5, 0.13, (0.0, 0.0, 1.0))
ENGLISH = "A large red circle on the left and a small blue square on the right."
CHINESE = "图中左边有一个大的红色圆形，右边有一个小的蓝色正方形。"


@pytest.mark.parametrize(("text", "language"), [(ENGLISH, "en"), (CHINESE, "zh")])
def test_parse_description(text: str, language: str) -> None:
    assert parse_description(text, language) == [
        {"size": "large", "color": "red", "kind": "circle", "position": "left"},
        {"size": "small", "color": "blue", "kind": "square", "position": "right"},
    ]


def test_top_left_is_not_taken_for_top() -> None:
    text = "A small pink heart at the top left."
    assert parse_description(text, "en")[0]["position"] == "top left"


def test_scores_by_hand() -> None:
    item = Item(Turn("describe", "en", "?", (ENGLISH,)), shapes=(CIRCLE, SQUARE))
    assert score_exact([item, item], [ENGLISH, "A circle."]) == 0.5
    wrong = "A large red circle on the left and a small green square on the right."
    assert score_slots([item], [wrong]) == {
        "color": 0.5,
        "kind": 1.0,
        "size": 1.0,
        "position": 1.0,
        "all": 0.875,
    }
    assert score_slots([item], ["A large red circle on the left."])["all"] == 0.5
    assert score_slots([item], ["Nothing."])["all"] == 0.0


@pytest.mark.parametrize("task", ALL_TASKS)
def test_held_out_items_repeat(task: str) -> None:
    for language in LANGUAGES:
        first, second = (build_items(task, language, 2) for _ in range(2))
        assert [item.turn for item in first] == [item.turn for item in second]
        assert all(item.turn.language == language for item in first)
        assert all(item.images or item.frames is not None for item in first)


def test_answers_and_switches(random_checkpoint: Path) -> None:
    answerer = Answerer(random_checkpoint)
    items = [
        replace(item, turn=Turn("count", "en", "?", ("a",)))
        for item in build_items("count", "en", 2)
    ]
    assert len(answerer.answer(items)) == 2
    inputs = answerer.prepare(items)
    with torch.no_grad():
        plain = answerer.model(**inputs).logits
        for switch in (zero_deepstack, zero_position_grid, no_vision_rope, flat_positions):
            with switch(answerer.model):
                assert not torch.equal(answerer.model(**inputs).logits, plain), switch.__name__
            assert torch.equal(answerer.model(**inputs).logits, plain), switch.__name__
    swapped = swap_pictures(items)
    assert swapped[0].images is items[1].images
    assert swapped[0].turn is items[0].turn
    assert len({ablation.name for ablation in ABLATIONS}) == 7


def test_card_keeps_what_is_outside_the_markers(tmp_path: Path) -> None:
    card = tmp_path / "README.md"
    card.write_text(f"before\n{START}\nold\n{END}\nafter\n", encoding="utf-8")
    write_card(card, format_table(["a", "b"], [["1", "2"]]))
    text = card.read_text(encoding="utf-8")
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "| 1 | 2 |" in text
    assert "old" not in text
