"""A real browser for the tests: Debian's Chromium through playwright, and apps to open in it."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

# Before gradio is imported: it reads this once.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

import gradio as gr
from playwright.sync_api import Browser, ConsoleMessage, Page, ViewportSize, sync_playwright

from components.compute.engine_host import EngineHost
from components.look.theme import CSS, build_theme
from components.page.site import build_site
from components.serving.server import ServerOptions, app_options, launch
from playground.loading.source_names import TINY, TINY_SWAPPED
from reliability.chromium import ARGUMENTS, find_chromium

# For every wait. Generous: the machine may be busy, and a test that passes does not wait for it.
TIMEOUT_MS = 60_000

# Chromium's remarks on speed, which say nothing about the page.
HARMLESS_MESSAGES = ("GL Driver Message", "willReadFrequently")


# Warnings are errors here. Two of Gradio's own would end its queue's thread, or a test that only
# happens to run when memory is tidied: what pandas 3 is about to drop, and a socket with which
# `launch` looks for a free port.
GRADIO_WARNINGS = (
    "ignore::pandas.errors.Pandas4Warning",
    "ignore:unclosed <socket:ResourceWarning",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let Gradio's own warnings pass in every browser test."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            for warning in GRADIO_WARNINGS:
                item.add_marker(pytest.mark.filterwarnings(warning))


@dataclass
class PageLog:
    """What a page did while it was open."""

    problems: list[str] = field(default_factory=list)
    urls: list[str] = field(default_factory=list)

    def note(self, message: ConsoleMessage) -> None:
        """Keep an error or a warning of the console."""
        harmless = any(word in message.text for word in HARMLESS_MESSAGES)
        if message.type in {"error", "warning"} and not harmless:
            self.problems.append(message.text)

    def hosts(self) -> set[str]:
        """Return every host (with its port) that the page asked; data: and blob: have none."""
        return {url.split("/")[2] for url in self.urls if url.startswith(("http", "ws"))}


PageFactory = Callable[..., tuple[Page, PageLog]]
AppServer = Callable[[gr.Blocks | Callable[[], gr.Blocks]], str]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One Chromium for the whole session."""
    path = find_chromium()
    if path is None:
        advice = "no Chromium found; install it with: apt-get install chromium"
        if os.environ.get("CI"):
            pytest.fail(advice)
        pytest.skip(advice)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=[*ARGUMENTS])
        yield chromium
        chromium.close()


@dataclass
class Tab:
    """A tab of the browser. Tests have it one after another: a new one costs several seconds."""

    page: Page
    viewport: ViewportSize
    log: PageLog = field(default_factory=PageLog)

    def listen(self) -> None:
        """Note what the page does in the log of whoever has the tab."""
        self.page.on("request", lambda request: self.log.urls.append(request.url))
        self.page.on("websocket", lambda socket: self.log.urls.append(socket.url))
        self.page.on("pageerror", lambda error: self.log.problems.append(str(error)))
        self.page.on("console", lambda message: self.log.note(message))

    def clear(self) -> None:
        """Leave nothing of a test to the next one but what the browser has cached."""
        self.page.unroute_all()
        if self.page.url.startswith("http"):
            self.page.evaluate("localStorage.clear(); sessionStorage.clear()")
        self.page.context.clear_cookies()
        self.page.goto("about:blank")
        self.page.set_viewport_size(self.viewport)
        self.log = PageLog()


FreeTabs = defaultdict[str, list[Tab]]


@pytest.fixture(scope="session")
def free_tabs() -> FreeTabs:
    """Tabs that no test has, by their settings (size, language, scripts)."""
    return defaultdict(list)


def _open_tab(browser: Browser, init_script: str | None, settings: dict[str, Any]) -> Tab:
    """A tab in a context of its own (storage, cookies)."""
    context = browser.new_context(**settings)
    context.set_default_timeout(TIMEOUT_MS)
    tab = Tab(context.new_page(), settings["viewport"])
    tab.listen()
    if init_script:
        tab.page.add_init_script(init_script)
    return tab


def _open_many(browser: Browser, free_tabs: FreeTabs) -> Iterator[PageFactory]:
    lent: list[tuple[str, Tab]] = []

    def open_page(
        url: str,
        *,
        width: int = 1100,
        height: int = 900,
        init_script: str | None = None,
        **options: Any,
    ) -> tuple[Page, PageLog]:
        """Open `url`; `options` go to playwright's `new_context`."""
        settings = {"viewport": {"width": width, "height": height}, "locale": "en-US", **options}
        free = free_tabs[key := repr((init_script, settings))]
        tab = free.pop() if free else _open_tab(browser, init_script, settings)
        lent.append((key, tab))
        tab.page.goto(url)
        return tab.page, tab.log

    yield open_page
    for key, tab in lent:
        tab.clear()
        free_tabs[key].append(tab)


@pytest.fixture
def page(browser: Browser, free_tabs: FreeTabs) -> Iterator[PageFactory]:
    """Open pages that are left after the test: `page(url, width=390)` gives page and log."""
    yield from _open_many(browser, free_tabs)


@pytest.fixture(scope="module")
def module_page(browser: Browser, free_tabs: FreeTabs) -> Iterator[PageFactory]:
    """The same for a page that the tests of a file share, since loading is most of the work."""
    yield from _open_many(browser, free_tabs)


def _serve_many() -> Iterator[AppServer]:
    started: list[gr.Blocks] = []

    def serve(source: gr.Blocks | Callable[[], gr.Blocks]) -> str:
        blocks = source if isinstance(source, gr.Blocks) else source()
        started.append(blocks)
        _, url, _ = blocks.launch(
            server_name="127.0.0.1",
            prevent_thread_lock=True,
            quiet=True,
            theme=build_theme(),
            css=CSS,
            app_kwargs=app_options(),
        )
        return url

    yield serve
    for blocks in started:
        blocks.close(verbose=False)


@pytest.fixture
def app_server() -> Iterator[AppServer]:
    """Serve Blocks, or a function that makes them, on a free port: `app_server(demo)` → address."""
    yield from _serve_many()


@pytest.fixture(scope="module")
def module_app_server() -> Iterator[AppServer]:
    """The same, for an app that all tests of a file share."""
    yield from _serve_many()


@contextmanager
def serve_app(model: str = "tiny", *, root_path: str = "") -> Iterator[str]:
    """The app as ``app.py`` starts it, on a free port; gives its address.

    Args:
        model: a checkpoint's name or folder.
        root_path: the path that a proxy serves it under.
    """
    compare = TINY_SWAPPED if model == TINY else None
    host = EngineHost(model, device="cpu", dtype="float32", compare=compare)
    built = build_site(host)
    options = ServerOptions(port=None, root_path=root_path)
    url = launch(built.demo, CSS, options, quiet=True)
    # As app.py does: torch's import would hold up Gradio's check of its own address.
    host.start(then=built.begin_with_first_example)
    try:
        yield url
    finally:
        built.demo.close(verbose=False)


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    """The app on the shipped checkpoint, for all tests."""
    with serve_app() as url:
        yield url
