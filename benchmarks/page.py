"""The page in headless Chromium on the shipped checkpoint, against a page of ten components.

    python -m benchmarks.page [--pairs 7] [--rounds 3] [--short]

Opening: until the parts in sight of the first tab are drawn, with their charts and the parity
badge. Both pages are opened in turns, once by a visitor who has been there before (one browser
profile for each page, whose cache is kept) and once by one who has nothing of it.

Tabs: each part's tab when it is first opened, until its charts are drawn; then the same figures by
``Plotly.newPlot`` in a bare page with the same plotly.js. A slider: from the key to its first chart
and to all in sight, against the server's own time for the answer, as the browser saw it. A run:
until the part in sight has its new charts, against the model's time for the same four stages in
this process.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from statistics import median
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Response, sync_playwright

from benchmarks.browser import (
    DRAWN,
    Cost,
    Watched,
    middle,
    new_visitor,
    serving,
    start_chromium,
)
from benchmarks.models import load_shape
from benchmarks.pairs import machine_facts, table
from benchmarks.scenes import read_first_example
from benchmarks.small_page import SHOWN as SMALL_SHOWN
from components.chart_view.library import library_address
from components.serving.browser_module import FOLDER
from components.tabs import STAGE_TABS
from playground.engine import Engine
from playground.pipeline import Run

QUESTIONS = ("How many shapes are there?", "What color is the circle?", "Where is the square?")
SLIDER_PART = "decoder.rotation"
SLIDER = f'[data-part="{SLIDER_PART}"] [data-control="layer"] input[type=range]'
EXTRA_MS = 50  # that a slider may take beyond 1.3 times the server's time
# Of the charts in sight: the others are drawn while the page is idle.
LISTEN = """(part) => {
  window.plots = []; // when charts in sight were plotted
  for (const plot of document.querySelectorAll(`[data-part="${part}"] .js-plotly-plot`))
    plot.on("plotly_afterplot", () => {
      const { top, bottom } = plot.getBoundingClientRect();
      if (bottom > 0 && top < innerHeight) window.plots.push(performance.now());
    });
}"""
# Answered, and plotted after the first answer, which has the outputs in sight; gives when the last
# chart was plotted.
PLOTTED = """([part, since]) => {
  const { asking } = document.querySelector(`[data-part="${part}"]`).dataset;
  const [first] = performance.getEntriesByType("resource").filter(
    (entry) => entry.name.includes("component_server") && entry.startTime >= since);
  const last = window.plots.at(-1) ?? 0;
  const rested = performance.now() - last > 150;
  const done = asking === undefined && first && last >= first.responseEnd && rested;
  return done ? last : 0;
}"""
SERVER_MS = """(since) => {
  const [first] = performance.getEntriesByType("resource").filter(
    (entry) => entry.name.includes("component_server") && entry.startTime >= since);
  return first.responseEnd - first.requestStart;
}"""
BARE = """async (figures) => {
  window.drawnAt = 0;
  window.acted = performance.now();
  for (const { data, layout } of figures) {
    const plot = document.body.appendChild(document.createElement("div"));
    await Plotly.newPlot(plot, data, layout, { responsive: false });
  }
  window.drawnAt = performance.now();
}"""


@dataclass(frozen=True, slots=True)
class Opened:
    """A tab's first opening beside the same figures in a bare page."""

    tab: str
    num_charts: int
    page: Cost
    bare: Cost | None  # None where it has no chart


# -------------------------------------------------------------------------------------- opening


def open_in_turns(
    browser: Browser, sides: dict[str, tuple[str, str]], pairs: int, *, returning: bool
) -> dict[str, list[Cost]]:
    """Open each side's page in turns, after one untimed turn.

    Args:
        browser: Chromium.
        sides: by name: the address, and what says when it is drawn.
        pairs: timed turns.
        returning: by one profile for each side, so that its cache is kept; else by a new one.
    """
    costs: dict[str, list[Cost]] = {name: [] for name in sides}
    kept = {name: new_visitor(browser) for name in sides}
    for turn in range(pairs + 1):
        for name in list(sides) if turn % 2 else list(sides)[::-1]:
            address, drawn = sides[name]
            visitor = kept[name] if returning else new_visitor(browser)
            watched = Watched(visitor, address)
            cost = watched.open(drawn)
            if turn:
                costs[name].append(cost)
            watched.page.close()
            if not returning:
                visitor.close()
    for visitor in kept.values():
        visitor.close()
    return costs


def opening_row(name: str, ours: Sequence[Cost], small: Sequence[Cost]) -> tuple[object, ...]:
    """Ratios pair by pair."""
    both = list(zip(ours, small, strict=True))
    over = sum(cost.over for cost in ours)
    longest = max(cost.longest_ms for cost in ours)
    return (
        name,
        middle([a.task_s / b.task_s for a, b in both]),
        middle([a.wall_s / b.wall_s for a, b in both]),
        f"{median(a.task_s for a in ours):.2f} s, {median(b.task_s for b in small):.2f} s",
        f"{median(a.wall_s for a in ours):.2f} s, {median(b.wall_s for b in small):.2f} s",
        f"{over} (longest {longest:,.0f} ms)",
    )


# ----------------------------------------------------------------------------------------- tabs


def open_tabs(visitor: BrowserContext, address: str, most: int | None) -> list[Opened]:
    """Open each tab of each stage once on a new page; ``most`` of them, or all."""
    watched = Watched(visitor, address)
    page = watched.page
    figures: list[Any] = []

    def keep(response: Response) -> None:
        if "component_server" in response.url:
            drawn = response.json().get("outputs", {}).values()
            figures.extend(each["figure"] for each in drawn if each.get("figure"))

    watched.open(DRAWN)
    page.wait_for_timeout(1000)  # a reader looks at the first tab
    found: list[Opened] = []
    page.on("response", keep)
    for tab in list_tabs(watched)[:most]:
        figures.clear()
        button = page.locator(f'[data-tab-id="{tab}"]:visible')
        cost = watched.do(button.click, DRAWN)
        page.wait_for_timeout(200)  # for the answers to be kept
        bare = draw_bare(visitor, address, figures, chart_width(watched)) if figures else None
        found.append(Opened(tab, len(figures), cost, bare))
    page.close()
    return found


def list_tabs(watched: Watched) -> list[str]:
    """All tabs in the order of the page: each stage's, which shows its first part, and the others
    inside it; without the very first, which is open from the start."""
    script = """() => [...document.querySelectorAll("#stage-column [role=tab][data-tab-id]")]
      .filter((tab) => tab.offsetParent).map((tab) => tab.dataset.tabId)"""
    stages = [tab for tab in watched.page.evaluate(script) if "." not in tab]
    parts = declared_tabs()
    return [tab for stage in stages for tab in (stage, *parts.get(stage, ())[1:])][1:]


def declared_tabs() -> dict[str, tuple[str, ...]]:
    """The keys of each stage's parts that have a tab of their own."""
    return {each.stage: tuple(part.key for part in each.parts) for each in STAGE_TABS}


def chart_width(watched: Watched) -> int:
    """Of the first chart in sight, in pixels."""
    script = """() => [...document.querySelectorAll(".chart-plot")].map(
      (plot) => plot.clientWidth).find((width) => width > 0) ?? 700"""
    return int(watched.page.evaluate(script))


def draw_bare(visitor: BrowserContext, address: str, figures: list[Any], width: int) -> Cost:
    """The same figures, one after the other, in a page with nothing but the same plotly.js."""
    watched = Watched(visitor, address)
    page = watched.page
    page.set_content("<body></body>")
    page.add_script_tag(url=address + FOLDER + library_address())
    sized = [each | {"layout": each["layout"] | {"width": width}} for each in figures]
    page.evaluate("(figures) => (window.figures = figures)", sized)
    cost = watched.do(
        lambda: page.evaluate(f"() => {{ ({BARE})(window.figures); }}"), "() => window.drawnAt"
    )
    page.close()
    return cost


def tab_rows(rounds: Sequence[Sequence[Opened]]) -> list[tuple[object, ...]]:
    """A row for each tab over all rounds."""
    rows: list[tuple[object, ...]] = []
    for each in zip(*rounds, strict=True):
        pairs = [(tab.page, tab.bare) for tab in each if tab.bare is not None]
        rows.append(
            (
                each[0].tab,
                each[0].num_charts,
                middle([tab.page.wall_s for tab in each], " s"),
                middle([page.wall_s / bare.wall_s for page, bare in pairs]),
                middle([page.task_s / bare.task_s for page, bare in pairs]),
                f"{sum(tab.page.over for tab in each)}",
            )
        )
    return rows


# ------------------------------------------------------------------------------- slider and run


def move_slider(watched: Watched, times: int) -> list[tuple[float, float, float]]:
    """Milliseconds from each key to the first chart, to all in sight, and the server's own."""
    page = watched.page
    for tab in SLIDER_PART.split(".")[0], SLIDER_PART:
        page.locator(f'[data-tab-id="{tab}"]:visible').click()
        watched.wait(DRAWN)
    slider = page.locator(SLIDER)
    slider.evaluate("slider => slider.closest('[data-part]').scrollIntoView()")
    page.evaluate(LISTEN, SLIDER_PART)
    found = []
    for turn in range(times):
        page.wait_for_timeout(300)
        since = float(page.evaluate("window.plots = [], performance.now()"))
        slider.press("ArrowLeft" if turn % 2 == 0 else "ArrowRight")
        end = watched.wait(PLOTTED, [SLIDER_PART, since])
        moved = float(page.evaluate("window.acted"))
        first = float(page.evaluate("window.plots[0]"))
        found.append((first - moved, end - moved, float(page.evaluate(SERVER_MS, since))))
    return found


def slider_row(found: Sequence[tuple[float, float, float]]) -> tuple[object, ...]:
    """What a slider takes to its first chart, beyond the extra milliseconds, of the server's."""
    first, last, server = (list(each) for each in zip(*found, strict=True))
    ratios = [(ms - EXTRA_MS) / own for ms, own in zip(first, server, strict=True)]
    return len(found), *(middle(each, " ms", 0) for each in (first, last, server)), middle(ratios)


def time_model(engine: Engine, question: str) -> float:
    """Seconds of the four stages and the parity check, as the page's run computes them."""
    prompt = read_first_example(engine, question)
    start = time.perf_counter()
    run = Run(engine, prompt)
    run.ensure("decoder")
    _ = run.parity
    return time.perf_counter() - start


def run_in_turns(watched: Watched, engine: Engine, times: int) -> list[tuple[Cost, float]]:
    """*Run* until the part in sight has its charts, and the model's own seconds."""
    page = watched.page
    found: list[tuple[Cost, float]] = []
    time_model(engine, QUESTIONS[0])
    for turn in range(times):
        question = f"{QUESTIONS[turn % len(QUESTIONS)]} {turn}"
        model_s = time_model(engine, question)
        page.locator("#input-text textarea").fill(question)
        page.wait_for_timeout(300)
        shown = page.evaluate(
            "[...document.querySelectorAll('.pg-part')].find((e) => e.offsetParent).dataset.shown"
        )
        found.append((watched.do(page.locator("#run").click, DRAWN, shown), model_s))
    return found


def run_row(found: Sequence[tuple[Cost, float]]) -> tuple[object, ...]:
    """A run against the model."""
    return (
        len(found),
        middle([cost.wall_s for cost, _ in found], " s"),
        middle([model_s for _, model_s in found], " s"),
        middle([cost.wall_s / model_s for cost, model_s in found]),
        sum(cost.over for cost, _ in found),
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=7, help="openings; slider and run, too")
    parser.add_argument("--rounds", type=int, default=3, help="in which all tabs are opened")
    parser.add_argument("--short", action="store_true", help="once, and only two tabs")
    options = parser.parse_args()
    pairs, rounds = (1, 1) if options.short else (options.pairs, options.rounds)
    engine = load_shape("shipped", device="cpu")
    with ExitStack() as stack:
        address = stack.enter_context(serving("app.py"))
        small = stack.enter_context(serving("-m", "benchmarks.small_page"))
        browser = start_chromium(stack.enter_context(sync_playwright()))
        sides = {"ours": (address, DRAWN), "small": (small, SMALL_SHOWN)}
        openings = {
            name: open_in_turns(browser, sides, pairs, returning=returning)
            for name, returning in (("has been here", True), ("has nothing of it", False))
        }
        visitor = new_visitor(browser)
        most = 2 if options.short else None
        tabs = [open_tabs(visitor, address, most) for _ in range(rounds)]
        watched = Watched(visitor, address)
        watched.open(DRAWN)
        moved = move_slider(watched, pairs)
        ran = run_in_turns(watched, engine, pairs)
        browser.close()
    print(f"{machine_facts()}; Chromium without a GPU, 1280 by 900\n")
    header: tuple[str, ...] = (
        "opened by a visitor who",
        "main thread, ours / ten components",
        "wall time",
        "main thread",
        "wall time of both",
        "tasks over 200 ms",
    )
    rows = [opening_row(name, each["ours"], each["small"]) for name, each in openings.items()]
    print(table(header, rows) + "\n")
    header = (
        "tab, first opened",
        "charts",
        "drawn",
        "of a bare page",
        "main thread",
        "over 200 ms",
    )
    print(table(header, tab_rows(tabs)) + "\n")
    header = ("slider moved", "to a chart", "to all in sight", "server", "(first - 50 ms) / server")
    print(table(header, [slider_row(moved)]) + "\n")
    header = ("runs", "to the charts", "the model", "of the model's time", "over 200 ms")
    print(table(header, [run_row(ran)]))


if __name__ == "__main__":
    main()
