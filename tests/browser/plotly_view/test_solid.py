"""3-D charts: WebGL contexts and the camera."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Locator

from reliability.chromium import COUNT_CONTEXTS
from tests.browser.conftest import PageFactory
from tests.browser.plotly_view.hands import drag, plot_of, wait_for_trace

pytestmark = pytest.mark.browser


def colors_in(target: Locator) -> int:
    """Return how many colours a part of the page shows."""
    picture = Image.open(io.BytesIO(target.screenshot())).convert("RGB")
    return len(np.unique(np.asarray(picture).reshape(-1, 3), axis=0))


def test_webgl_contexts_stay_constant(page: PageFactory, solid_url: str) -> None:
    tab, log = page(solid_url, init_script=COUNT_CONTEXTS)
    still = plot_of(tab, "still")
    plot_of(tab, "moving")
    tab.wait_for_function("() => liveContexts() >= 2")
    # Plotly also keeps the context in which it asks what the browser can do.
    contexts = tab.evaluate("liveContexts()")
    assert contexts <= 4
    for step in range(1, 21):
        tab.click("#update")
        wait_for_trace(tab, "moving", f"seed {step}")
    assert tab.evaluate("liveContexts()") == contexts
    assert colors_in(still.locator("canvas").first) > 50
    assert colors_in(tab.locator("#moving canvas").first) > 50

    # Away and back, several times: the context goes with the chart.
    for _ in range(4):
        tab.locator("#toggle input").uncheck()
        tab.wait_for_function("() => !document.querySelector('#still .js-plotly-plot')")
        tab.wait_for_function("n => liveContexts() < n", arg=contexts)
        tab.locator("#toggle input").check()
        plot_of(tab, "still")
        tab.wait_for_function("n => liveContexts() === n", arg=contexts)
    assert log.problems == []


def test_the_camera_survives_an_update(page: PageFactory, solid_url: str) -> None:
    tab, _ = page(solid_url)
    plot = plot_of(tab, "moving")
    read = "plot => plot._fullLayout.scene._scene.getCamera().eye"
    before = plot.evaluate(read)
    drag(tab, plot.locator("canvas").first, (0.5, 0.5), (0.7, 0.6))
    tab.wait_for_function(
        "x => Math.abs(document.querySelector('#moving .chart-plot')"
        "._fullLayout.scene._scene.getCamera().eye.x - x) > 0.05",
        arg=before["x"],
    )
    turned = plot.evaluate(read)
    for _ in range(40):  # the scene turns on for a moment after the drag
        tab.wait_for_timeout(250)
        last, turned = turned, plot.evaluate(read)
        if turned == last:
            break
    tab.click("#update")
    wait_for_trace(tab, "moving", "seed 1")
    assert plot.evaluate(read) == pytest.approx(turned, abs=1e-3)
