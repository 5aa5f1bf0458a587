"""The preprocess tab's controls and clicks, as a person uses them."""

from __future__ import annotations

import re

from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import PageFactory
from tests.browser.steps import RUN_TIMEOUT_MS, open_part, open_tab, run_and_wait, wait_until_drawn


def part_named(panel: Locator, name: str) -> Locator:
    """A part of the tab, by its id."""
    return panel.locator(f'[data-part="preprocess.{name}"]')


def test_ones_own_text_is_taken_apart_while_it_is_typed(address: str, page: PageFactory) -> None:
    opened, log = page(address)
    wait_until_drawn(opened)
    panel = open_part(open_tab(opened, "1 Preprocess"), "What is a token?")
    part = part_named(panel, "spelling")
    part.locator('[data-control="own-text"] input').press_sequentially(" <i>点</i>")
    expect(part.locator(".pg-clusters").first).to_contain_text("E782B9")
    part.locator('[data-control="own-text"] input').fill("点")
    expect(part.locator(".pg-fact").first).to_contain_text("1 character = 3 bytes")
    assert part.locator("i").count() == 0
    assert log.problems == []


def test_the_chosen_image_follows_the_pointer(address: str, page: PageFactory) -> None:
    opened, log = page(address, width=1280)
    wait_until_drawn(opened)
    card = opened.locator(".example-card").filter(has_text="Which image has a heart?")
    run_and_wait(opened, card.first)
    tab = open_tab(opened, "1 Preprocess")
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


def video_numbers(opened: Page) -> tuple[list[str], int]:
    """The texts in the prompt and the number of video tokens, as the part *Video* shows them."""
    part = part_named(open_part(open_tab(opened, "1 Preprocess"), "Video"), "video")
    rows = part.locator("table").filter(has_text="Temporal patch").first.locator("tbody tr")
    expect(rows.first).to_be_visible()
    cells = [row.locator("td").all_inner_texts() for row in rows.all()]
    ranges = [[int(place) for place in row[4].split("–")] for row in cells]
    return [row[3] for row in cells], sum(last - first + 1 for first, last in ranges)


def test_other_frames_of_a_clip_are_other_times_and_tokens(address: str, page: PageFactory) -> None:
    opened, log = page(address, width=1280)
    wait_until_drawn(opened)
    card = opened.locator(".example-card").filter(has_text="Which way does the shape move?")
    run_and_wait(opened, card.first)
    texts, tokens = video_numbers(opened)
    assert texts == ["<0.3 seconds>", "<1.6 seconds>"]
    opened.locator("#input-more button").first.click()
    opened.get_by_label("Frames per second").fill("4")
    run_and_wait(opened)
    expect(part_named(open_tab(opened, "1 Preprocess"), "video")).to_contain_text("8 of them are")
    more_texts, more_tokens = video_numbers(opened)
    assert more_texts == ["<0.1 seconds>", "<0.7 seconds>", "<1.2 seconds>", "<1.8 seconds>"]
    assert more_tokens == 2 * tokens

    opened.get_by_label("To (s)").fill("2.5")
    opened.locator("#run").click()
    toast = opened.locator(".toast-wrap, [data-testid='toast-body']").first
    expect(toast).to_contain_text("The video has no frames at 2.5 s. It is 2 s long.")
    expect(opened.get_by_label("Frames per second")).to_have_value("4")
    assert video_numbers(opened) == (more_texts, more_tokens)
    opened.get_by_label("To (s)").fill("1")
    run_and_wait(opened)
    expect(part_named(open_tab(opened, "1 Preprocess"), "video")).to_contain_text(
        "4 of them are sampled, evenly spaced between 0 s and 1 s"
    )
    assert video_numbers(opened)[0] == ["<0.1 seconds>", "<0.8 seconds>"]
    assert log.problems == []


def test_the_clock_is_misread_on_request(address: str, page: PageFactory) -> None:
    opened, log = page(address, width=1280)
    wait_until_drawn(opened)
    card = opened.locator(".example-card").filter(has_text="Which way does the shape move?")
    run_and_wait(opened, card.first)
    part = part_named(open_part(open_tab(opened, "1 Preprocess"), "Video"), "video")
    part.get_by_role("button", name="Misread the clock").click()
    rows = part.locator("table").filter(has_text="sampled twice").last.locator("tbody tr")
    expect(rows).to_have_count(6, timeout=RUN_TIMEOUT_MS)
    expect(rows.nth(1)).to_contain_text("0.0, 0.1")
    expect(rows.nth(3)).to_contain_text("1.5, 8.0")
    expect(part.locator(".chart-box[data-state='drawn']")).to_have_count(2)
    expect(part).to_contain_text("wrong by up to 6.4 s")
    assert log.problems == []


def test_a_list_of_rows_keeps_its_place_when_a_row_is_clicked(
    address: str, page: PageFactory
) -> None:
    opened, _ = page(address, width=1280)
    wait_until_drawn(opened)
    part = part_named(open_part(open_tab(opened, "1 Preprocess"), "Pixels to rows"), "rows")
    rows = part.locator(".pg-pixel-rows ol")
    rows.locator("li").nth(60).scroll_into_view_if_needed()
    before = rows.evaluate("list => list.scrollTop")
    assert before > 100
    rows.locator("li").nth(60).click()
    expect(part).to_contain_text("Row 60:")
    expect(rows.locator("li").nth(60)).to_have_class(re.compile("pg-fixed"))
    assert rows.evaluate("list => list.scrollTop") == before


def test_a_limit_of_the_token_budget_runs_the_page_anew(address: str, page: PageFactory) -> None:
    opened, log = page(address, width=1280)
    wait_until_drawn(opened)
    tab = open_tab(opened, "1 Preprocess")
    part = part_named(open_part(tab, "Token budget"), "budget")
    run_and_wait(opened, part.get_by_role("button", name="Use this").nth(1))
    expect(part.locator(".pg-chosen")).to_contain_text("Max pixels is set to 4,096")
    expect(part.locator(".pg-choice[aria-pressed='true']")).to_have_count(1)
    expect(part_named(tab, "pictures")).to_contain_text("224 × 224 → 64 × 64 pixels")
    opened.get_by_role("button", name=re.compile("System prompt")).click()
    expect(opened.get_by_role("textbox", name=re.compile("^Max pixels"))).to_have_value("4096")
    part.get_by_role("button", name="Measure prefill times").click()
    expect(part.locator("td", has_text="not measured")).to_have_count(0, timeout=RUN_TIMEOUT_MS)
    expect(part.locator(".chart-box[data-state='drawn']")).to_have_count(2)
    assert log.problems == []
