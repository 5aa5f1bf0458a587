"""Sentences and counts in the form that all tabs use."""

from __future__ import annotations

import html

from playground.language import say


def fact_html(*sentences: str) -> str:
    """A paragraph of plain text, which is escaped here; empty sentences are skipped."""
    return fact_markup(html.escape(join_sentences(*sentences)))


def fact_markup(*sentences: str) -> str:
    """A paragraph of HTML sentences; the caller escapes user input."""
    return f'<p class="pg-fact">{join_sentences(*sentences)}</p>'


def lead_markup(*sentences: str) -> str:
    """The same as ``fact_markup``, as the lead above an image, strip or table."""
    return f'<p class="pg-fact pg-lead">{join_sentences(*sentences)}</p>'


def heading_html(text: str) -> str:
    """A heading above something that is not always there."""
    return f'<h3 class="pg-heading">{html.escape(text)}</h3>'


def join_sentences(*sentences: str) -> str:
    """Join sentences, skipping empty ones; Chinese has no space between them."""
    return say(" ").join(filter(None, sentences))


def capital(text: str) -> str:
    """The text with its first letter capitalised."""
    return text[:1].upper() + text[1:]


def signed(number: float, form: str = ",") -> str:
    """A number with a real minus sign, in a Python format."""
    return format(number, form).replace("-", "−")


def count_tokens(count: int) -> str:
    """``1 token``, ``2 tokens``."""
    return say("1 token") if count == 1 else say("{count:,} tokens", count=count)


def share_words(prob: float) -> str:
    """A probability as a percentage, ``<0.1%`` if small."""
    return f"{prob:.1%}" if prob >= 0.001 else "<0.1%"
