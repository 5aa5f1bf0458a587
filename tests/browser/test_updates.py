"""What a run costs the browser: Gradio looks for each component that it updates among all."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, Route, expect

from components.gradio_scripts import MENDS, SEARCH, Mend, mended_scripts
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


# Finds components in a tree of them: which were found, and how often an id was read the first two
# times.
FIND = """
(search) => {
  let reads = 0;
  const component = (id, ...children) => ({ get id() { reads += 1; return id; }, children });
  const many = Array.from({ length: 500 }, (_, index) => component(100 + index));
  const root = component(0, component(1, ...many), component(2, component(3)));
  const find = new Function(`${search}; return Z`)();
  const look = (id) => { reads = 0; return find(root, id)?.id ?? null; };
  const places = [look(3)];
  const costs = [reads];
  places.push(look(3));
  costs.push(reads);
  root.children.reverse();
  places.push(look(3)); // moved
  root.children[0].children.pop();
  places.push(look(3), look(0), look(599)); // removed, the tree's root, the last
  return { places, costs };
}
"""


def test_a_component_is_searched_for_once(page: PageFactory) -> None:
    opened, _ = page("about:blank")
    before, after = (opened.evaluate(FIND, search) for search in (SEARCH.fault, SEARCH.mended))
    assert after["places"] == before["places"] == [3, 3, 3, None, 0, 599]
    assert min(*before["costs"], after["costs"][0]) > 500
    assert after["costs"][1] < 5


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


@pytest.mark.parametrize("mend", MENDS, ids=lambda mend: mend.name)
def test_this_gradio_has_the_fault(mend: Mend) -> None:
    """Where it no longer has, the mending may go."""
    scripts = mended_scripts()
    assert len(scripts) == len(MENDS)
    assert [content.count(mend.mended) for content in scripts.values()].count(1) == 1
    assert all(mend.fault not in content for content in scripts.values())
