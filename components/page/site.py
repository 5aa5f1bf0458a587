"""The site: one Gradio app with the page once in each language."""

from __future__ import annotations

from components.compute.engine_host import EngineHost
from components.page.layout import TITLE, Page
from components.page.shared import Shared
from components.serving.language_switch import PATHS
from components.serving.page_blocks import PageBlocks
from playground.language import LANGUAGES, Language, speaking


class Site:
    """The built pages, and what they share."""

    def __init__(self, host: EngineHost) -> None:
        self.shared = Shared(host)
        self.demo = PageBlocks(title=TITLE, analytics_enabled=False, delete_cache=(600, 3600))
        self.pages: dict[Language, Page] = {}
        for language in LANGUAGES:
            if path := PATHS[language]:
                self.demo.route(language, path, show_in_navbar=False)
            with self.demo, speaking(language):
                self.pages[language] = Page(self.shared, has_api=not path)


def build_site(host: EngineHost) -> Site:
    """Build the pages around an engine that may still be loading."""
    return Site(host)
