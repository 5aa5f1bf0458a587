"""The decoder tab in a browser: choosing a head, masking by click, and one what-if."""

from __future__ import annotations

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
