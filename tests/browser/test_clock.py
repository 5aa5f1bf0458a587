"""The clock of a clip, as a person reads and sets it."""

from __future__ import annotations

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import PageFactory, PageLog
from tests.browser.steps import RUN_TIMEOUT_MS, open_part, open_tab, run_and_wait, wait_until_drawn


@pytest.fixture(scope="module")
def clip(address: str, module_page: PageFactory) -> tuple[Page, PageLog]:
    """The page with the example's clip, for all tests of this file."""
    page, log = module_page(address, width=1280)
    wait_until_drawn(page)
    card = page.locator(".example-card").filter(has_text="Which way does the shape move?")
    run_and_wait(page, card.first)
    return page, log


def video_part(page: Page) -> Locator:
    """The part *Video*, opened."""
    panel = open_part(open_tab(page, "1 Preprocess"), "Video")
    return panel.locator('[data-part="preprocess.video"]')


def video_numbers(opened: Page) -> tuple[list[str], int]:
    """The texts in the prompt and the number of video tokens, as the part *Video* shows them."""
    part = video_part(opened)
    rows = part.locator("table").filter(has_text="Temporal patch").first.locator("tbody tr")
    expect(rows.first).to_be_visible()
    cells = [row.locator("td").all_inner_texts() for row in rows.all()]
    ranges = [[int(place) for place in row[4].split("–")] for row in cells]
    return [row[3] for row in cells], sum(last - first + 1 for first, last in ranges)


def test_the_clock_is_misread_on_request(clip: tuple[Page, PageLog]) -> None:
    opened, log = clip
    part = video_part(opened)
    part.get_by_role("button", name="Misread the clock").click()
    rows = part.locator("table").filter(has_text="sampled twice").last.locator("tbody tr")
    expect(rows).to_have_count(6, timeout=RUN_TIMEOUT_MS)
    expect(rows.nth(1)).to_contain_text("0.0, 0.1")
    expect(rows.nth(3)).to_contain_text("1.5, 8.0")
    expect(part.locator(".chart-box[data-state='drawn']")).to_have_count(2)
    expect(part).to_contain_text("wrong by up to 6.4 s")
    assert log.problems == []


def test_other_frames_of_a_clip_are_other_times_and_tokens(clip: tuple[Page, PageLog]) -> None:
    opened, log = clip
    texts, tokens = video_numbers(opened)
    assert texts == ["<0.3 seconds>", "<1.6 seconds>"]
    opened.locator("#input-more button").first.click()
    opened.get_by_label("Frames per second").fill("4")
    run_and_wait(opened)
    expect(video_part(opened)).to_contain_text("8 of them are")
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
    expect(video_part(opened)).to_contain_text(
        "4 of them are sampled, evenly spaced between 0 s and 1 s"
    )
    assert video_numbers(opened)[0] == ["<0.1 seconds>", "<0.8 seconds>"]
    assert log.problems == []
