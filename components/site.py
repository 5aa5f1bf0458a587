"""The site: one Gradio app with the page once in each language."""

from __future__ import annotations

from typing import Any

import gradio as gr

from components.app_layout import TITLE, Page
from components.engine_host import EngineHost
from components.faults import clear_faults
from components.jobs import Jobs
from components.language_switch import PATHS
from playground.language import LANGUAGES, Language, speaking
from playground.pipeline import RunStore


class SpokenBlocks(gr.Blocks):
    """Answers every event in the language of the page that it comes from, and starts fast."""

    is_built = False

    def finish(self) -> None:
        """Describe the components of all pages, once: from here on none is added or changed.

        Gradio asks for the description eight times before the first page, each time going through
        every component's signature, which took most of the start.
        """
        described = self.default_config.get_config()
        self.default_config.get_config = lambda: described  # type: ignore[method-assign,misc]
        self.is_built = True

    def get_config_file(self) -> Any:
        """As Gradio's; while the pages are being built, which nobody can see, only their names."""
        return super().get_config_file() if self.is_built else {"pages": self.pages}

    async def process_api(self, block_fn: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """As Gradio's, which hands this context on to the thread that answers."""
        function = self.fns[block_fn] if isinstance(block_fn, int) else block_fn
        with speaking(_language_at(function.page)), clear_faults():
            return await super().process_api(block_fn, *args, **kwargs)


class Site:
    """The built pages, and what they share: the engine, the runs and the jobs."""

    def __init__(self, host: EngineHost) -> None:
        self.runs = RunStore()
        jobs = Jobs()
        self.demo = SpokenBlocks(title=TITLE, analytics_enabled=False, delete_cache=(600, 3600))
        self.pages: dict[Language, Page] = {}
        for language in LANGUAGES:
            if path := PATHS[language]:
                self.demo.route(language, path, show_in_navbar=False)
            with self.demo, speaking(language):
                like = self.pages["en"].links.names if self.pages else None
                self.pages[language] = Page(
                    host, self.runs, jobs, has_api=not path, names_like=like
                )
        self.demo.finish()

    @property
    def home(self) -> Page:
        """The page at the site's own address."""
        return self.pages["en"]

    def draw_opening(self, engine: Any) -> None:
        """Run the first example once, for all who open a page later.

        The home page is drawn at once, the others when they are first asked for.
        """
        run = self.home.events.run_opening(engine)
        key = self.runs.add(run, pinned=True)
        for page in self.pages.values():
            page.events.opening_run, page.events.opening_key = run, key
        self.home.events.draw_opening()


def _language_at(path: str) -> Language:
    return next((each for each in LANGUAGES if PATHS[each] == path), "en")


def build_site(host: EngineHost) -> Site:
    """Build the pages around an engine that may still be loading."""
    return Site(host)
