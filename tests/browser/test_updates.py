"""What a run costs the browser: Gradio looks for each component that it updates among all."""

from __future__ import annotations

from playwright.sync_api import Page, Route

from components.gradio_scripts import FAULT, MENDED, mended_scripts
from tests.browser.conftest import PageFactory
from tests.browser.steps import open_tab, run_and_wait, wait_until_drawn

UPDATES = "async update_state(e,t,n=!0){"
COUNT = "window.updates = (window.updates ?? 0) + 1;"
# Two for each message of a run, its notes on the inputs' states, and what it draws. Gradio made
# 4,446 of it, a tenth of a second of the browser's time at each message.
MOST_UPDATES = 500


def count_updates(page: Page) -> None:
    """Have the page count how often it looks for a component."""

    def add_counter(route: Route) -> None:
        response = route.fetch()
        script = response.text()
        assert UPDATES in script
        route.fulfill(response=response, body=script.replace(UPDATES, UPDATES + COUNT))

    page.route("**/assets/core-*.js", add_counter)


def test_a_run_updates_what_it_changes(address: str, page: PageFactory) -> None:
    opened, log = page("about:blank")
    count_updates(opened)
    opened.goto(address)
    wait_until_drawn(opened)
    open_tab(opened, "2 Vision tower")
    for question in ("How many shapes are there?", "What color is the circle?"):
        opened.locator("#input-text textarea").fill(question)
        opened.evaluate("window.updates = 0")
        run_and_wait(opened)
        assert 10 < opened.evaluate("window.updates") < MOST_UPDATES
    assert log.problems == []


def test_this_gradio_has_the_fault() -> None:
    """Where it no longer has, the mending may go."""
    scripts = mended_scripts()
    assert len(scripts) == 1
    for content in scripts.values():
        assert content.count(MENDED) == 1
        assert FAULT not in content
