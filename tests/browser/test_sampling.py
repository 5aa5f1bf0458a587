"""The sampling lab as a person uses it: two columns typed, a branch, a sweep."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import PageFactory, PageLog
from tests.browser.steps import (
    RUN_TIMEOUT_MS,
    open_part,
    open_tab,
    type_number,
    wait_until_drawn,
)


@pytest.fixture(scope="module")
def opened(address: str, module_page: PageFactory) -> tuple[Page, PageLog]:
    page, log = module_page(address, width=1280)
    wait_until_drawn(page)
    return page, log


def cards(page: Page) -> Locator:
    """The columns' settings."""
    return page.locator("[data-part='sampling.side'] .pg-card")


def test_two_columns_from_typed_settings_to_the_marked_difference(
    opened: tuple[Page, PageLog],
) -> None:
    page, log = opened
    panel = open_tab(page, "5 Sampling")
    # When it is first opened it writes columns by itself, to their end.
    expect(panel.get_by_text("all columns in one batch")).to_be_visible(timeout=RUN_TIMEOUT_MS)
    first, second = cards(page).nth(0), cards(page).nth(1)
    type_number(first, "Temperature", "0")
    type_number(second, "Temperature", "2")
    type_number(second, "Top-p", "1")
    type_number(second, "Min-p", "0")
    type_number(second, "Seed", "11")
    panel.get_by_role("button", name="Generate columns").click()
    expect(panel.locator("[data-part][data-busy]")).to_have_count(0, timeout=RUN_TIMEOUT_MS)
    texts = panel.locator(".pg-columns")
    expect(texts.locator(".pg-column")).to_have_count(2)
    facts = panel.get_by_text("The columns first differ at token").inner_text()
    first_difference = int(re.findall(r"at token (\d+)", facts)[0])
    marked = texts.locator(".pg-diverges").first
    expect(marked).to_have_attribute("data-set", f'{{"step":{first_difference - 1}}}')
    expect(panel.locator(".pg-diff ins").first).to_be_visible()
    # The numbers come up on focus, too, once the text is written to its end.
    expect(marked).to_have_attribute("title", re.compile(f"token {first_difference}"))
    expect(marked).to_have_attribute("tabindex", "0")
    marked.focus()
    content = marked.evaluate("each => getComputedStyle(each, '::after').content")
    assert f"token {first_difference}" in content
    assert not log.problems


def test_a_bad_value_stops_its_own_column_only(opened: tuple[Page, PageLog]) -> None:
    page, _ = opened
    panel = open_tab(page, "5 Sampling")
    type_number(cards(page).nth(1), "Top-k", "-3")
    panel.get_by_role("button", name="Generate columns").click()
    problem = panel.locator(".pg-column").nth(1).get_by_role("alert")
    expect(problem).to_contain_text("Top-k is out of range: -3", timeout=RUN_TIMEOUT_MS)
    expect(panel.locator(".pg-column .pg-picks")).to_have_count(1, timeout=RUN_TIMEOUT_MS)
    type_number(cards(page).nth(1), "Top-k", "0")
    panel.get_by_role("button", name="Generate columns").click()
    expect(panel.locator(".pg-column .pg-picks")).to_have_count(2, timeout=RUN_TIMEOUT_MS)
    expect(problem).to_have_count(0)


def test_columns_come_and_go(opened: tuple[Page, PageLog]) -> None:
    page, _ = opened
    panel = open_tab(page, "5 Sampling")
    panel.get_by_role("button", name="Add a column").click()
    expect(cards(page)).to_have_count(3)
    panel.get_by_role("button", name="Duplicate A").click()
    expect(cards(page)).to_have_count(4)
    expect(cards(page).nth(1).get_by_label("Temperature").first).to_have_value("0")
    for left in (3, 2):  # the columns after the removed one move up
        panel.get_by_role("button", name="Remove B").click()
        expect(cards(page)).to_have_count(left)
    expect(panel.get_by_role("button", name="Remove B")).to_be_disabled()


def test_a_slider_redraws_one_step(opened: tuple[Page, PageLog]) -> None:
    page, _ = opened
    panel = open_tab(page, "5 Sampling")
    panel.locator(".pg-column").nth(1).locator("[data-set]").nth(2).click()
    part = open_part(panel, "One step")
    expect(part.get_by_text("Column B, token 3")).to_be_visible()
    field = part.locator("[data-control=top-k] input[type=number]")
    field.fill("1")
    field.press("Tab")
    expect(part.get_by_text(re.compile(r"1 of [\d,]+ tokens can be sampled"))).to_be_visible()
    part.get_by_label("last, as in llama.cpp").check()
    expect(part.get_by_role("row").nth(-1).get_by_role("cell").first).to_have_text("temperature")


def test_a_branch(opened: tuple[Page, PageLog]) -> None:
    page, log = opened
    panel = open_tab(page, "5 Sampling")
    part = open_part(panel, "Branch")
    branch_a = part.locator(".pg-branch").first
    branch_a.locator("b[data-set]").first.click()
    expect(part.get_by_text("Token 1 of A is")).to_be_visible()
    other = part.locator("button.pg-option", has_text="“").nth(1)
    word = other.inner_text().split("”")[0].strip("“ \n")
    other.click()
    part.get_by_role("button", name="Continue from this token").click()
    branch = part.locator(".pg-branch").filter(has=page.get_by_text("A.1", exact=True))
    expect(branch).to_contain_text("ended by the model", timeout=RUN_TIMEOUT_MS)
    expect(branch.locator("b[data-set]").first).to_have_text(word)
    expect(branch).to_contain_text("branches from A at token 1")
    assert not log.problems


def test_a_sweep(opened: tuple[Page, PageLog]) -> None:
    page, log = opened
    panel = open_tab(page, "5 Sampling")
    part = open_part(panel, "Sweep")
    for label, value in (("Values", "3"), ("Answers per value", "2"), ("Max new tokens", "6")):
        part.get_by_label(label).fill(value)
        part.get_by_label(label).press("Tab")
    part.get_by_role("button", name="Sweep").click()
    expect(part.get_by_text("6 answers in")).to_be_visible(timeout=RUN_TIMEOUT_MS)
    expect(part.locator(".chart-box[data-state=drawn]")).to_have_count(3)
    assert part.get_by_role("row").count() >= 3
    assert not log.problems


def test_a_score(opened: tuple[Page, PageLog]) -> None:
    page, log = opened
    panel = open_tab(page, "5 Sampling")
    part = open_part(panel, "Score a text")
    part.get_by_label("Text to score").fill("The square is blue.")
    part.get_by_role("button", name="Score this text").click()
    expect(part.get_by_text("with log-probability")).to_be_visible(timeout=RUN_TIMEOUT_MS)
    assert part.get_by_role("row").count() >= 5
    assert not log.problems


def test_a_loop_is_broken(opened: tuple[Page, PageLog]) -> None:
    page, log = opened
    panel = open_tab(page, "5 Sampling")
    part = open_part(panel, "Loops")
    # When it is first opened it lets the model go on from the text, which ends in a loop.
    expect(part.get_by_text("Its first round has")).to_be_visible(timeout=RUN_TIMEOUT_MS)
    expect(part.locator(".chart-box[data-state=drawn]")).to_have_count(1)
    rounds = part.locator(".pg-picks .pg-round")
    assert rounds.count() >= 6
    style = rounds.first.evaluate("each => getComputedStyle(each).borderLeftStyle")
    assert style == "solid"
    part.get_by_label("Text that rightly repeats").fill("red, red, red, red")
    part.get_by_label("Text that rightly repeats").blur()
    part.get_by_role("button", name="Break this loop").click()
    expect(part.locator("table")).to_have_count(2, timeout=RUN_TIMEOUT_MS)
    expect(part.get_by_text("“red, red, red, red”")).to_be_visible()
    outcomes, costs = part.locator("table").first, part.locator("table").last
    expect(outcomes.get_by_role("row").nth(1)).to_contain_text("goes on")
    banned = "N-gram ban 4"
    expect(outcomes.get_by_role("row").filter(has_text=banned)).to_contain_text("stops after")
    expect(costs.get_by_role("row").filter(has_text=banned)).to_contain_text("−∞")
    assert not log.problems
