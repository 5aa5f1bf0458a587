"""3-D charts: WebGL contexts and the camera."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Locator

from reliability.chromium import COUNT_CONTEXTS
from tests.browser.chart.hands import (
    drag,
    plot_of,
    wait_for_frames,
    wait_for_trace,
    wait_until_it_turns,
)
from tests.browser.conftest import PageFactory

pytestmark = pytest.mark.browser

WIDTH = 500  # a scene without a GPU takes time by the pixel


def colors_in(target: Locator) -> int:
    """Return how many colours a part of the page shows."""
    image = Image.open(io.BytesIO(target.screenshot())).convert("RGB")
    return len(np.unique(np.asarray(image).reshape(-1, 3), axis=0))


def test_webgl_contexts_stay_constant(page: PageFactory, solid_url: str) -> None:
    tab, log = page(solid_url, width=WIDTH, init_script=COUNT_CONTEXTS)
    still = plot_of(tab, "still")
    plot_of(tab, "moving")
    tab.wait_for_function("() => liveContexts() >= 2")
    # Plotly also keeps the context in which it asks what the browser can do.
    contexts = tab.evaluate("liveContexts()")
    assert contexts <= 4
    for step in range(1, 5):
        tab.click("#update")
        wait_for_trace(tab, "moving", f"seed {step}")
    assert tab.evaluate("liveContexts()") == contexts
    assert colors_in(still.locator("canvas").first) > 50
    assert colors_in(tab.locator("#moving canvas").first) > 50

    # Away and back, several times: the context goes with the chart.
    for _ in range(2):
        tab.locator("#toggle input").uncheck()
        tab.wait_for_function("() => !document.querySelector('#still .js-plotly-plot')")
        tab.wait_for_function("n => liveContexts() < n", arg=contexts)
        tab.locator("#toggle input").check()
        plot_of(tab, "still")
        tab.wait_for_function("n => liveContexts() === n", arg=contexts)
    assert log.problems == []


READ_EYE = "plot => plot._fullLayout.scene._scene.getCamera().eye"

#: Where every scene is first seen from (chart_look.js).
START = {"x": 1.5, "y": 1.5, "z": 1.0}

#: Let go in the middle of a move: Plotly turns on by the speed of the last move, for as long as the
#: next frame takes, after it has stored the camera.
FLICK = """async (plot, byTouch) => {
  const canvas = plot.querySelector("canvas");
  const box = canvas.getBoundingClientRect();
  const NAMES = { mousedown: "touchstart", mousemove: "touchmove", mouseup: "touchend" };
  const send = (name, part, buttons) => {
    const place = { clientX: box.left + part * box.width, clientY: box.top + box.height / 2 };
    if (!byTouch)
      return canvas.dispatchEvent(
        new MouseEvent(name, { ...place, button: 0, buttons, bubbles: true }));
    const changedTouches = [new Touch({ identifier: 0, target: canvas, ...place })];
    canvas.dispatchEvent(new TouchEvent(NAMES[name], { changedTouches, bubbles: true }));
  };
  const frame = () => new Promise(requestAnimationFrame);
  if (!byTouch) send("mousemove", 0.4, 0);
  send("mousedown", 0.4, 1);
  for (const part of [0.45, 0.5]) {
    await frame();
    send("mousemove", part, 1);
  }
  await new Promise((resolve) => setTimeout(resolve, 4));
  send("mousemove", 0.55, 1);
  send("mouseup", 0.55, 0);
  const stored = plot._fullLayout.scene.camera.eye;
  for (const end = performance.now() + 80; performance.now() < end;); // as where the page is busy
  for (let count = 0; count < 30; count += 1) await frame();
  return stored;
}"""


def test_the_camera_survives_an_update(page: PageFactory, solid_url: str) -> None:
    tab, _ = page(solid_url, width=WIDTH)
    plot = plot_of(tab, "moving")
    wait_until_it_turns(tab, "moving")
    drag(tab, plot.locator("canvas").first, (0.5, 0.5), (0.7, 0.6))
    wait_for_frames(tab)
    turned = plot.evaluate(READ_EYE)
    assert turned != pytest.approx(START, abs=0.05)
    tab.click("#update")
    wait_for_trace(tab, "moving", "seed 1")
    assert plot.evaluate(READ_EYE) == pytest.approx(turned, abs=1e-3)


@pytest.mark.parametrize("by_touch", [False, True], ids=["mouse", "touch"])
def test_the_camera_stays_where_a_flick_left_it(
    page: PageFactory, solid_url: str, by_touch: bool
) -> None:
    tab, _ = page(solid_url, width=WIDTH)
    plot = plot_of(tab, "moving")
    for step in (1, 2):  # Plotly notes a turn in another place after the first update
        wait_until_it_turns(tab, "moving")
        stored = plot.evaluate(FLICK, by_touch)
        turned = plot.evaluate(READ_EYE)
        assert turned != pytest.approx(stored, abs=1e-2)  # it did turn on
        tab.click("#update")
        wait_for_trace(tab, "moving", f"seed {step}")
        wait_for_frames(tab)
        assert plot.evaluate(READ_EYE) == pytest.approx(turned, abs=1e-3)
    tab.locator("#moving .chart-reset").click()
    tab.wait_for_function(
        "([plot, eye]) => Math.abs(plot._fullLayout.scene._scene.getCamera().eye.x - eye.x) < 1e-3",
        arg=[plot.element_handle(), START],
    )
