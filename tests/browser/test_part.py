"""One part in a browser: what a control's move redraws, experiments, a slow server and none."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from components.look.theme import CSS
from playground.engine import Engine
from tests.browser import parts
from tests.browser.conftest import AppServer, PageFactory, PageLog
from tests.browser.steps import LOAD_TIMEOUT_MS

WAITING = "Run this stage to see its numbers."


@pytest.fixture(scope="module")
def url(module_app_server: AppServer, tiny_random_engine: Engine) -> str:
    return module_app_server(lambda: parts.build_demo(tiny_random_engine))


@pytest.fixture
def opened(url: str, page: PageFactory) -> Iterator[tuple[Page, PageLog]]:
    """The part, with nothing run."""
    tab, log = page(url, width=1100)
    tab.add_style_tag(content=CSS)
    expect(part_of(tab)).to_be_visible(timeout=LOAD_TIMEOUT_MS)
    yield tab, log
    parts.OPEN.set()


def part_of(page: Page) -> Locator:
    return page.locator("[data-part='merge.lab']")


def show(page: Page, run: str = "Short") -> None:
    """Give the page a run, and wait until the part is drawn for it."""
    page.get_by_role("button", name=run, exact=True).click()
    expect(part_of(page)).to_have_attribute("data-state", "ready")
    expect(page.locator("#sized")).to_be_visible()
    wait_until_still(page)
    parts.CALLS.clear()


def wait_until_still(page: Page) -> None:
    """Wait until the part asks for nothing."""
    expect(page.locator("[data-part][data-asking]")).to_have_count(0)


def control(page: Page, name: str) -> Locator:
    return part_of(page).locator(f"[data-control='{name}']")


def slide(page: Page, value: int) -> None:
    """Move the slider of the size, as a hand or the arrow keys do."""
    control(page, "size").locator("input[type=range]").fill(str(value))


def calls(name: str) -> list[Any]:
    return [value for each, value in parts.CALLS if each == name]


# ------------------------------------------------------------------------------ drawing


def test_a_part_waits_for_its_run_and_is_drawn_once_for_it(opened: tuple[Page, PageLog]) -> None:
    page, log = opened
    expect(part_of(page)).to_have_attribute("data-state", "waiting")
    expect(page.get_by_text(WAITING)).to_be_visible()
    expect(control(page, "size")).to_be_hidden()
    parts.CALLS.clear()
    page.get_by_role("button", name="Short", exact=True).click()
    expect(page.locator("#sized")).to_have_text(re.compile(r"size 1 of \d+"))
    wait_until_still(page)
    assert sorted(name for name, _ in parts.CALLS) == ["kinded", "listed", "sized"]
    expect(page.get_by_text(WAITING)).to_be_hidden()
    assert log.problems == []


def test_a_control_redraws_only_what_needs_it(opened: tuple[Page, PageLog]) -> None:
    page, _ = opened
    show(page)
    control(page, "kind").get_by_label("Less").check()
    expect(page.locator("#kinded")).to_have_text("less red False")
    control(page, "word").locator("input").fill("blue")
    expect(page.locator("#kinded")).to_have_text("less blue False")
    control(page, "on").get_by_label("On").check()
    expect(page.locator("#kinded")).to_have_text("less blue True")
    assert calls("sized") == calls("listed") == []
    slide(page, 4)
    expect(page.locator("#sized")).to_have_text(re.compile("size 4 of"))
    assert calls("sized") == [4]
    assert calls("listed") == []


def test_what_is_folded_away_is_drawn_when_it_is_opened(opened: tuple[Page, PageLog]) -> None:
    page, _ = opened
    show(page)
    assert calls("folded") == []
    part_of(page).get_by_text("More", exact=True).click()
    expect(page.locator("#folded")).to_be_visible()
    assert calls("folded") == [None]


def test_the_latest_question_wins_while_the_server_is_slow(opened: tuple[Page, PageLog]) -> None:
    page, log = opened
    show(page)
    parts.OPEN.clear()
    for value in (2, 3, 4, 5):
        slide(page, value)
        page.wait_for_timeout(100)
    expect(part_of(page)).to_have_attribute("data-asking", "")
    expect(control(page, "size").locator("input[type=number]")).to_have_value("5")  # no wait
    parts.OPEN.set()
    expect(page.locator("#sized")).to_have_text(re.compile("size 5 of"))
    wait_until_still(page)
    assert calls("sized") == [2, 5]  # what was moved past was never computed
    assert log.problems == []


def test_a_server_that_is_gone_is_said_and_comes_back(opened: tuple[Page, PageLog]) -> None:
    page, _ = opened
    show(page)
    page.route(re.compile("component_server"), lambda route: route.abort())
    slide(page, 3)
    message = part_of(page).get_by_text("The server did not answer.")
    expect(message).to_be_visible()
    expect(page.locator("#sized")).to_have_text(re.compile("size 1 of"))
    page.unroute(re.compile("component_server"))
    expect(page.locator("#sized")).to_have_text(re.compile("size 3 of"))
    expect(message).to_be_hidden()


# ------------------------------------------------------------------------------ runs


def test_while_a_run_is_under_way_the_old_drawings_are_dimmed(
    opened: tuple[Page, PageLog],
) -> None:
    page, _ = opened
    page.get_by_role("button", name="Under way").click()
    expect(part_of(page).get_by_text("Running: vision tower …")).to_be_visible()
    expect(control(page, "size")).to_be_hidden()  # nothing has been drawn yet
    show(page)
    page.get_by_role("button", name="Under way").click()
    expect(part_of(page)).to_have_attribute("data-state", "stale")
    expect(part_of(page).get_by_text("Running: vision tower …")).to_be_visible()
    drawing = page.locator("#sized").locator("..")
    expect(drawing).to_be_visible()
    expect(drawing).to_have_css("opacity", "0.4")
    show(page, "Long")
    expect(drawing).to_have_css("opacity", "1")


def test_a_setting_survives_a_new_run_where_it_fits(opened: tuple[Page, PageLog]) -> None:
    page, _ = opened
    show(page)
    slide(page, 3)
    control(page, "kind").get_by_label("Less").check()
    expect(page.locator("#sized")).to_have_text(re.compile("size 3 of"))
    short = page.locator("#sized").inner_text()
    show(page, "Long")
    expect(page.locator("#sized")).to_have_text(re.compile("size 3 of"))
    expect(page.locator("#sized")).not_to_have_text(short)
    slider = control(page, "size").locator("input[type=range]")
    most = int(slider.get_attribute("max") or 0)
    slide(page, most)
    expect(page.locator("#sized")).to_have_text(re.compile(f"size {most} of"))
    show(page, "Short")
    expect(page.locator("#sized")).to_have_text(re.compile("size 1 of"))
    expect(slider).to_have_value("1")
    expect(page.locator("#kinded")).to_have_text(re.compile("^less"))
    expect(control(page, "kind").get_by_label("Less")).to_be_checked()


# ------------------------------------------------------------------------------ controls


def test_a_control_that_fails_says_so_until_a_run_has_it(opened: tuple[Page, PageLog]) -> None:
    page, log = opened
    show(page)
    odd = control(page, "odd")
    failed = re.compile("^Something went wrong on the server in “Lab › Odd” ")
    expect(odd).to_have_text(failed)
    slide(page, 4)
    expect(page.locator("#sized")).to_have_text(re.compile("size 4 of"))
    show(page, "Long")
    expect(odd.locator("input[type=range]")).to_have_attribute("max", "9")
    expect(odd).not_to_have_class(re.compile("pg-problem"))
    show(page)
    expect(odd).to_have_text(failed)
    expect(odd.locator("input")).to_have_count(0)
    assert log.problems == []


def test_a_chart_that_fails_is_named_and_does_not_look_empty(
    opened: tuple[Page, PageLog],
) -> None:
    page, log = opened
    show(page)
    failed = part_of(page).locator(".plotly-view.pg-problem")
    expect(failed).to_have_text(re.compile("^Something went wrong .* in “Lab › Odd bars” "))
    expect(failed.locator(".chart-empty")).to_be_hidden()
    show(page, "Long")
    expect(failed).to_have_count(0)
    expect(part_of(page).get_by_role("img", name="Odd bars")).to_be_visible()
    assert log.problems == []


def test_a_part_that_fails_shows_nothing_else(opened: tuple[Page, PageLog]) -> None:
    page, _ = opened
    show(page)
    page.get_by_role("button", name="Broken", exact=True).click()
    message = part_of(page).locator(".pg-part-message.pg-problem")
    expect(message).to_have_text(re.compile("^Something went wrong on the server in “Lab” "))
    assert part_of(page).locator("> :visible").count() == 1
    show(page, "Long")
    expect(message).to_be_hidden()
    expect(control(page, "size")).to_be_visible()


def test_presets_set_several_controls(opened: tuple[Page, PageLog]) -> None:
    page, _ = opened
    show(page)
    page.get_by_role("button", name="Much").click()
    expect(page.locator("#sized")).to_have_text(re.compile("size 5 of"))
    expect(page.locator("#kinded")).to_have_text(re.compile("^less"))
    expect(control(page, "size").locator("input[type=range]")).to_have_value("5")
    expect(control(page, "kind").get_by_label("Less")).to_be_checked()
    page.get_by_role("button", name="As it was").click()
    expect(page.locator("#sized")).to_have_text(re.compile("size 1 of"))


def test_rows_come_and_go(opened: tuple[Page, PageLog]) -> None:
    page, _ = opened
    show(page)
    listed, rows = page.locator("#listed"), control(page, "rows")
    expect(listed).to_have_text("[1, 5]")
    rows.get_by_role("button", name="Duplicate A").click()
    expect(listed).to_have_text("[1, 1, 5]")
    expect(rows.locator("fieldset")).to_have_count(3)
    expect(rows.get_by_role("button", name="Add a row")).to_be_disabled()  # no more may be there
    rows.locator("fieldset").nth(1).locator("input[type=range]").fill("7")
    expect(listed).to_have_text("[1, 7, 5]")
    rows.get_by_role("button", name="Remove A").click()
    expect(listed).to_have_text("[7, 5]")
    rows.get_by_role("button", name="Add a row").click()
    expect(listed).to_have_text("[7, 5, 5]")
    for letter in ("C", "B"):
        rows.get_by_role("button", name=f"Remove {letter}").click()
    expect(listed).to_have_text("[7]")
    expect(rows.get_by_role("button", name="Remove A")).to_be_disabled()  # the last one stays


def test_the_keyboard_is_enough(opened: tuple[Page, PageLog]) -> None:
    page, _ = opened
    show(page)
    control(page, "start").get_by_role("button").first.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#sized")).to_have_text(re.compile("size 5 of"))
    reached = []
    for _ in range(8):
        page.keyboard.press("Tab")
        reached.append(page.evaluate(
            "document.activeElement.closest('[data-control]')?.dataset.control ?? ''"
            " + document.activeElement.type"
        ))  # fmt: skip
    assert list(dict.fromkeys(reached))[:5] == ["start", "size", "kind", "word", "on"]
    control(page, "size").locator("input[type=range]").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#sized")).to_have_text(re.compile("size 6 of"))
    control(page, "kind").get_by_label("Less").focus()
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#kinded")).to_have_text(re.compile("^raw"))
    expect(control(page, "kind").get_by_label("Raw")).to_be_focused()
    control(page, "on").get_by_label("On").focus()
    page.keyboard.press("Space")
    expect(page.locator("#kinded")).to_have_text("raw red True")


# ------------------------------------------------------------------------------ experiments


def test_an_experiment_streams_and_is_stopped(opened: tuple[Page, PageLog]) -> None:
    page, log = opened
    show(page)
    parts.MEASURED.clear()
    slide(page, 2)
    page.get_by_role("button", name="Measure").click()
    found = page.locator("#found")
    expect(found).to_have_text(re.compile(r"2 at \d+"))
    first = found.inner_text()
    expect(found).not_to_have_text(first)
    expect(part_of(page)).to_have_attribute("data-busy", "measured")
    expect(page.locator(".js-plotly-plot")).to_have_count(0)  # drawn at the end alone
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(part_of(page)).not_to_have_attribute("data-busy", "measured")
    stopped = len(parts.MEASURED)
    assert stopped < 200
    expect(page.locator(".js-plotly-plot")).to_have_count(1)  # what was found until then
    last = int(found.inner_text().split()[-1])
    assert last <= max(parts.MEASURED)
    time.sleep(0.5)
    assert len(parts.MEASURED) == stopped
    assert log.problems == []


def test_a_failure_is_said_in_the_part(opened: tuple[Page, PageLog]) -> None:
    page, _ = opened
    show(page)
    page.get_by_role("button", name="Fail").click()
    message = part_of(page).locator(".pg-part-message.pg-problem")
    expect(message).to_have_text("Too much. Choose less.")
    expect(page.locator("#sized")).to_be_visible()
    slide(page, 2)
    expect(message).to_be_hidden()
    expect(page.locator("#sized")).to_have_text(re.compile("size 2 of"))


def test_what_was_found_is_of_its_run(opened: tuple[Page, PageLog]) -> None:
    page, _ = opened
    show(page)
    page.get_by_role("button", name="Measure").click()
    expect(page.locator("#found")).to_be_visible()
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(page.locator(".js-plotly-plot")).to_have_count(1)
    show(page, "Long")
    expect(page.locator("#found")).to_have_count(0)
