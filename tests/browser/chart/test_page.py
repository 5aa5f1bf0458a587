"""A chart in its page: names, languages, files, addresses, failures."""

from __future__ import annotations

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from playground.language import speaking
from tests.browser.chart.charts import build_demo
from tests.browser.chart.hands import plot_of, wait_for_trace
from tests.browser.conftest import AppServer, PageFactory

pytestmark = pytest.mark.browser


def test_names_for_screen_readers_and_the_empty_state(shared: Page) -> None:
    plot_of(shared, "lines")
    name = "Norms after step 0. The norm grows by one per layer."
    assert shared.get_by_role("img", name=name, exact=True).count() == 1
    expect(shared.locator("#empty .chart-empty")).to_have_text("Logit lens — Nothing to draw yet.")
    assert not shared.locator("#empty .chart-plot").is_visible()
    assert not shared.locator("#empty summary").is_visible()


def test_a_chinese_page_has_chinese_charts(page: PageFactory, app_server: AppServer) -> None:
    with speaking("zh"):
        url = app_server(build_demo)
    tab, _ = page(url)
    plot_of(tab, "bars")
    expect(tab.locator("#bars summary")).to_have_text("以表格显示")


def test_the_png_has_a_sensible_name(shared: Page) -> None:
    plot_of(shared, "bars")
    with shared.expect_download() as download:
        shared.click("#bars .chart-png")
    assert download.value.suggested_filename == "next-token.png"
    with Image.open(download.value.path()) as image:
        assert image.height == 2 * (260 + 36)


def test_no_other_host_is_asked_and_plotly_comes_once(page: PageFactory, flat_url: str) -> None:
    tab, log = page(flat_url)
    for name in ("lines", "bars", "heat", "tiles"):
        plot_of(tab, name)
    assert log.hosts() == {flat_url.split("/")[2]}
    for file in ("plotly.min.js", "/chart.js", "chart_table.js", "chart.css"):
        assert sum(file in url for url in log.urls) == 1
    # The browser's own cache would hide a second copy from the requests.
    assert tab.locator("script[src*='plotly.min.js']").count() == 1
    assert tab.locator("a[href*='plotly']").count() == 0
    assert log.problems == []


def test_below_a_path_with_and_without_a_slash(page: PageFactory, prefixed_url: str) -> None:
    for url in (prefixed_url, prefixed_url.rstrip("/")):
        tab, log = page(url)
        plot_of(tab, "bars")
        assert all("/some/path" in url for url in log.urls if "plotly" in url)


def test_a_chart_that_fails_leaves_the_page_alive(page: PageFactory, flat_url: str) -> None:
    tab, log = page("about:blank")
    tab.route("**/plotly.min.js*", lambda route: route.abort())
    tab.goto(flat_url)
    tab.locator("#bars .chart-error").wait_for()
    assert "chart library did not load" in tab.locator("#bars .chart-error").inner_text()
    tab.get_by_role("tab", name="Late").click()
    tab.locator("#late .chart-empty").wait_for()
    # The browser comes back to its senses: the next drawing works.
    tab.unroute("**/plotly.min.js*")
    tab.click("#update")
    wait_for_trace(tab, "late", "step 1")
    assert not any("Uncaught" in problem for problem in log.problems)
