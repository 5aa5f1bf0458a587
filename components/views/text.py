"""Token text as shown on the page: invisible characters made visible, long text cut."""

from __future__ import annotations

import html
import re

_VISIBLE = {" ": "␣", "\n": "⏎", "\r": "␍", "\t": "⇥"}
# Control, zero-width and direction characters. The joiner (U+200D) stays, because emoji need it.
HIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u200b\u200c\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff]")


def visible(text: str) -> str:
    """The text with whitespace and invisible characters made visible."""
    shown = "".join(_VISIBLE.get(character, character) for character in text)
    return HIDDEN.sub(escape_character, shown)


def escape_character(match: re.Match[str]) -> str:
    """One character as a Python escape, for ``HIDDEN.sub``."""
    code = ord(match.group())
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


def flowing(text: str) -> str:
    """The same as ``visible``, but with plain spaces, for running text."""
    return visible(text).replace("␣", " ")


def flowing_lines(text: str) -> str:
    """The same as ``flowing``, with a real line break after each ⏎."""
    return flowing(text).replace("⏎", "⏎\n")


def quote(text: str) -> str:
    """A token in quotation marks, with visible whitespace."""
    return f"“{visible(text)}”"


def cut_end(text: str, limit: int) -> str:
    """A text of at most ``limit`` characters."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def verbatim_html(text: str) -> str:
    """Text from the user or the model within a sentence, which browsers must not translate."""
    return f'<span translate="no">{html.escape(text)}</span>'


def token_html(text: str) -> str:
    """A token in quotation marks, within a sentence."""
    return verbatim_html(quote(text))
