"""The site: one Gradio app with the page once in each language."""

from __future__ import annotations

from typing import Any

from components.compute.engine_host import EngineHost
from components.compute.jobs import Jobs
from components.page.layout import TITLE, Page
from components.serving.language_switch import PATHS
from components.serving.page_blocks import PageBlocks
from playground.language import LANGUAGES, Language, speaking
from playground.run_store import RunStore


class Site:
    """The built pages, and what they share: the engine, the runs and the jobs."""

    def __init__(self, host: EngineHost) -> None:
        self.runs = RunStore()
        jobs = Jobs()
        self.demo = PageBlocks(title=TITLE, analytics_enabled=False, delete_cache=(600, 3600))
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


def build_site(host: EngineHost) -> Site:
    """Build the pages around an engine that may still be loading."""
    return Site(host)
