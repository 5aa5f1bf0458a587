"""The preprocess tab's controls and clicks, as a person uses them."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import PageFactory, PageLog
from tests.browser.steps import RUN_TIMEOUT_MS, open_part, open_tab, run_and_wait, wait_until_drawn


@pytest.fixture(scope="module")
def opened(address: str, module_page: PageFactory) -> tuple[Page, PageLog]:
    """The page with the first example, for all tests: loading it is most of the work."""
    page, log = module_page(address, width=1280)
    wait_until_drawn(page)
    return page, log


def run_example(page: Page, text: str) -> None:
    """Run an example with nothing selected."""
    page.keyboard.press("Escape")
    run_and_wait(page, page.locator(".example-card").filter(has_text=text).first)


def part_named(panel: Locator, name: str) -> Locator:
    """A part of the tab, by its id."""
    return panel.locator(f'[data-part="preprocess.{name}"]')


def test_ones_own_text_is_taken_apart_while_it_is_typed(opened: tuple[Page, PageLog]) -> None:
    page, log = opened
    panel = open_part(open_tab(page, "1 Preprocess"), "What is a token?")
    part = part_named(panel, "spelling")
    part.locator('[data-control="own-text"] input').press_sequentially(" <i>点</i>")
    expect(part.locator(".pg-clusters").first).to_contain_text("E782B9")
    part.locator('[data-control="own-text"] input').fill("点")
    expect(part.locator(".pg-fact").first).to_contain_text("1 character = 3 bytes")
    assert part.locator("i").count() == 0
    assert log.problems == []


def test_a_list_of_rows_keeps_its_place_when_a_row_is_clicked(opened: tuple[Page, PageLog]) -> None:
    page, _ = opened
    part = part_named(open_part(open_tab(page, "1 Preprocess"), "Pixels to rows"), "rows")
    rows = part.locator(".pg-pixel-rows ol")
    rows.locator("li").nth(60).scroll_into_view_if_needed()
    before = rows.evaluate("list => list.scrollTop")
    assert before > 100
    rows.locator("li").nth(60).click()
    expect(part).to_contain_text("Row 60:")
    expect(rows.locator("li").nth(60)).to_have_class(re.compile("pg-fixed"))
    assert rows.evaluate("list => list.scrollTop") == before


def test_the_chosen_image_follows_the_pointer(opened: tuple[Page, PageLog]) -> None:
    page, log = opened
    run_example(page, "Which image has a heart?")
    tab = open_tab(page, "1 Preprocess")
    part = part_named(open_part(tab, "Pixels to rows"), "rows")
    chooser = part.locator('[data-control="picture"] select')
    expect(chooser).to_have_value("0")
    expect(part).to_contain_text("this is the middle one")
    second = part_named(tab, "pictures").locator(".pg-picture-frame[data-span='1']").last
    second.click(position={"x": 20, "y": 20})
    expect(chooser).to_have_value("1")
    chooser.scroll_into_view_if_needed()  # what is out of sight waits
    expect(part).to_contain_text("patch at row 0, column 0 of image 2")
    chooser.select_option("0")
    expect(part).to_contain_text("this is the middle one")
    assert log.problems == []


def test_a_limit_of_the_token_budget_runs_the_page_anew(opened: tuple[Page, PageLog]) -> None:
    page, log = opened
    run_example(page, "Describe this image.")
    tab = open_tab(page, "1 Preprocess")
    part = part_named(open_part(tab, "Token budget"), "budget")
    run_and_wait(page, part.get_by_role("button", name="Use this").nth(1))
    expect(part.locator(".pg-chosen")).to_contain_text("Max pixels is set to 4,096")
    expect(part.locator(".pg-choice[aria-pressed='true']")).to_have_count(1)
    expect(part_named(tab, "pictures")).to_contain_text("224 × 224 → 64 × 64 pixels")
    page.get_by_role("button", name=re.compile("System prompt")).click()
    expect(page.get_by_role("textbox", name=re.compile("^Max pixels"))).to_have_value("4096")
    part.get_by_role("button", name="Measure prefill times").click()
    expect(part.locator("td", has_text="not measured")).to_have_count(0, timeout=RUN_TIMEOUT_MS)
    expect(part.locator(".chart-box[data-state='drawn']")).to_have_count(2)
    assert log.problems == []
