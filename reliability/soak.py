"""Half an hour of mixed use: memory, files, sessions and WebGL contexts must not accumulate.

    python -m reliability.soak [--minutes 30]

Visitors open the page in Chromium, look around, run, stop and leave; other pages come and go
without a browser, some with a lost connection; programs call the endpoints, and some disconnect.
What the app keeps for ten minutes or an hour is kept for one minute here, so that its removal can
be observed.
"""

from __future__ import annotations

import argparse
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

import httpx

from reliability.chromium import ARGUMENTS, COUNT_CONTEXTS, find_chromium
from reliability.exclusion import FATES, User
from reliability.exclusion import Tally as Requests
from reliability.served import Server, running_app

KEEP_S = 60
SAMPLE_S = 10.0
GROWTH_BYTES = 100 << 20  # of memory, from the middle to the end
VISIT_TABS = ("1 Preprocess", "2 Vision tower", "3 Merge", "4 Decoder", "5 Sampling", "6 Cache")
DRAWN = """() => ![...document.querySelectorAll("[data-part]")].some(
    (part) => part.offsetParent !== null && "asking" in part.dataset)"""
TIMEOUT_MS = 300_000
WINDOW = {"width": 1100, "height": 900}


@dataclass(frozen=True)
class Sample:
    """What the server holds at one moment."""

    seconds: float
    memory_bytes: int
    num_files: int  # open ones
    held: dict[str, int]


@dataclass
class Log:
    """What happened."""

    samples: list[Sample] = field(default_factory=list)
    visits: int = 0
    contexts: list[int] = field(default_factory=list)  # of the resident page, after each round
    problems: list[str] = field(default_factory=list)
    requests: Requests = field(default_factory=Requests)


def take_sample(server: Server, start: float) -> Sample:
    """Sample the server and the system."""
    seconds = time.monotonic() - start
    return Sample(seconds, server.memory_bytes, server.num_files, server.command("state"))


# ------------------------------------------------------------------------------- visitors


@contextmanager
def open_browser() -> Iterator[Any]:
    """One Chromium without a window."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), args=[*ARGUMENTS])
        yield browser
        browser.close()


def open_page(context: Any, server: Server) -> Any:
    """A page of this browser context, once the first example is drawn."""
    context.set_default_timeout(TIMEOUT_MS)
    page = context.new_page()
    page.add_init_script(COUNT_CONTEXTS)
    page.goto(server.address)
    page.locator("#parity-badge").wait_for()
    return page


def look_around(page: Any, rng: random.Random, rounds: int) -> None:
    """Open tabs and their parts, run, and sometimes stop."""
    for _ in range(rounds):
        page.get_by_role("tab", name=rng.choice(VISIT_TABS)).first.click()
        panel = page.get_by_role("tabpanel").filter(visible=True).first
        parts = [each for each in panel.get_by_role("tab").all() if each.is_visible()]
        if parts:
            rng.choice(parts).click()
        wait_until_drawn(page)
        if rng.random() < 0.4:
            page.locator("#input-text textarea").fill(f"Question {rng.random():.6f}?")
            page.locator("#run").click()
            page.wait_for_timeout(int(2000 * rng.random()))
            if rng.random() < 0.3:
                page.locator("#stop").click()


def wait_until_drawn(page: Any) -> None:
    """Wait until all visible parts are drawn; a run may take a while."""
    page.wait_for_timeout(300)
    page.wait_for_function(DRAWN)
    if said := page.locator(".pg-output.pg-problem").filter(visible=True).all_inner_texts():
        raise RuntimeError(f"a part shows: {said[0][:150]}")


def tour(page: Any) -> int:
    """Open every part of every tab once; returns the WebGL contexts that are alive then."""
    for name in VISIT_TABS:
        page.get_by_role("tab", name=name).first.click()
        panel = page.get_by_role("tabpanel").filter(visible=True).first
        for part in [each for each in panel.get_by_role("tab").all() if each.is_visible()]:
            part.click()
            wait_until_drawn(page)
    page.get_by_role("tab", name=VISIT_TABS[0]).first.click()
    return int(page.evaluate("window.liveContexts()"))


def visit(server: Server, log: Log, is_over: Callable[[], bool], seed: int) -> None:
    """Visitors in a browser, one after another, while another one stays."""
    rng = random.Random(seed)
    with open_browser() as browser:
        resident = open_page(browser.new_context(viewport=WINDOW, locale="en-US"), server)
        while not is_over():
            try:
                log.contexts.append(tour(resident))
                guest = browser.new_context(viewport=WINDOW, locale="en-US")
                try:
                    look_around(open_page(guest, server), rng, rounds=5)
                finally:
                    guest.close()
                log.visits += 1
            except Exception as error:
                log.problems.append(f"visit: {type(error).__name__}: {str(error)[:200]}")
        resident.context.close()


def call(server: Server, log: Log, is_over: Callable[[], bool], seed: int) -> None:
    """Pages without a browser, and programs; a new one after every ten requests."""
    turn = seed
    while not is_over():
        user = User(server, log.requests, seed + turn)
        with suppress(httpx.HTTPError):
            for _ in range(10):
                if is_over():
                    break
                user.use(turn, user.rng.choice(FATES))
                turn += 1
                time.sleep(user.rng.random())
        user.close()


# -------------------------------------------------------------------------------- the whole


def soak(
    server: Server, seconds: float, *, with_browser: bool = True, rest_s: float = 3 * KEEP_S
) -> Log:
    """Use the app for a while; then everyone leaves, and what was kept for them is removed.

    Args:
        server: a watched app, started with ``--keep-s``.
        seconds: of use.
        with_browser: also visitors in Chromium.
        rest_s: how long to wait at the end until everything is removed.
    """
    log, start = Log(), time.monotonic()

    def is_over() -> bool:
        return time.monotonic() > start + seconds

    uses: list[Any] = [call, visit] if with_browser else [call]
    threads = [
        threading.Thread(target=use, args=(server, log, is_over, number))
        for number, use in enumerate(uses)
    ]
    log.samples.append(take_sample(server, start))
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        time.sleep(SAMPLE_S if seconds > 10 * SAMPLE_S else 1.0)
        log.samples.append(take_sample(server, start))
        _print(log.samples[-1])
    end = time.monotonic() + rest_s
    while time.monotonic() < end and not at_rest(log.samples[0], log.samples[-1]):
        time.sleep(2.0)
        log.samples.append(take_sample(server, start))
    _print(log.samples[-1])
    log.problems += log.requests.problems
    return log


def at_rest(first: Sample, last: Sample) -> bool:
    """Whether files, sessions, runs and running jobs are back at their initial counts."""
    names = ("runs", "files", "states", "questions", "jobs")
    back = all(last.held[name] <= first.held[name] for name in names)
    return back and last.num_files <= first.num_files + 8  # sockets that are being closed


def growth(log: Log, seconds: float) -> float:
    """Memory growth in bytes from the first half of the third quarter to its end."""

    def mean(low: float, high: float) -> float:
        return fmean(
            each.memory_bytes
            for each in log.samples
            if low * seconds <= each.seconds <= high * seconds
        )

    return mean(0.9, 1.0) - mean(0.5, 0.6)


def _print(sample: Sample) -> None:
    print(
        f"{sample.seconds:6.0f} s  {sample.memory_bytes / 2**20:6.0f} MB  "
        f"{sample.num_files} open files  {sample.held}",
        flush=True,
    )


def main() -> int:
    """Run and print; returns 1 if something accumulates."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--no-browser", action="store_true")
    options = parser.parse_args()
    seconds = 60 * options.minutes
    with running_app("--keep-s", str(KEEP_S), "--public", watched=True) as server:
        log = soak(server, seconds, with_browser=not options.no_browser)
    grown, rests = growth(log, seconds), at_rest(log.samples[0], log.samples[-1])
    print(f"{log.visits} visits in Chromium, {sum(log.requests.routes.values())} requests: ")
    print(f"  {dict(log.requests.routes)}\n  {dict(log.requests.fates)}")
    print(f"memory grew by {grown / 2**20:.0f} MB in the second half; ", end="")
    print(f"at the end {log.samples[-1]}, at the start {log.samples[0]}")
    print(f"WebGL contexts after each round: {log.contexts}")
    print("\n".join(log.problems[:20]) or "no problems")
    piled = log.contexts and log.contexts[-1] > log.contexts[0]
    return bool(log.problems or piled or not rests or grown > GROWTH_BYTES)


if __name__ == "__main__":
    sys.exit(main())
