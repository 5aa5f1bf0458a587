"""The walkthrough leads to parts that are there, in every language."""

from __future__ import annotations

import json

import gradio as gr
import pytest

from components.compute.engine_host import EngineHost
from components.page.layout import TABS
from components.page.site import Site, build_site
from components.page.tour import STEPS, TourView
from components.tabs.open_parts import tabs_around
from playground.language import LANGUAGES, Language, say, speaking
from tests.components.html_reader import read_html


@pytest.fixture(scope="module")
def site() -> Site:
    return build_site(EngineHost("tiny"))


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_step_leads_to_a_part(site: Site, language: Language) -> None:
    path = "" if language == "en" else language
    paths = {
        tuple(tab.label for _, tab in reversed(tabs_around(block)))
        for block in site.demo.blocks.values()
        if block.page == path and not isinstance(block, gr.Tab)
    }
    with speaking(language):
        for step in STEPS:
            assert tuple(say(tab) for tab in step.tabs) in paths, step.title


def test_the_steps_follow_the_forward_pass() -> None:
    stages = [step.tabs[0] for step in STEPS]
    order = [label for label, _ in TABS]
    assert sorted(stages, key=order.index) == stages
    assert set(stages) == set(order)


def test_the_card_holds_the_steps_in_its_language() -> None:
    for language in LANGUAGES:
        with speaking(language):
            (card,) = read_html(TourView().html_template).find("section", "tour-card")
            steps = json.loads(card.attrs["data-steps"])
            assert [step["title"] for step in steps] == [say(step.title) for step in STEPS]
            assert "{number}" in card.attrs["data-place"]
