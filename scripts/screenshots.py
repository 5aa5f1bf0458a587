"""Draw the README's screenshot, or every tab in light, dark and phone width, from the running app.

python -m scripts.screenshots                 the README's image
python -m scripts.screenshots --all FOLDER    every tab, for looking through
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from reliability.chromium import ARGUMENTS, find_chromium

ROOT = Path(__file__).resolve().parents[1]
README_IMAGE = ROOT / "docs" / "images" / "playground.png"
LOOKS = {"light": (1280, 900), "dark": (1280, 900), "phone": (390, 844)}
START_LIMIT_S = 120


@contextmanager
def running_app(arguments: list[str]) -> Iterator[str]:
    """Start ``app.py`` on a free port; yields its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, str(ROOT / "app.py"), "--port", str(port), *arguments]
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONUNBUFFERED": "1"})
    address = f"http://127.0.0.1:{port}"
    try:
        wait_until_up(address, process)
        yield address
    finally:
        process.terminate()
        process.wait(timeout=30)


def wait_until_up(address: str, process: subprocess.Popen[bytes]) -> None:
    """Wait for the page to answer."""
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit(f"app.py ended with status {process.returncode}")
        try:
            urllib.request.urlopen(address, timeout=5).close()
            return
        except OSError:
            time.sleep(0.2)
    raise SystemExit(f"{address} did not answer within {START_LIMIT_S} s")


def open_page(browser: Browser, address: str, look: str) -> Page:
    """Open the page in this look and wait until the first example is drawn."""
    width, height = LOOKS[look]
    page = browser.new_page(viewport={"width": width, "height": height})
    theme = "dark" if look == "dark" else "light"
    page.goto(f"{address}/?__theme={theme}")
    page.wait_for_selector("#parity-badge", timeout=START_LIMIT_S * 1000)
    return page


def shoot_tabs(page: Page, folder: Path, look: str) -> None:
    """One full-page image per tab."""
    for tab in page.get_by_role("tab").all():
        label = (tab.text_content() or "").strip()
        if not tab.is_visible():
            continue
        tab.click()
        page.wait_for_timeout(1200)  # charts draw on first visit, images decode
        name = label.lower().replace(" ", "-")
        page.screenshot(path=folder / f"{look}-{name}.png", full_page=True)


def main() -> None:
    """Parse the arguments and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--all", type=Path, metavar="FOLDER", help="every tab in every look")
    parser.add_argument("--tab", default="2 Vision tower", help="the tab on the README's picture")
    options, rest = parser.parse_known_args()
    chromium = find_chromium()
    if chromium is None:
        raise SystemExit("No Chromium found: apt-get install chromium")
    with running_app(rest) as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=[*ARGUMENTS])
        if options.all:
            options.all.mkdir(parents=True, exist_ok=True)
            for look in LOOKS:
                page = open_page(browser, address, look)
                shoot_tabs(page, options.all, look)
                page.close()
        else:
            README_IMAGE.parent.mkdir(parents=True, exist_ok=True)
            page = open_page(browser, address, "light")
            page.get_by_role("tab", name=options.tab).click()
            page.wait_for_timeout(1500)
            page.screenshot(path=README_IMAGE)
        browser.close()


if __name__ == "__main__":
    main()
