"""A finger on a chart: the page scrolls past it, and a 3-D scene turns."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Locator, Page

from tests.browser.chart.hands import plot_of, wait_for_frames, wait_until_it_turns
from tests.browser.conftest import PageFactory

pytestmark = pytest.mark.browser

PHONE: dict[str, Any] = {"width": 390, "height": 500, "has_touch": True, "is_mobile": True}
READ_EYE = "plot => plot._fullLayout.scene._scene.getCamera().eye"


def swipe(page: Page, target: Locator, right: int, down: int) -> None:
    """Move one finger over the middle of the target by so many pixels."""
    box = target.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    hand = page.context.new_cdp_session(page)

    def touch(kind: str, *positions: tuple[float, float]) -> None:
        points = [{"x": left, "y": top} for left, top in positions]
        hand.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", (x, y))
    for part in range(1, 11):
        page.wait_for_timeout(30)
        touch("touchMove", (x + right * part / 10, y + down * part / 10))
    touch("touchEnd")


@pytest.fixture(scope="module")
def scene(module_page: PageFactory, solid_url: str) -> tuple[Page, Locator]:
    """A phone with two scenes, and the first of them."""
    tab, _ = module_page(solid_url, **PHONE)
    return tab, plot_of(tab, "moving")


def test_a_narrow_scene_is_seen_from_farther_off(scene: tuple[Page, Locator]) -> None:
    _, plot = scene
    box = plot.bounding_box()
    assert box is not None
    assert box["width"] < box["height"] <= 1.1 * box["width"] + 1
    times = 330 / box["width"]  # as ROOM_FOR_TITLES in chart_look.js
    assert times > 1.1
    expected = {"x": 1.5 * times, "y": 1.5 * times, "z": times}
    assert plot.evaluate(READ_EYE) == pytest.approx(expected, abs=0.02)


def test_a_finger_turns_a_scene(scene: tuple[Page, Locator]) -> None:
    tab, plot = scene
    before = plot.evaluate(READ_EYE)
    wait_until_it_turns(tab, "moving")
    swipe(tab, plot, right=60, down=20)
    tab.wait_for_function(
        "([plot, before]) => {"
        "  const eye = plot._fullLayout.scene._scene.getCamera().eye;"
        "  return Math.hypot(eye.x - before.x, eye.y - before.y, eye.z - before.z) > 0.1; }",
        arg=[plot.element_handle(), before],
    )
    assert tab.evaluate("scrollY") == 0


def test_a_finger_scrolls_past_a_scene(scene: tuple[Page, Locator]) -> None:
    tab, plot = scene
    wait_for_frames(tab)
    before = plot.evaluate(READ_EYE)
    swipe(tab, plot, right=10, down=-150)
    tab.wait_for_function("() => scrollY > 50")
    assert plot.evaluate(READ_EYE) == pytest.approx(before, abs=1e-3)


def test_a_finger_scrolls_past_flat_charts(page: PageFactory, flat_url: str) -> None:
    tab, _ = page(flat_url, **PHONE)
    for chart in ("lines", "heat", "tiles"):
        plot = plot_of(tab, chart)
        plot.scroll_into_view_if_needed()
        before = tab.evaluate("scrollY")
        swipe(tab, plot, right=0, down=-150)
        tab.wait_for_function("before => scrollY > before + 50", arg=before)
