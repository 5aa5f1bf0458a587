"""What the parts of several tabs need: a number's control and its value, a paragraph of facts."""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import Any

import gradio as gr

from playground.language import say


def build_index_slider(
    label: str, info: str | None = None, *, value: int = 0, **options: Any
) -> gr.Slider:
    """A slider of layers, blocks or heads, counted from 0; each run sets how far it goes."""
    return gr.Slider(0, max(1, value), value, step=1, label=label, info=info, **options)


def carry_state(state: gr.State, name: str, check: Callable[[Any], Any]) -> gr.State:
    """Let links carry a state, which has neither a label nor bounds.

    Args:
        state: the state.
        name: as a label would read.
        check: gives the value that a link asks for, or raises ``ValueError`` or ``TypeError``.
    """
    state.link_name, state.link_check = name, check  # type: ignore[attr-defined]
    return state


def whole_number(value: float | None, default: int, low: int, high: int) -> int:
    """A control's value as a whole number in its range; ``default`` where nothing is chosen."""
    return min(max(int(value if value is not None else default), low), high)


def within(value: float | None, largest: int) -> int:
    """A control's value in the range that this run has; nothing chosen means the first."""
    return whole_number(value or 0, 0, 0, largest)


def fact_html(*sentences: str) -> str:
    """A paragraph of plain text, which is escaped here; empty sentences are left out."""
    return fact_markup(html.escape(join_sentences(*sentences)))


def fact_markup(*sentences: str) -> str:
    """A paragraph of sentences that are HTML: what comes from users is escaped by the caller."""
    return f'<p class="pg-fact">{join_sentences(*sentences)}</p>'


def join_sentences(*sentences: str) -> str:
    """Sentences one after another; empty ones are left out. Chinese has no space between them."""
    return say(" ").join(filter(None, sentences))


def capital(text: str) -> str:
    """The text with a capital letter at its start; the rest stays."""
    return text[:1].upper() + text[1:]


def signed(number: int) -> str:
    """A number with a real minus sign."""
    return f"{number:,}".replace("-", "−")
