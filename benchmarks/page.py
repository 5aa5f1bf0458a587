"""The page in headless Chromium on the shipped checkpoint: first paint, run, slider, click, tab.

    python -m benchmarks.page [--runs 10]

Times end with the last change that the page made to itself, so that everything is drawn. The time
of the model is that of the same four stages in this process, taken in turn with the page's runs.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from statistics import median, quantiles
from typing import Any

from playwright.sync_api import Browser, CDPSession, Page, Position, sync_playwright

from benchmarks.models import load_shape
from benchmarks.pairs import machine_facts, table
from components.prompt.examples import load_examples
from components.prompt.reader import read_prompt
from playground.engine import Engine
from playground.pipeline import Run
from reliability.chromium import ARGUMENTS, find_chromium
from scripts.screenshots import running_app

TIMEOUT_MS = 240_000
OPENINGS = 5
# Who drives Chromium is told where each error was thrown, also where a library tries something and
# catches it; V8 then parses the library again, for up to a second. No reader's browser does that.
PLACES_KNOWN = "--js-flags=--no-enable-lazy-source-positions"
QUIET_MS = 700  # without a change for so long: drawn
TABS = ("1 Preprocess", "2 Vision tower", "3 Merge", "4 Decoder", "6 Cache reuse")
QUESTIONS = ("How many shapes are there?", "What color is the circle?", "Where is the square?")
# Watches for changes and long tasks; the run's clock in the status bar counts as neither.
WATCH = """
window.bench = { last: performance.now(), tasks: [] };
new MutationObserver(() => (window.bench.last = performance.now()))
  .observe(document, { childList: true, subtree: true, attributes: true, characterData: true });
new PerformanceObserver((list) => list.getEntries().forEach(
  (entry) => window.bench.tasks.push([entry.startTime, entry.duration])))
  .observe({ type: "longtask", buffered: true });
"""


@dataclass
class Watched:
    """One thing that a reader does, several times."""

    seconds: list[float] = field(default_factory=list)
    kilobytes: list[float] = field(default_factory=list)
    long_tasks: list[float] = field(default_factory=list)  # milliseconds

    def row(self, name: str) -> tuple[object, ...]:
        """Of the report's table."""
        last = quantiles(self.seconds, n=20)[-1] if len(self.seconds) > 1 else self.seconds[0]
        over = [task for task in self.long_tasks if task > 200]
        return (
            name,
            len(self.seconds),
            f"{median(self.seconds):.2f} s",
            f"{last:.2f} s",
            f"{median(self.kilobytes):,.0f} kB",
            f"{len(over)}" + (f" (longest {max(over):,.0f} ms)" if over else ""),
        )


class Watcher:
    """Does something on a page and waits until the page has come to rest."""

    def __init__(self, page: Page, done: dict[str, Watched] | None = None) -> None:
        self.page = page
        self._bytes = 0.0
        session: CDPSession = page.context.new_cdp_session(page)
        session.send("Network.enable")
        session.on("Network.dataReceived", self._count)
        self.done = {} if done is None else done

    def _count(self, event: dict[str, Any]) -> None:
        self._bytes += event.get("encodedDataLength", 0)  # as it came, compressed

    def do(self, name: str, act: Callable[[], object], then: Callable[[], object]) -> float:
        """Act, wait for ``then``, wait for rest; returns the seconds up to the last change."""
        page, before = self.page, self._bytes
        page.evaluate("window.bench.tasks = []")
        start = float(page.evaluate("performance.now()"))
        act()
        then()
        self.rest()
        last = float(page.evaluate("window.bench.last"))
        seen = self.done.setdefault(name, Watched())
        seen.seconds.append(max(0.0, last - start) / 1000)
        seen.kilobytes.append((self._bytes - before) / 1000)
        seen.long_tasks += [task[1] for task in page.evaluate("window.bench.tasks")]
        return seen.seconds[-1]

    def opened(self, name: str) -> None:
        """Note what the page has done since it was asked for; it has come to rest."""
        last, tasks = self.page.evaluate("[window.bench.last, window.bench.tasks]")
        seen = self.done.setdefault(name, Watched())
        seen.seconds.append(last / 1000)
        seen.kilobytes.append(self._bytes / 1000)
        seen.long_tasks += [task[1] for task in tasks]

    def rest(self) -> None:
        """Wait until nothing has changed for a while."""
        self.page.wait_for_function(
            f"performance.now() - window.bench.last > {QUIET_MS}", polling=50, timeout=TIMEOUT_MS
        )


def time_model(engine: Engine, question: str) -> float:
    """Seconds of the four stages and the parity check, as the page's run computes them."""
    first = load_examples()[0]
    prompt = read_prompt(
        engine,
        images=first.images,
        video=None,
        text=question,
        system=first.system,
        max_pixels=None,
        earlier=first.earlier,
    )
    start = time.perf_counter()
    run = Run(engine, prompt)
    run.ensure("decoder")
    _ = run.parity
    return time.perf_counter() - start


def ask(watcher: Watcher, question: str, name: str) -> float:
    """Type a question and run; returns the seconds until all charts in sight are drawn."""
    page = watcher.page
    page.locator("#input-text textarea").fill(question)
    watcher.rest()
    chip = page.locator("[data-chip='last run']")
    before = (chip.get_attribute("title") or "") if chip.count() else ""
    after = page.locator(f"[data-chip='last run']:not([title='{before}'])")
    return watcher.do(name, page.locator("#run").click, lambda: after.wait_for(timeout=TIMEOUT_MS))


def use_page(watcher: Watcher, engine: Engine, runs: int) -> list[float]:
    """Tabs, a slider, clicks, runs; returns the runs' multiples of the model's time."""
    page = watcher.page
    for name in ("a tab for the first time", "a tab again"):
        for tab in TABS:
            button = page.get_by_role("tab", name=tab)
            watcher.do(name, button.click, lambda: None)
    page.get_by_role("tab", name="2 Vision tower").click()
    watcher.rest()
    slider = page.locator("input[type=range]:visible").first
    for turn in range(runs):
        key = "ArrowLeft" if turn % 2 == 0 else "ArrowRight"
        watcher.do("slider to picture", lambda key=key: slider.press(key), lambda: None)  # type: ignore[misc]
    for name in ("4 Decoder", "Attention"):
        page.get_by_role("tab", name=name, exact=True).filter(visible=True).click()
        watcher.rest()
    picture = page.locator(".pg-picture-frame[data-span]:visible").first
    for turn in range(runs):
        place: Position = {"x": 20 + 10 * (turn % 10), "y": 100}
        click = partial(picture.click, position=place)
        watcher.do("a patch clicked, to all that follows it", click, lambda: None)
    multiples = []
    time_model(engine, QUESTIONS[0])
    for turn in range(runs + 1):
        question = f"{QUESTIONS[turn % len(QUESTIONS)]} {turn}"
        model_s = time_model(engine, question)
        took = ask(watcher, question, "Run to all charts" if turn else "the first run")
        if turn:
            multiples.append(took / model_s)
    return multiples


def open_page(browser: Browser, address: str, done: dict[str, Watched] | None = None) -> Watcher:
    """A page of a browser that has nothing of it yet, asked for; later notes go to ``done``."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(TIMEOUT_MS)
    page.add_init_script(WATCH)
    watcher = Watcher(page, done)
    page.goto(address, wait_until="commit")
    return watcher


def wait_until_drawn(watcher: Watcher, name: str) -> None:
    """Wait for the first example's drawings and for plotly.js; note what opening the page took."""
    watcher.page.wait_for_selector("#parity-badge", timeout=TIMEOUT_MS)
    watcher.page.wait_for_function("window.Plotly", timeout=TIMEOUT_MS)
    watcher.rest()
    watcher.opened(name)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=10)
    options = parser.parse_args()
    engine = load_shape("shipped", device="cpu")
    started = time.perf_counter()
    with running_app([]) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=find_chromium(), args=[*ARGUMENTS, PLACES_KNOWN]
        )
        watcher = open_page(browser, address)
        watcher.page.wait_for_selector("gradio-app h1, h1", timeout=TIMEOUT_MS)
        heading_s = time.perf_counter() - started
        watcher.page.wait_for_selector("#parity-badge", timeout=TIMEOUT_MS)
        drawn_s = time.perf_counter() - started
        wait_until_drawn(watcher, "the page opened while the server loads")
        for _ in range(OPENINGS):
            again = open_page(browser, address, watcher.done)
            wait_until_drawn(again, "the page opened")
            again.page.close()
        multiples = use_page(watcher, engine, options.runs)
        browser.close()
    print(f"{machine_facts()}; Chromium without a GPU, 1280 by 900\n")
    print(f"Server's start to the first heading: {heading_s:.1f} s; to the first example drawn: ")
    print(f"{drawn_s:.1f} s\n")
    header = ("", "times", "p50", "p95", "received", "tasks over 200 ms")
    print(table(header, [seen.row(name) for name, seen in watcher.done.items()]))
    last = quantiles(multiples, n=20)[-1] if len(multiples) > 1 else multiples[0]
    print(f"\nA run to all charts: {median(multiples):.1f} times the model's time (p95 {last:.1f})")


if __name__ == "__main__":
    main()
