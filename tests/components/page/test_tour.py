"""The walkthrough leads to parts that are there, in every language."""

from __future__ import annotations

import json
from typing import Any

import pytest

from components.page.tour import STEPS, TourView
from components.parts.all_parts import Parts
from components.tabs import STAGE_TABS
from playground.language import LANGUAGES, Language, say, speaking
from tests.components.html_reader import read_html

PARTS = Parts(STAGE_TABS)
STAGES = [stage.stage for stage in STAGE_TABS]
OURS = [step for step in STEPS if step.part.partition(".")[0] in STAGES]


def steps_of_the_card() -> list[dict[str, Any]]:
    (card,) = read_html(TourView(PARTS).html_template).find("section", "tour-card")
    assert "{number}" in card.attrs["data-counter"]
    return list(json.loads(card.attrs["data-steps"]))


def test_every_step_leads_to_a_part() -> None:
    assert [step.part for step in OURS if step.part not in PARTS.by_key] == []
    selected = [stage.stage for stage in STAGE_TABS]
    selected += [part.key for stage in STAGE_TABS for part in stage.parts]
    for step, card_step in zip(OURS, steps_of_the_card(), strict=True):
        assert card_step["tabs"][0] == step.part.partition(".")[0]
        assert set(card_step["tabs"]) <= set(selected)
        stage = next(each for each in STAGE_TABS if each.stage == card_step["tabs"][0])
        assert (step.part in card_step["tabs"]) == (len(stage.parts) > 1)


def test_the_steps_follow_the_forward_pass() -> None:
    stages = [step.part.partition(".")[0] for step in OURS]
    assert sorted(stages, key=STAGES.index) == stages
    assert set(stages) == set(STAGES) - {"model"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_card_holds_the_steps_in_its_language(language: Language) -> None:
    with speaking(language):
        steps = steps_of_the_card()
        assert [step["title"] for step in steps] == [say(step.title) for step in OURS]
        assert [step["text"] for step in steps] == [say(step.text) for step in OURS]
