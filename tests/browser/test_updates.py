"""How much Gradio's page does in a run, and what is done while it is idle."""

from __future__ import annotations

from playwright.sync_api import Page, Route, expect

from tests.browser.conftest import PageFactory
from tests.browser.steps import (
    open_tab,
    run_and_wait,
    wait_until_drawn,
)

UPDATES = "async update_state(e,t,n=!0){"
# For each message of a run, and its notes on the inputs' states: 179 in all; parts draw themselves.
MOST_UPDATES = 250


def count_calls(page: Page, method: str) -> None:
    """Have the page count the calls of a method of Gradio's tree of components."""

    def add_counter(route: Route) -> None:
        response = route.fetch()
        script = response.text()
        assert script.count(method) == 1
        counted = method + "window.calls = (window.calls ?? 0) + 1;"
        route.fulfill(response=response, body=script.replace(method, counted))

    page.route("**/assets/core-*.js", add_counter)


def test_a_run_updates_what_it_changes(address: str, page: PageFactory) -> None:
    opened, log = page("about:blank")
    count_calls(opened, UPDATES)
    opened.goto(address)
    wait_until_drawn(opened)
    open_tab(opened, "2 Vision tower")
    for question in ("How many shapes are there?", "What color is the circle?"):
        opened.locator("#input-text textarea").fill(question)
        opened.evaluate("window.calls = 0")
        run_and_wait(opened)
        assert 0 < opened.evaluate("window.calls") < MOST_UPDATES
    assert log.problems == []


# Notes the kinds of charts that are drawn.
NOTE_DRAWINGS = """
window.drawings = [];
let library;
Object.defineProperty(window, "Plotly", { get: () => library, set: (value) => {
  library = value;
  const react = value.react;
  value.react = (plot, data, ...rest) => {
    window.drawings.push(...data.map((trace) => trace.type ?? "scatter"));
    return react(plot, data, ...rest);
  };
} });
"""


def test_charts_are_tried_out_of_sight(address: str, page: PageFactory) -> None:
    opened, log = page("about:blank")
    opened.add_init_script(NOTE_DRAWINGS)
    opened.goto(address)
    opened.wait_for_function("window.drawings.includes('bar')")
    assert {"scatter", "heatmap"} < set(opened.evaluate("window.drawings"))
    expect(opened.locator(".js-plotly-plot")).to_have_count(0)
    assert log.problems == []
