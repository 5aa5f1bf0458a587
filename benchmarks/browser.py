"""A page in headless Chromium, and what it costs: main-thread time, wall time, long tasks.

Main-thread time is what Chromium itself counts (``Performance.getMetrics``: TaskDuration). Like a
processor's time, it is less disturbed by other programs than the clock's.
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
LONG_MS = 200  # a reader notices
NOTHING = "/nothing-here"  # an address of the same process that shows next to nothing
# Who drives Chromium is told where each error was thrown, also where a library tries something and
# catches it; V8 then parses the library again, for up to a second. No reader's browser does that.
PLACES_KNOWN = "--js-flags=--no-enable-lazy-source-positions"
WATCH = """
window.longTasks = [];
new PerformanceObserver((list) => list.getEntries().forEach(
  (entry) => window.longTasks.push(entry.duration))).observe({ type: "longtask", buffered: true });
"""
# The parts in sight and their charts; gives the time at which that was seen.
DRAWN = """(run) => {
  const here = (part) => part.offsetParent && part.getBoundingClientRect().top < innerHeight;
  const parts = [...document.querySelectorAll(".pg-part")].filter(here);
  const isDrawn = (part) => part.dataset.state === "ready" && part.dataset.asking === undefined
    && part.dataset.busy === undefined && part.dataset.shown !== run
    && (part.dataset.shown !== undefined || part.classList.contains("pg-absent"))
    && [...part.querySelectorAll(".chart-box[data-state=drawn] .chart-plot")].every(
      (plot) => !plot.offsetParent || plot.querySelector(".main-svg"));
  const done = document.querySelector("#parity-badge") && parts.length && parts.every(isDrawn);
  return done ? performance.now() : 0;
}"""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one thing that a reader did cost the page."""

    task_s: float  # of the main thread
    wall_s: float
    long_ms: tuple[float, ...]  # tasks over 50 ms, as the browser reports them

    @property
    def over(self) -> int:
        """Tasks that a reader notices."""
        return sum(task > LONG_MS for task in self.long_ms)

    @property
    def longest_ms(self) -> float:
        return max(self.long_ms, default=0.0)


class Watched:
    """A page whose costs are counted."""

    def __init__(self, context: BrowserContext, address: str) -> None:
        """Open next to nothing, in the process that the page will be shown by."""
        self.page: Page = context.new_page()
        self.page.set_default_timeout(TIMEOUT_MS)
        self.page.add_init_script(WATCH)
        self.address = address
        self.page.goto(address + NOTHING)
        self._session = context.new_cdp_session(self.page)
        self._session.send("Performance.enable")

    def task_s(self) -> float:
        """The main thread's time so far."""
        metrics: list[Any] = self._session.send("Performance.getMetrics")["metrics"]
        return next(float(each["value"]) for each in metrics if each["name"] == "TaskDuration")

    def open(self, drawn: str) -> Cost:
        """Open the page's address until it is drawn.

        Args:
            drawn: a function in JavaScript: the time at which it is, or 0.
        """
        before = self.task_s()
        # The language is chosen: no redirect on one side alone.
        self.page.goto(self.address + "/?lang=en", wait_until="commit")
        end = self.wait(drawn)
        return Cost(self.task_s() - before, end / 1000, self._long_tasks())

    def do(self, act: Callable[[], object], drawn: str, given: object = None) -> Cost:
        """Act, and wait until it is drawn; ``given`` goes to the function."""
        self.page.evaluate("window.longTasks = []")
        before, start = self.task_s(), float(self.page.evaluate("performance.now()"))
        act()
        end = self.wait(drawn, given)
        return Cost(self.task_s() - before, (end - start) / 1000, self._long_tasks())

    def wait(self, drawn: str, given: object = None) -> float:
        """The page's clock when it was drawn, in milliseconds."""
        found = self.page.wait_for_function(drawn, arg=given, polling=POLL_MS, timeout=TIMEOUT_MS)
        return float(found.json_value())

    def _long_tasks(self) -> tuple[float, ...]:
        return tuple(self.page.evaluate("window.longTasks"))


def start_chromium(playwright: Playwright) -> Browser:
    """Headless, without a GPU.

    Raises:
        SystemExit: there is none.
    """
    path = find_chromium()
    if path is None:
        raise SystemExit("There is no Chromium here; CHROMIUM may say where it lies.")
    return playwright.chromium.launch(executable_path=path, args=[*ARGUMENTS, PLACES_KNOWN])


def new_visitor(browser: Browser) -> BrowserContext:
    """A browser profile that has nothing of the page yet."""
    return browser.new_context(viewport={"width": 1280, "height": 900})


@contextmanager
def serving(*program: str) -> Iterator[str]:
    """Start a Python program that serves a page on ``--port``; yields its address."""
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
