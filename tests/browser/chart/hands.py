"""What a person does with a chart."""

from __future__ import annotations

import json

from playwright.sync_api import Locator, Page

from tests.browser.conftest import TIMEOUT_MS


def plot_of(page: Page, name: str) -> Locator:
    """Return the plot of a chart once it is drawn."""
    plot = page.locator(f"#{name} .chart-plot.js-plotly-plot")
    plot.locator(".main-svg").first.wait_for(state="attached")
    return plot


def wait_for_trace(page: Page, chart: str, name: str) -> None:
    """Wait until the first trace has this name, i.e. until the update is drawn."""
    page.wait_for_function(
        "([chart, name]) => document.querySelector(`#${chart} .chart-plot`)"
        "?._fullData?.[0]?.name === name",
        arg=[chart, name],
        timeout=TIMEOUT_MS,
    )


def wait_until_it_turns(page: Page, chart: str) -> None:
    """Wait until a scene follows the hand: a new one takes no move for 500 ms."""
    page.wait_for_function(
        "chart => document.querySelector(`#${chart} .chart-plot`)"
        "?._fullLayout?.scene?._scene?.camera?.view.lastT() <= performance.now()",
        arg=chart,
        timeout=TIMEOUT_MS,
    )


def wait_for_frames(page: Page, count: int = 30) -> None:
    """Wait until the page has drawn this often: a scene that was turned has come to rest."""
    page.evaluate(
        "async count => { while (count-- > 0) await new Promise(requestAnimationFrame) }", count
    )


def click_middle(page: Page, target: Locator) -> None:
    """Move there and click, as Plotly needs to see the pointer come."""
    target.scroll_into_view_if_needed()
    box = target.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x - 3, y - 2)
    page.mouse.move(x, y, steps=3)
    page.mouse.click(x, y)


def drag(page: Page, target: Locator, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Drag from one place to another, both as parts of the target's width and height."""
    target.scroll_into_view_if_needed()
    box = target.bounding_box()
    assert box is not None

    def at(point: tuple[float, float]) -> tuple[float, float]:
        return box["x"] + point[0] * box["width"], box["y"] + point[1] * box["height"]

    page.mouse.move(*at(start))
    page.mouse.down()
    page.mouse.move(*at(end), steps=8)
    page.mouse.up()


def clicked_point(page: Page, target: Locator) -> dict:
    """Click a chart; return the one point that the Python handler received."""
    field = page.locator("#selected textarea, #selected input")
    before = field.input_value()
    click_middle(page, target)
    page.wait_for_function(
        "([field, before]) => field.value !== before", arg=[field.element_handle(), before]
    )
    (point,) = json.loads(field.input_value())
    return point
