"""A page in headless Chromium and its cost: main-thread time, wall time, long tasks.

Main-thread time is counted by Chromium (``Performance.getMetrics``: TaskDuration). Like CPU time,
it depends less on other programs than wall time.
"""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page, Playwright

from reliability.chromium import ARGUMENTS, find_chromium
from scripts.screenshots import ROOT, wait_until_up

TIMEOUT_MS = 240_000
POLL_MS = 50
LONG_MS = 200  # long enough to notice
NOTHING = "/nothing-here"  # an almost empty page of the same process
# A driven Chromium reports where each error was thrown, even if a library catches it. V8 then
# parses the library again, for up to a second. A visitor's browser does not.
EAGER_POSITIONS = "--js-flags=--no-enable-lazy-source-positions"
WATCH = """
window.longTasks = [];
new PerformanceObserver((list) => list.getEntries().forEach(
  (entry) => window.longTasks.push(entry.duration))).observe({ type: "longtask", buffered: true });
window.acted = 0;
for (const name of ["click", "input"])
  addEventListener(name, () => (window.acted = performance.now()), true);
window.changed = 0;
new MutationObserver(() => (window.changed = performance.now())).observe(document, {
  subtree: true, childList: true, attributeFilter: ["data-asking", "data-busy", "data-state"] });
"""
# Checks that the visible parts and their charts are drawn; returns when the page last changed
# before that (``window.changed``), or 0.
DRAWN = """(run) => {
  const here = (part) => part.offsetParent && part.getBoundingClientRect().top < innerHeight;
  const parts = [...document.querySelectorAll(".pg-part")].filter(here);
  const isDrawn = (part) => part.dataset.state === "ready" && part.dataset.asking === undefined
    && part.dataset.busy === undefined && part.dataset.shown !== run
    && (part.dataset.shown !== undefined || part.classList.contains("pg-absent"))
    && [...part.querySelectorAll(".chart-box[data-state=drawn] .chart-plot")].every(
      (plot) => !plot.offsetParent || plot.querySelector(".main-svg"));
  const done = document.querySelector("#parity-badge") && parts.length && parts.every(isDrawn);
  return done ? window.changed : 0;
}"""


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of one action on the page."""

    task_s: float  # of the main thread
    wall_s: float
    long_ms: tuple[float, ...]  # tasks over 50 ms, as the browser reports them

    @property
    def over(self) -> int:
        """The number of tasks that are long enough to notice."""
        return sum(task > LONG_MS for task in self.long_ms)

    @property
    def longest_ms(self) -> float:
        return max(self.long_ms, default=0.0)


class Watched:
    """A page whose costs are measured."""

    def __init__(self, context: BrowserContext, address: str) -> None:
        """Open an almost empty page in the browser process that will show the page."""
        self.page: Page = context.new_page()
        self.page.set_default_timeout(TIMEOUT_MS)
        self.page.add_init_script(WATCH)
        self.address = address
        self.page.goto(address + NOTHING)
        self._session = context.new_cdp_session(self.page)
        self._session.send("Performance.enable")

    def task_s(self) -> float:
        """Main-thread time so far."""
        metrics: list[Any] = self._session.send("Performance.getMetrics")["metrics"]
        return next(float(each["value"]) for each in metrics if each["name"] == "TaskDuration")

    def open(self, drawn: str) -> Cost:
        """Open the page and wait until it is drawn.

        Args:
            drawn: JavaScript function that returns the time at which the page was drawn, or 0.
        """
        before = self.task_s()
        # Set the language, so that neither side redirects.
        self.page.goto(self.address + "/?lang=en", wait_until="commit")
        end = self.wait(drawn)
        return Cost(self.task_s() - before, end / 1000, self._long_tasks())

    def do(self, act: Callable[[], object], drawn: str, given: object = None) -> Cost:
        """Act, and wait until the result is drawn; ``given`` is passed to the function.

        Time starts when the page notices the click or the input (``window.acted``): before that,
        the driver looks for the element and moves the mouse.
        """
        self.page.evaluate("window.longTasks = []")
        before = self.task_s()
        act()
        end = self.wait(drawn, given)
        start = float(self.page.evaluate("window.acted"))
        return Cost(self.task_s() - before, (end - start) / 1000, self._long_tasks())

    def wait(self, drawn: str, given: object = None) -> float:
        """Page time at which it was drawn, in milliseconds."""
        found = self.page.wait_for_function(drawn, arg=given, polling=POLL_MS, timeout=TIMEOUT_MS)
        return float(found.json_value())

    def _long_tasks(self) -> tuple[float, ...]:
        return tuple(self.page.evaluate("window.longTasks"))


def start_chromium(playwright: Playwright) -> Browser:
    """Start headless Chromium without a GPU.

    Raises:
        SystemExit: Chromium is not installed.
    """
    path = find_chromium()
    if path is None:
        raise SystemExit("Chromium was not found. Set CHROMIUM to its path.")
    return playwright.chromium.launch(executable_path=path, args=[*ARGUMENTS, EAGER_POSITIONS])


def new_visitor(browser: Browser) -> BrowserContext:
    """A new browser profile with an empty cache."""
    return browser.new_context(viewport={"width": 1280, "height": 900})


@contextmanager
def serving(*program: str) -> Iterator[str]:
    """Start a Python program that serves a page on ``--port``, and yield its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, *program, "--port", str(port)], cwd=ROOT, stdout=subprocess.DEVNULL
    )
    address = f"http://127.0.0.1:{port}"
    try:
        wait_until_up(address, process)
        yield address
    finally:
        process.terminate()
        process.wait(timeout=30)


def middle(values: list[float], unit: str = "", digits: int = 2) -> str:
    """Median with the smallest and the largest."""
    if not values:
        return "–"
    each = [f"{number:.{digits}f}" for number in (median(values), min(values), max(values))]
    return f"{each[0]} ({each[1]}–{each[2]}){unit}"
