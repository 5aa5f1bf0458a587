"""A `gr.HTML` for the other views of this package."""

from __future__ import annotations

import gradio as gr


def build_html_view(value: str = "", *, wide: bool = False) -> gr.HTML:
    """A place for HTML of our own, without Gradio's styles for running text.

    Args:
        value: what it shows at first.
        wide: in a row, wrap below the neighbour rather than share a phone's width with it.
    """
    classes = ["pg-view", "pg-wide"] if wide else ["pg-view"]
    return gr.HTML(value, apply_default_css=False, elem_classes=classes)
