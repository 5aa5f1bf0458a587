"""The sampling lab as a person uses it: two columns typed, a branch, a sweep."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import PageFactory, PageLog
from tests.browser.steps import (
    RUN_TIMEOUT_MS,
    open_part,
    open_tab,
    run_and_wait,
    type_number,
    wait_until_drawn,
)


@pytest.fixture(scope="module")
def opened(address: str, module_page: PageFactory) -> tuple[Page, PageLog]:
    page, log = module_page(address, width=1280)
    wait_until_drawn(page)
    return page, log


def test_two_columns_from_typed_settings_to_the_marked_difference(
    opened: tuple[Page, PageLog],
) -> None:
    page, log = opened
    panel = open_tab(page, "5 Sampling")
    # When it is first opened it writes columns by itself, to their end.
    expect(panel.get_by_text("all columns in one batch")).to_be_visible(timeout=RUN_TIMEOUT_MS)
    first, second = page.locator("#column-a"), page.locator("#column-b")
    type_number(first, "Temperature", "0")
    type_number(second, "Temperature", "2")
    type_number(second, "Top-p", "1")
    type_number(second, "Min-p", "0")
    type_number(second, "Seed", "11")
    run_and_wait(page, panel.get_by_role("button", name="Run this stage"))
    texts = panel.locator(".pg-columns")
    expect(texts.locator(".pg-column")).to_have_count(2)
    facts = panel.get_by_text("The columns first differ at token").inner_text()
    first_difference = int(re.findall(r"at token (\d+)", facts)[0])
    marked = texts.locator(".pg-diverges").first
    expect(marked).to_have_attribute("data-step", str(first_difference - 1))
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
    type_number(page.locator("#column-b"), "Top-k", "-3")
    panel.get_by_role("button", name="Run this stage").click()
    problem = page.locator("#column-b [role=alert]")
    expect(problem).to_contain_text("Top-k is out of range: -3", timeout=RUN_TIMEOUT_MS)
    expect(panel.locator(".pg-column")).to_have_count(1, timeout=RUN_TIMEOUT_MS)
    type_number(page.locator("#column-b"), "Top-k", "0")
    panel.get_by_role("button", name="Run this stage").click()
    expect(panel.locator(".pg-column")).to_have_count(2, timeout=RUN_TIMEOUT_MS)
    expect(page.locator("#column-b [role=alert]")).to_have_count(0)


def test_columns_come_and_go(opened: tuple[Page, PageLog]) -> None:
    page, _ = opened
    panel = open_tab(page, "5 Sampling")
    panel.get_by_role("button", name="Add a column").click()
    expect(page.locator("#column-c")).to_be_visible()
    panel.get_by_role("button", name="Duplicate A").click()
    expect(page.locator("#column-d")).to_be_visible()
    heat = page.locator("#column-b").get_by_label("Temperature").first
    expect(heat).to_have_value("0")
    for letter in ("d", "c"):  # the columns after the removed one move up
        panel.get_by_role("button", name="Remove B").click()
        expect(page.locator(f"#column-{letter}")).not_to_be_visible()


def test_a_slider_redraws_one_step(opened: tuple[Page, PageLog]) -> None:
    page, _ = opened
    panel = open_tab(page, "5 Sampling")
    panel.locator(".pg-columns [data-branch=B] .pg-pick").nth(2).click()
    part = open_part(panel, "One step")
    expect(part.get_by_text("Column B, token 3")).to_be_visible()
    field = part.get_by_label("Top-k", exact=False).and_(part.locator("input[type=number]")).first
    field.fill("1")
    field.press("Tab")
    expect(part.get_by_text("1 token can be drawn")).to_be_visible()
    part.get_by_label("last, as in llama.cpp").check()
    expect(part.get_by_role("row").nth(-1).get_by_role("cell").first).to_have_text("temperature")


def test_a_branch(opened: tuple[Page, PageLog]) -> None:
    page, log = opened
    panel = open_tab(page, "5 Sampling")
    part = open_part(panel, "Branch")
    part.locator("[data-branch=A] .pg-pick").first.click()
    expect(part.get_by_text("Token 1 of A is")).to_be_visible()
    other = part.locator("label", has_text="“").first
    word = other.inner_text().split("”")[0].strip("“ \n")
    other.click()
    part.get_by_role("button", name="Go on from this token").click()
    branch = part.locator("[data-branch='A.1']")
    expect(branch).to_contain_text("ended by the model", timeout=RUN_TIMEOUT_MS)
    expect(branch.locator(".pg-pick").first).to_have_text(word)
    expect(branch).to_contain_text("leaves A at token 1")
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
