"""The table twin of each chart."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page

from tests.browser.chart.charts import WORDS
from tests.browser.chart.hands import plot_of
from tests.browser.conftest import PageFactory

pytestmark = pytest.mark.browser


def table_of(page: Page, name: str) -> tuple[list[str], list[list[str]]]:
    """Open the table twin with the keyboard; return its headings and rows."""
    plot_of(page, name)
    page.locator(f"#{name} summary").focus()
    page.keyboard.press("Enter")
    table = page.locator(f"#{name} .chart-rows table")
    table.wait_for()
    rows = table.evaluate("t => [...t.rows].map(row => [...row.cells].map(c => c.textContent))")
    return rows[0], rows[1:]


def test_the_table_twin_lists_the_bars(shared: Page) -> None:
    headings, rows = table_of(shared, "bars")
    assert headings == ["probability", "token", "token id", "rank"]
    assert rows[1] == ["0.25", "<|im_end|>", "12", "1"]
    assert [row[1] for row in rows] == WORDS


def test_the_table_twin_of_a_heat_map_says_how_many_more(shared: Page) -> None:
    headings, rows = table_of(shared, "heat")
    assert headings == ["decoder layer", "position", "L2 norm"]
    assert len(rows) == 200
    assert rows[31] == ["1", "1", "101"]
    assert "400 more rows" in shared.locator("#heat .chart-rows").inner_text()


def test_the_table_twin_of_a_treemap(shared: Page) -> None:
    headings, rows = table_of(shared, "tiles")
    assert headings == ["label", "parent", "value"]
    assert rows[1] == ["visual", "model", "99"]


def test_the_table_twin_follows_the_chart(page: PageFactory, flat_url: str) -> None:
    tab, _ = page(flat_url)
    headings, rows = table_of(tab, "lines")
    assert headings == ["series", "layer", "norm (L2)"]
    assert rows[0] == ["step 0", "0", "0"]
    assert rows[40] == ["reversed", "0", "39"]
    tab.click("#update")
    tab.wait_for_function(
        "() => document.querySelector('#lines .chart-rows td').textContent === 'step 1'"
    )
