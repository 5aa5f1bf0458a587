"""Text of tokens as it stands on the page: what leaves no trace is seen, what is long is cut."""

from __future__ import annotations

import html
import re

_VISIBLE = {" ": "␣", "\n": "⏎", "\r": "␍", "\t": "⇥"}
# Controls, zero-width and direction marks. A joiner (U+200D) stays: emoji are made with it.
HIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u200b\u200c\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff]")


def visible(text: str) -> str:
    """Text in which whitespace and characters that leave no trace can be seen."""
    shown = "".join(_VISIBLE.get(character, character) for character in text)
    return HIDDEN.sub(escape_character, shown)


def escape_character(match: re.Match[str]) -> str:
    """One character as Python writes it, for ``HIDDEN.sub``."""
    code = ord(match.group())
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


def flowing(text: str) -> str:
    """The same with plain spaces: a text to be read, not a token."""
    return visible(text).replace("␣", " ")


def flowing_lines(text: str) -> str:
    """The same, each line end followed by one."""
    return flowing(text).replace("⏎", "⏎\n")


def quote(text: str) -> str:
    """A token in quotation marks, with whitespace that can be seen."""
    return f"“{visible(text)}”"


def cut_end(text: str, limit: int) -> str:
    """A text of at most ``limit`` characters."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def verbatim_html(text: str) -> str:
    """What a person or the model wrote, within a sentence: no browser shall translate it."""
    return f'<span translate="no">{html.escape(text)}</span>'


def token_html(text: str) -> str:
    """A token in quotation marks, within a sentence."""
    return verbatim_html(quote(text))
