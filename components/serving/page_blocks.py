"""The site's ``gr.Blocks``: each event is answered in its page's language."""

from __future__ import annotations

from typing import Any

import gradio as gr
from gradio.context import Context

from components.serving.faults import clear_faults
from components.serving.language_switch import PATHS
from playground.language import LANGUAGES, Language, speaking


class PageBlocks(gr.Blocks):
    """Pages in several languages, with messages for all failures."""

    async def process_api(self, block_fn: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Like Gradio's, which passes this context on to the thread that answers."""
        function = self.fns[block_fn] if isinstance(block_fn, int) else block_fn
        for_page = function.api_visibility == "private"
        with speaking(_language_at(function.page)), clear_faults(as_html=for_page):
            return await super().process_api(block_fn, *args, **kwargs)


def blocks_around() -> gr.Blocks:
    """The ``gr.Blocks`` that is being built."""
    blocks = Context.root_block
    if blocks is None:
        raise RuntimeError("Call it inside a gr.Blocks.")
    return blocks


def _language_at(path: str) -> Language:
    return next((language for language in LANGUAGES if PATHS[language] == path), "en")
