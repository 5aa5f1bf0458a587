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


def lead_markup(*sentences: str) -> str:
    """The same as the first words above a picture, strip or table."""
    return f'<p class="pg-fact pg-lead">{join_sentences(*sentences)}</p>'


def join_sentences(*sentences: str) -> str:
    """Sentences one after another; empty ones are left out. Chinese has no space between them."""
    return say(" ").join(filter(None, sentences))


def capital(text: str) -> str:
    """The text with a capital letter at its start; the rest stays."""
    return text[:1].upper() + text[1:]


def signed(number: float, form: str = ",") -> str:
    """A number with a real minus sign, in a form of Python's."""
    return format(number, form).replace("-", "−")


def count_tokens(count: int) -> str:
    """``1 token``, ``2 tokens``."""
    return say("1 token") if count == 1 else say("{count:,} tokens", count=count)


def share_words(prob: float) -> str:
    """A probability, also a small one."""
    return f"{prob:.1%}" if prob >= 0.001 else "<0.1%"
