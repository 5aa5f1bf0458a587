"""The site: one Gradio app with one page per language."""

from __future__ import annotations

from typing import TYPE_CHECKING

import playground
from components.compute.engine_host import EngineHost
from components.page.layout import TITLE, Page
from components.page.shared import Shared
from components.serving.language_switch import PATHS
from components.serving.page_blocks import PageBlocks
from playground.language import LANGUAGES, Language, speaking

if TYPE_CHECKING:
    from playground.engine import Engine


class Site:
    """The pages, and what they share."""

    def __init__(self, host: EngineHost) -> None:
        self.shared = Shared(host)
        self.demo = PageBlocks(title=TITLE, analytics_enabled=False, delete_cache=(600, 3600))
        self.pages: dict[Language, Page] = {}
        for language in LANGUAGES:
            if path := PATHS[language]:
                self.demo.route(language, path, show_in_navbar=False)
            with self.demo, speaking(language):
                self.pages[language] = Page(self.shared, has_api=not path)

    def begin_with_first_example(self, engine: Engine) -> None:
        """Run the first example once for all pages, and show the controls of this checkpoint.

        Pages opened from now on are served with this run, so that their parts request drawings at
        once instead of after the page's first event.
        """
        self.shared.events.compute_opening(engine)
        opening = self.shared.events.opening
        knows_thinking = playground.preprocess.chat_template.knows_thinking(engine)
        for page in self.pages.values():
            page.panel.thinking.visible = knows_thinking
            if opening is not None:
                page.run_view.value = opening.write(is_default=True)
        self.demo.config = self.demo.get_config_file()


def build_site(host: EngineHost) -> Site:
    """Build the pages around an engine that may still be loading."""
    return Site(host)
