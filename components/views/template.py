"""The rendered prompt, message by message, with its special tokens and placeholders as chips."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from components.look.colors import ROLE_COLORS
from components.views.strips import ROLE_NAMES, TYPED_MARK, kind_legend_html, kind_sign, sign_html
from components.views.text import HIDDEN, escape_character, visible
from playground.language import say

if TYPE_CHECKING:
    from playground.records import ModelInputs
    from playground.tokens import TypedSpecial


def template_html(inputs: ModelInputs, typed: Sequence[TypedSpecial] = ()) -> str:
    """The rendered prompt: one block per message, its special tokens and placeholders as chips.

    Args:
        inputs: the record of the preprocess stage.
        typed: special tokens in the user's text, which are marked.
    """
    kinds: dict[str, str] = {
        token.text: token.kind for token in inputs.tokens if token.kind != "text"
    }
    kinds |= {inputs.expanded_prompt[special.start : special.end]: "typed" for special in typed}
    blocks = "".join(
        _message_html(message, kinds) for message in _split_messages(inputs.rendered_prompt)
    )
    shown = [kind for kind in ("special", "image", "video") if kind in kinds.values()]
    legend = kind_legend_html(shown, bool(typed))
    return f'<div class="pg-template">{legend}{blocks}</div>'


def _split_messages(text: str) -> Iterator[str]:
    """Split the text before each ``<|im_start|>``."""
    return (part for part in re.split(r"(?=<\|im_start\|>)", text) if part)


def _message_html(message: str, kinds: Mapping[str, str]) -> str:
    header = re.match(r"<\|im_start\|>(\w+)", message)
    role = header.group(1) if header and header.group(1) in ROLE_COLORS else "template"
    name = say(ROLE_NAMES[role])
    if header is not None and "<|im_end|>" not in message:
        name = say("{role} — the model continues from here", role=name)
    body = _mark_specials(message, kinds)
    return (
        f'<section class="pg-message pg-role-{role}"><p class="pg-role">{name}</p>'
        f'<div class="pg-message-text" translate="no">{body}</div></section>'
    )


def _mark_specials(text: str, kinds: Mapping[str, str]) -> str:
    """Escaped text with special tokens as chips and visible line ends."""
    if not kinds:
        return _text_lines(text)
    names = "|".join(re.escape(name) for name in sorted(kinds, key=len, reverse=True))
    parts = re.split(f"({names})", text)
    return "".join(
        _special_chip(part, kinds[part]) if part in kinds else _text_lines(part) for part in parts
    )


def _special_chip(text: str, kind: str) -> str:
    if kind != "typed":
        return f'<span class="pg-chip pg-{kind}">{kind_sign(kind)}{html.escape(text)}</span>'
    title = say(
        "typed special token, treated as text: a zero-width space after its first character stops "
        "the tokenizer from reading it as a special token"
    )
    return (
        f'<span class="pg-chip pg-typed" title="{title}">{sign_html(TYPED_MARK)}'
        f"{html.escape(visible(text))}</span>"
    )


def _text_lines(text: str) -> str:
    shown = HIDDEN.sub(
        lambda match: "\n" if match.group() == "\n" else escape_character(match), text
    )
    return html.escape(shown).replace("\n", '<span class="pg-newline">⏎</span>\n')
