"""A number that may be left empty, as an input of the page."""

from __future__ import annotations

import re
from typing import Any

import gradio as gr

GROUPED = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d*)?")  # 1,024: as the page itself writes numbers


class OptionalNumber(gr.Textbox):
    """A box for a number, in which empty stays empty: its value is None.

    Gradio's own number shows 0 in the place of nothing as soon as it is mounted, and a part of the
    page is mounted when it is first opened: whoever only looked at it would have asked for 0. Text
    that is no number is passed on as it is, for the check of what was asked for to explain.
    """

    # How Gradio knows that a subclass has its parent's front end. No __init__: its arguments are
    # what Gradio sends of a component.
    is_template = True

    def preprocess(self, payload: Any) -> Any:
        """What was typed → a number; None where nothing was."""
        return read_number(payload)

    def postprocess(self, value: float | str | None) -> str:
        """A number → the text in the box."""
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        return "" if value is None else str(value)


def read_number(value: Any) -> Any:
    """An int, a float, None for empty text, or the value itself where it is none of these."""
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
