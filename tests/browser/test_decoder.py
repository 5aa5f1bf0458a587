"""The decoder tab in a browser: choosing a head."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import PageFactory
from tests.browser.steps import open_part, open_tab, wait_until_drawn


@pytest.fixture(scope="module")
def opened(address: str, module_page: PageFactory) -> Page:
    """The page with the decoder tab open; the tests use one part each."""
    page, _ = module_page(address, width=1280)
    wait_until_drawn(page)
    open_tab(page, "4 Decoder")
    return page


def open_decoder_part(page: Page, name: str) -> Locator:
    return open_part(open_tab(page, "4 Decoder"), name)


def test_another_layer_and_head_change_the_picture(opened: Page) -> None:
    part = open_decoder_part(opened, "Attention")
    overlay = part.locator("img.pg-overlay").first
    before = overlay.get_attribute("src") or ""
    slider = part.get_by_role("slider", name=re.compile("Decoder layer"))
    slider.focus()
    slider.press("End")
    expect(overlay).not_to_have_attribute("src", before)
    expect(part.locator(".pg-fact").first).to_contain_text("Layer 5, mean of all heads")
    whole = overlay.get_attribute("src") or ""
    part.get_by_label("Head", exact=True).click()
    opened.get_by_role("option", name="head 2").click()
    expect(overlay).not_to_have_attribute("src", whole)
    expect(part.locator(".chart-title").last).to_contain_text("layer 5, head 2")
