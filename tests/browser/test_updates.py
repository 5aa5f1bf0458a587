"""What the page does while it is idle."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.conftest import PageFactory

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
    opened, log = page(address, init_script=NOTE_DRAWINGS)
    opened.wait_for_function("window.drawings.includes('bar')")
    assert {"scatter", "heatmap"} < set(opened.evaluate("window.drawings"))
    expect(opened.locator(".js-plotly-plot")).to_have_count(0)
    assert log.problems == []
