"""A number field that may be left empty."""

from __future__ import annotations

import re
from typing import Any

import gradio as gr

GROUPED = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d*)?")  # 1,024: as the page itself writes numbers


class OptionalNumber(gr.Textbox):
    """A number field whose value is None while it is empty.

    Gradio's own number field shows 0 instead of nothing once it is mounted, and it is mounted when
    its accordion is opened: opening it would request 0. Text that is not a number is passed on
    unchanged, so that the input check can explain the error.
    """

    # This tells Gradio that the subclass uses its parent's front end. There is no __init__, because
    # Gradio sends a component's arguments to the browser.
    is_template = True

    def preprocess(self, payload: Any) -> Any:
        """Typed text → a number; None for empty text."""
        return read_number(payload)

    def postprocess(self, value: float | str | None) -> str:
        """A number → the text in the box."""
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        return "" if value is None else str(value)


def read_number(value: Any) -> Any:
    """Return an int, a float, None for empty text, or the value itself if it is none of these."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    if not text:
        return None
    if GROUPED.fullmatch(text):
        text = text.replace(",", "")
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return value
