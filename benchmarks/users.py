"""Server cost per visitor: opening the page, and many visitors who press *Run* at once.

    python -m benchmarks.users [--users 1 5 10 25 50] [--runs 100] [--svg FILE]

The app runs in its own process, and its pages are opened without a browser. The model's share is
the four stages and the parity check of the same prompt in this process, once per user, because runs
are never parallel. Memory is read after freed memory was returned to the system.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.growth import Growth, draw_svg
from benchmarks.models import load_shape
from benchmarks.pairs import machine_facts, measure, table
from benchmarks.scenes import read_first_example
from playground.pipeline import Run
from reliability.page_client import PageClient
from reliability.served import Server, running_app

USERS = (1, 5, 10, 25, 50)
HEADER = (
    "users",
    "until all have their charts",
    "a run",
    "CPU time of the server",
    "… of the pages",
    "of the model's time",
    "exponent",
)
TURNS = 3  # the fastest one counts
FIRST_PARTS = ("preprocess.pictures", "preprocess.text")  # visible when the page is opened
CHARTS = "decoder.layers"  # the part that is visible during a run


def model_seconds() -> float:
    """Seconds of the model for one run of the first example, with this process's threads."""
    engine = load_shape("shipped", device="cpu")
    prompt = read_first_example(engine)
    return min(measure({"run": lambda: Run(engine, prompt).parity}).popitem()[1].wall_s)


@dataclass(frozen=True, order=True)
class Turn:
    """One round in which all users press *Run*; ordered by wall time."""

    wall_s: float  # from the first click to the last chart
    server_s: float  # CPU time of the app
    pages_s: float  # CPU time of this process, which reads the responses


def press_together(server: Server, pages: Sequence[PageClient], words: str) -> Turn:
    """Press *Run* on all of these pages and wait for their charts.

    Raises:
        SystemExit: a run was refused.
    """
    for number, page in enumerate(pages):
        page.set_text(f"{words} {number}")  # each prompt is new, so nothing is cached
    started, server_s, pages_s = time.perf_counter(), server.cpu_s, time.process_time()
    runs = [page.start(page.find("run")) for page in pages]
    for page, run in zip(pages, runs, strict=True):
        run.done.wait()
        page.draw(CHARTS)
    if not all(run.ok for run in runs):
        raise SystemExit(f"Refused: {next(run.message for run in runs if not run.ok)}")
    wall_s = time.perf_counter() - started
    return Turn(wall_s, server.cpu_s - server_s, time.process_time() - pages_s)


def settled_mb(server: Server) -> float:
    """The server's memory, without freed memory."""
    server.command("trim")
    return server.memory_bytes / 2**20


def measure_users(
    server: Server, pages: Sequence[PageClient], counts: Sequence[int], alone: float
) -> Growth:
    """Times of many users at once, compared with as many runs of the model alone."""
    points: list[tuple[int, float, float]] = []
    rows: list[tuple[object, ...]] = []
    for count in counts:
        best = min(
            press_together(server, pages[:count], f"Users {count}, turn {turn}:")
            for turn in range(TURNS)
        )
        slope = "–"
        if points:
            before, was, _ = points[-1]
            slope = f"{math.log(best.wall_s / was) / math.log(count / before):.2f}"
        points.append((count, best.wall_s, count * alone))
        each = (f"{part / count:.2f} s" for part in (best.wall_s, best.server_s, best.pages_s))
        multiple = f"{best.wall_s / (count * alone):.1f}"
        rows.append((count, f"{best.wall_s:.2f} s", *each, multiple, slope))
    return Growth("users at once", "users", tuple(points), tuple(rows), "the model alone")


def open_page(server: Server, config: dict[str, Any] | None = None) -> PageClient:
    """A new visitor: the page, its first event, and the visible parts."""
    page = PageClient(server, config)
    page.http.get("/", params={"lang": "en"}).raise_for_status()
    for part in FIRST_PARTS:
        page.draw(part)
    return page


def measure_memory(server: Server, most: int, runs: int) -> tuple[list[PageClient], list[str]]:
    """Measure idle pages and one page's runs; return the open pages and the findings."""
    first = open_page(server)
    first.vanish()
    start, server_s = settled_mb(server), server.cpu_s
    pages = [open_page(server, first.config) for _ in range(most)]
    server_s, opened = server.cpu_s - server_s, settled_mb(server)
    said = [
        f"A page opened: {server_s / most * 1e3:.0f} ms of the server's CPU time; "
        f"idle: {(opened - start) / most:.2f} MB ({most} pages open)"
    ]
    seen = []
    for hundred in range(3):
        for number in range(runs):
            press_together(server, pages[:1], f"Runs {hundred}, {number}:")
        seen.append(settled_mb(server))
    grown = [f"{after - before:+.1f} MB" for before, after in pairwise(seen)]
    said.append(f"One page's second and third {runs} runs: {', '.join(grown)}")
    return pages, said


def main() -> None:
    """Run the benchmark, print tables and draw the chart."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--users", type=int, nargs="+", default=USERS)
    parser.add_argument("--runs", type=int, default=100, help="runs of one page, three times")
    parser.add_argument("--svg", type=Path, help="write the chart to this file")
    options = parser.parse_args()
    alone = model_seconds()
    with running_app(watched=True) as server:
        pages, said = measure_memory(server, max(options.users), options.runs)
        before = settled_mb(server)
        growth = measure_users(server, pages, options.users, alone)
        turns = TURNS * sum(options.users)
        kept = settled_mb(server) - before
    print(f"{machine_facts()}; shipped, the model alone {alone * 1e3:.0f} ms a run\n")
    print(table(HEADER, list(growth.rows)))
    print("\n" + "\n".join(said))
    print(f"{turns} runs of {max(options.users)} pages, each page's last one kept: {kept:+.1f} MB")
    if options.svg:
        draw_svg([growth], options.svg)


if __name__ == "__main__":
    main()
