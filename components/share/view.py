"""The buttons that make links, files and the run report, and the events behind them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gradio as gr

if TYPE_CHECKING:
    from components.page.layout import Page


class ShareView(gr.HTML):
    """To come."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__("", apply_default_css=False, **kwargs)


def wire_share(page: Page) -> None:
    """To come; opens the page meanwhile."""
    from components.serving.page_blocks import blocks_around

    def open_page() -> Any:
        for changes in page.shared.events.open_page():
            yield page.updates(changes)

    blocks_around().load(
        open_page,
        None,
        list(page.outputs.values()),
        concurrency_limit=None,
        show_progress="hidden",
        api_visibility="private",
    )
