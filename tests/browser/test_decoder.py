"""The decoder tab in a browser: choosing a head, painting by click, and one what-if."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import PageFactory
from tests.browser.steps import RUN_TIMEOUT_MS, open_part, open_tab, wait_until_drawn

GRID = 7  # tokens down and across in the first example's picture


@pytest.fixture(scope="module")
def opened(address: str, module_page: PageFactory) -> Page:
    """The page with the decoder tab open; the tests use one part each."""
    page, _ = module_page(address, width=1280)
    wait_until_drawn(page)
    open_tab(page, "4 Decoder")
    return page


def open_decoder_part(page: Page, name: str) -> Locator:
    return open_part(open_tab(page, "4 Decoder"), name)


def click_token(picture: Locator, row: int, column: int) -> None:
    """Click the middle of a merged token of the first example's picture."""
    box = picture.bounding_box()
    assert box is not None
    step = box["width"] / GRID
    picture.click(position={"x": (column + 0.5) * step, "y": (row + 0.5) * step})


def test_another_layer_and_head_change_the_picture(opened: Page) -> None:
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
    part.get_by_label("less a neutral prompt's").check()
    expect(legend).to_contain_text("above a neutral prompt's", timeout=RUN_TIMEOUT_MS)
    part.get_by_label("as it is").check()
    expect(legend).not_to_contain_text("above a neutral prompt's")


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


def test_a_click_paints_and_a_second_one_unpaints(opened: Page) -> None:
    part = open_decoder_part(opened, "What if")
    caption = part.locator("figcaption").filter(has_text="tokens taken away")
    picture = part.locator(".pg-picture-frame[data-span='0']")
    expect(caption).to_contain_text("0 of 49")
    part.get_by_label("Paint what I click").check()
    click_token(picture, 5, 5)
    expect(caption).to_contain_text("9 of 49")
    click_token(picture, 5, 1)
    expect(caption).to_contain_text("18 of 49")
    click_token(picture, 5, 5)
    expect(caption).to_contain_text("9 of 49")
    part.get_by_role("button", name="Unpaint all").click()
    expect(caption).to_contain_text("0 of 49")
    part.get_by_label("Paint what I click").uncheck()


def test_a_what_if_stands_beside_the_original(opened: Page) -> None:
    part = open_decoder_part(opened, "What if")
    part.get_by_role("spinbutton", name=re.compile("DeepStack tap 1")).fill("0")
    part.get_by_role("spinbutton", name=re.compile("DeepStack tap 2")).fill("0")
    part.get_by_role("spinbutton", name=re.compile("DeepStack tap 2")).press("Tab")
    part.get_by_role("button", name="Run with the change").click()
    answers = part.locator(".pg-generated")
    expect(answers).to_have_count(2, timeout=RUN_TIMEOUT_MS)
    expect(answers.first).to_contain_text("circle")
    expect(part.locator(".pg-verdict")).to_contain_text("KL(original ‖ changed)")
    expect(part.locator(".pg-verdict")).not_to_contain_text("= 0 nats")
    expect(part.locator('.chart-box[data-state="drawn"]')).to_have_count(2)


def test_the_strongest_part_is_taken_away_with_one_click(opened: Page) -> None:
    part = open_decoder_part(opened, "Where it looks")
    part.get_by_role("button", name="Take the strongest part away").click()
    expect(part.locator(".pg-generated")).to_have_count(2, timeout=RUN_TIMEOUT_MS)
    expect(part.locator(".chart-title").last).to_contain_text("falls most")
    caption = part.locator("figcaption").filter(has_text="tokens taken away")
    expect(caption).to_contain_text(re.compile(r"[469] of 49"))  # a corner, an edge, the middle
    expect(part.get_by_label("Word of the answer")).to_have_value(re.compile(r"\d+\. \w+"))
    expect(part.locator("img.pg-overlay")).to_have_count(4)  # three maps and the cover
