"""Everything on the page is opened and pressed once, and nothing goes wrong.

Nothing else is touched: what a visitor meets who only looks around. Tabs, folds and buttons are
found by their roles, so that the test holds for whatever the page is made of.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import PageFactory, PageLog, serve_app
from tests.browser.steps import RUN_TIMEOUT_MS, run_and_wait, wait_until_drawn

SCRIPT = Path(__file__).with_name("everything.js").read_text(encoding="utf-8")
PER_ROW = 3  # buttons of a table or a row; one may have a button for each token
PER_PLACE = 40  # presses; each press on a token of a branch makes more of them
FAULT = "Something went wrong"


@pytest.fixture(scope="module")
def mixture_address(tiny_random_moe_folder: Path) -> Iterator[str]:
    """The app on a small random mixture of experts."""
    with serve_app(str(tiny_random_moe_folder)) as url:
        yield url


def open_page(page: PageFactory, address: str) -> tuple[Page, PageLog]:
    opened, log = page(
        f"{address}?lang=en",
        width=1280,
        init_script=SCRIPT,
        permissions=["clipboard-read", "clipboard-write"],
    )
    opened.on("filechooser", lambda _: None)  # a button may ask for a file, and gets none
    wait_until_drawn(opened)
    wait_until_idle(opened)
    return opened, log


def wait_until_idle(page: Page) -> None:
    """Wait until nothing is under way, neither an event nor a request."""
    page.wait_for_function("net.isIdle()", timeout=RUN_TIMEOUT_MS)


def tab_paths(page: Page, above: str = "", depth: int = 0) -> Iterator[str]:
    """Open every tab, and every tab within; gives where the page is, once it is all unfolded."""
    names = page.evaluate("(depth) => net.tabs(depth).map((tab) => tab.innerText.trim())", depth)
    for index, name in enumerate(names):
        page.evaluate("([depth, index]) => net.tabs(depth)[index].click()", [depth, index])
        wait_until_idle(page)
        yield from tab_paths(page, f"{above}/{name}", depth + 1)
    if not names:
        while page.evaluate("net.unfold()"):  # folds may lie within folds
            wait_until_idle(page)
        yield above


def press_all(page: Page, tab: str) -> list[str]:
    """Press every button in sight, one after another; returns their names."""
    pressed: list[str] = []
    while (name := page.evaluate("([a, b]) => net.next(a, b)", [tab, PER_ROW])) is not None:
        wait_until_idle(page)
        pressed.append(name)
        check(page, f"{tab}: {name}")
    return pressed


def check(page: Page, tab: str) -> None:
    """Nothing has gone wrong so far."""
    assert page.evaluate("net.messages") == [], tab
    assert FAULT not in page.locator("body").inner_text(), tab
    expect(page.locator("[data-state='error']")).to_have_count(0)


@pytest.mark.slow
def test_whoever_opens_everything_and_presses_run_meets_no_fault(
    mixture_address: str, page: PageFactory
) -> None:
    """A mixture of experts; ``test_app.py`` opens everything on the shipped checkpoint."""
    opened, log = open_page(page, mixture_address)
    assert len(list(tab_paths(opened))) > 20  # or the tabs were not found
    check(opened, "all opened")
    run_and_wait(opened)
    wait_until_idle(opened)
    expect(opened.locator("#parity-badge")).to_be_visible()
    check(opened, "Run")
    assert log.problems == []


@pytest.mark.slow
@pytest.mark.skipif("LONG_TESTS" not in os.environ, reason="takes minutes: LONG_TESTS=1")
@pytest.mark.timeout(1800)  # many presses, a dozen of them whole runs; longer on a busy machine
@pytest.mark.parametrize("checkpoint", ["address", "mixture_address"])
def test_whoever_opens_and_presses_everything_meets_no_fault(
    checkpoint: str, request: pytest.FixtureRequest, page: PageFactory
) -> None:
    opened, log = open_page(page, request.getfixturevalue(checkpoint))
    seen = list(tab_paths(opened))
    assert len(seen) > 20  # or the tabs were not found
    check(opened, "all opened")
    run_and_wait(opened)
    wait_until_idle(opened)
    check(opened, "Run")
    pressed = {}
    for tab in tab_paths(opened):
        start = time.monotonic()
        pressed[tab] = press_all(opened, tab)
        print(f"{time.monotonic() - start:.1f} s {tab}: {pressed[tab]}")
    assert sum(map(len, pressed.values())) > 50  # or the buttons were not found
    run_and_wait(opened)
    expect(opened.locator("#parity-badge")).to_be_visible()
    check(opened, "Run once more")
    assert log.problems == []
