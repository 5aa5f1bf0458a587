"""The decoder tab in a browser: choosing a head, masking by click, and one what-if."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import PageFactory
from tests.browser.steps import RUN_TIMEOUT_MS, open_part, open_tab, wait_until_drawn

GRID = 7  # tokens down and across in the first example's image


@pytest.fixture(scope="module")
def opened(address: str, module_page: PageFactory) -> Page:
    """The page with the decoder tab open; the tests use one part each."""
    page, _ = module_page(address, width=1280)
    wait_until_drawn(page)
    open_tab(page, "4 Decoder")
    return page


def open_decoder_part(page: Page, name: str) -> Locator:
    return open_part(open_tab(page, "4 Decoder"), name)


def test_another_layer_and_head_change_the_image(opened: Page) -> None:
    open_decoder_part(opened, "Attention")
    part = opened.locator('[data-part="decoder.attention"]')
    overlay = part.locator("img.pg-overlay").first
    before = overlay.get_attribute("src") or ""
    slider = part.get_by_role("slider", name="Decoder layer")
    slider.focus()
    slider.press("End")
    expect(overlay).not_to_have_attribute("src", before)
    expect(part.locator(".pg-fact").first).to_contain_text("Layer 5, mean of all heads")
    whole = overlay.get_attribute("src") or ""
    part.get_by_label("Head", exact=True).select_option(label="head 2")
    expect(overlay).not_to_have_attribute("src", whole)
    expect(part.locator(".chart-title").last).to_contain_text("layer 5, head 2")


def test_a_neutral_prompt_runs_when_it_is_chosen(opened: Page) -> None:
    open_decoder_part(opened, "Attention")
    part = opened.locator('[data-part="decoder.attention"]')
    legend = part.locator("figure").first
    expect(legend).to_contain_text("weight")
    part.get_by_label("minus a neutral prompt").check()
    expect(legend).to_contain_text("minus that of a neutral prompt", timeout=RUN_TIMEOUT_MS)
    part.get_by_label("raw weights").check()
    expect(legend).not_to_contain_text("minus that of a neutral prompt")


def test_a_head_is_chosen_in_its_chart(opened: Page) -> None:
    open_decoder_part(opened, "Attention")
    part = opened.locator('[data-part="decoder.attention"]')
    bar = part.locator(".chart-plot").first.locator(".bars .point").nth(1)
    bar.scroll_into_view_if_needed()
    box = bar.bounding_box()
    assert box is not None
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    opened.mouse.move(*middle)  # Plotly's own layer lies above the bars: it hovers, then clicks
    expect(part.locator(".hoverlayer .hovertext").first).to_be_visible()
    opened.mouse.click(*middle)
    expect(part.get_by_label("Head", exact=True).locator("option:checked")).to_have_text("head 1")


def test_the_parts_take_a_token_of_the_answer(opened: Page) -> None:
    """Chosen in the answer's strip, then in a column of the sampling tab."""
    open_decoder_part(opened, "Attention")
    head = opened.locator('[data-part="decoder.facts"]')
    words = opened.locator('[data-part="decoder.attention"] .pg-fact').first
    bar = opened.locator(".pg-pointer-words")
    head.get_by_label("with the greedy answer").check()
    chips = head.locator(".pg-answer b")
    expect(chips.first).to_have_attribute("title", re.compile("probability"))
    red = chips.filter(has_text="red").first
    red.click()
    index = red.get_attribute("data-start")
    expect(bar).to_contain_text(f"Token {index} “␣red”")
    expect(red).to_have_class(re.compile("pg-fixed"))
    expect(words).not_to_contain_text("This is the last token")
    expect(opened.locator('[data-part="decoder.attention"] .chart-title').nth(1)).to_contain_text(
        f"token {index}"
    )
    panel = open_tab(opened, "5 Sampling")
    column = panel.locator(".pg-column").nth(1)
    chip = column.locator("b").nth(2)
    text = chip.inner_text()
    chip.click()
    chosen = panel.locator('[data-part="sampling.side"] .pg-fact', has_text="Selected: token 3")
    expect(chosen).to_be_visible()
    panel.get_by_role("button", name="Show this token in the decoder").first.click()
    expect(opened.get_by_role("tab", name="4 Decoder")).to_have_attribute("aria-selected", "true")
    expect(head.get_by_label("with a sampled answer")).to_be_checked()
    expect(chips.nth(2)).to_have_text(text)
    expect(bar).to_contain_text(f"“{text.replace(' ', '␣')}”")
    expect(chips.nth(2)).to_have_class(re.compile("pg-fixed"))
    panel = open_tab(opened, "5 Sampling")  # and back: the column's chip is marked, too
    expect(panel.locator(".pg-column").nth(1).locator("b").nth(2)).to_have_class(
        re.compile("pg-fixed")
    )
    panel.locator(".pg-column").nth(1).locator("b").nth(1).click()
    open_tab(opened, "4 Decoder")
    expect(chips.nth(1)).to_have_class(re.compile("pg-fixed"))
    head.get_by_label("prompt", exact=True).check()
    expect(chips).to_have_count(0)
    expect(words).to_contain_text("This is the last token")
