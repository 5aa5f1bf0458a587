"""Charts in use: zoomed, clicked, updated, resized, in the dark."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from components.charts.style import escape_label
from tests.browser.chart.hands import clicked_point, drag, plot_of, wait_for_trace
from tests.browser.conftest import PageFactory

pytestmark = pytest.mark.browser


def test_zoom_survives_an_update_and_reset_undoes_it(page: PageFactory, flat_url: str) -> None:
    tab, _ = page(flat_url)
    plot = plot_of(tab, "lines")
    read_range = "plot => plot._fullLayout.xaxis.range.map(Number)"
    whole = plot.evaluate(read_range)
    drag(tab, plot.locator(".nsewdrag").first, (0.3, 0.3), (0.6, 0.7))
    tab.wait_for_function(
        "whole => document.querySelector('#lines .chart-plot')._fullLayout.xaxis.range[1] < whole",
        arg=whole[1],
    )
    zoomed = plot.evaluate(read_range)
    tab.click("#update")
    wait_for_trace(tab, "lines", "step 1")
    assert plot.evaluate(read_range) == zoomed
    expect(tab.locator("#lines .chart-title")).to_have_text("Norms after step 1")

    tab.click("#lines .chart-reset")
    tab.wait_for_function(
        "whole => Math.abs(document.querySelector('#lines .chart-plot')"
        "._fullLayout.xaxis.range[1] - whole) < 0.1",
        arg=whole[1],
    )


def test_a_click_on_a_bar_reaches_python(shared: Page) -> None:
    bar = plot_of(shared, "bars").locator(".bars .point path").nth(1)
    assert clicked_point(shared, bar) == {
        "curve": 0,
        "trace_name": "p",
        "point_index": 1,
        "x": 0.25,
        "y": escape_label("<|im_end|>"),
        "z": None,
        "label": None,
        "customdata": [12, 1],
    }


def test_a_click_on_a_heat_map_gives_row_and_column(shared: Page) -> None:
    point = clicked_point(shared, plot_of(shared, "heat").locator(".nsewdrag").first)
    row, column = point["point_index"]
    assert (point["y"], point["x"]) == (row, column)
    assert point["z"] == 100 * row + column
    assert 8 <= row <= 11
    assert 13 <= column <= 16


def test_a_click_on_a_tile_gives_its_label(shared: Page) -> None:
    tile = plot_of(shared, "tiles").locator(".slice path.surface").nth(1)
    assert clicked_point(shared, tile)["label"] == "visual"


def test_a_chart_emptied_and_drawn_again_still_answers(page: PageFactory, flat_url: str) -> None:
    tab, log = page(flat_url)
    plot_of(tab, "tiles")
    tab.locator("#shown input").uncheck()
    tab.locator("#tiles .chart-empty").wait_for()
    tab.locator("#shown input").check()
    tile = plot_of(tab, "tiles").locator(".slice path.surface").nth(1)
    assert clicked_point(tab, tile)["label"] == "visual"
    assert log.problems == []


def test_width_in_a_late_opened_tab_and_on_a_phone(page: PageFactory, flat_url: str) -> None:
    tab, _ = page(flat_url)
    plot_of(tab, "lines")
    tab.click("#update")
    wait_for_trace(tab, "lines", "step 1")
    tab.get_by_role("tab", name="Late").click()
    wait_for_trace(tab, "late", "step 1")
    plot = plot_of(tab, "late")
    widths = "plot => [plot.clientWidth, plot.querySelector('.main-svg').clientWidth]"
    outer, inner = plot.evaluate(widths)
    assert outer == inner > 900

    # Updated while its tab is closed, and the window has changed in between.
    tab.get_by_role("tab", name="Flat").click()
    tab.click("#update")
    wait_for_trace(tab, "lines", "step 2")
    tab.set_viewport_size({"width": 390, "height": 844})
    tab.get_by_role("tab", name="Late").click()
    wait_for_trace(tab, "late", "step 2")
    tab.wait_for_function(
        "() => { const plot = document.querySelector('#late .chart-plot');"
        " return plot.querySelector('.main-svg').clientWidth === plot.clientWidth; }"
    )
    assert 250 < plot.evaluate("plot => plot.clientWidth") < 390

    tab.get_by_role("tab", name="Flat").click()
    for name in ("lines", "bars", "heat", "tiles"):
        tab.wait_for_function(
            "name => { const plot = document.querySelector(`#${name} .chart-plot`);"
            " return plot.querySelector('.main-svg').clientWidth === plot.clientWidth; }",
            arg=name,
        )
    assert tab.evaluate("document.scrollingElement.scrollWidth") <= 390


def test_an_update_does_not_move_the_page(page: PageFactory, flat_url: str) -> None:
    tab, _ = page(flat_url)
    for name in ("lines", "bars", "heat", "tiles"):
        plot_of(tab, name)
    top = "() => document.querySelector('#tiles').getBoundingClientRect().top + scrollY"
    before = tab.evaluate(top)
    tab.click("#update")
    wait_for_trace(tab, "lines", "step 1")
    assert tab.evaluate(top) == before


def test_dark_mode_switches_colours_without_the_server(page: PageFactory, flat_url: str) -> None:
    tab, log = page(flat_url + "?__theme=light")
    plot = plot_of(tab, "lines")
    read = """plot => ({
        text: getComputedStyle(plot.querySelector('.xtick text')).fill,
        grid: getComputedStyle(plot.querySelector('.xgrid')).stroke,
        series: getComputedStyle(plot.querySelector('.js-line')).stroke,
    })"""
    for name in ("bars", "heat", "tiles"):
        plot_of(tab, name)
    light, asked = plot.evaluate(read), len(log.urls)
    tab.evaluate("document.body.classList.add('dark')")
    tab.wait_for_function(
        "old => getComputedStyle(document.querySelector('#lines .xtick text')).fill !== old",
        arg=light["text"],
    )
    dark = plot.evaluate(read)
    assert dark["grid"] != light["grid"]
    assert dark["series"] == light["series"]  # a series keeps its colour
    assert sum(map(int, dark["text"][4:-1].split(","))) > 3 * 128  # light text
    assert sum(map(int, light["text"][4:-1].split(","))) < 3 * 128
    assert not [url for url in log.urls[asked:] if "heartbeat" not in url]
