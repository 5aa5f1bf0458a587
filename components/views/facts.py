"""Sentences of facts, as all tabs write them."""

from __future__ import annotations

import html

from playground.language import say


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
