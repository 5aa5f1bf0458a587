"""The token sequence as chips, in order.

Colour is never the only cue: each kind of token also has a mark.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from components.look.colors import BLUE, GREEN, GREY
from components.views.text import visible
from playground.language import mark, say

if TYPE_CHECKING:
    from playground.records import ModelInputs, Token, VisualSpan
    from playground.tokens import TypedSpecial

MAX_CHIPS = 400  # about 80 kB of HTML
KIND_MARKS = {"text": "", "special": "◆", "image": "▦", "video": "▶"}
# How the cache treated a token; views.css gives each label its own mark.
LABEL_COLORS = {"reused": GREEN, "computed": BLUE, "stored": GREY}
LABEL_NAMES = {
    "reused": mark("reused from the cache"),
    "computed": mark("computed"),
    "stored": mark("stored, not reused"),
}
KIND_NAMES = {
    "text": mark("text"),
    "special": mark("special token"),
    "image": mark("image"),
    "video": mark("video"),
}
ROLE_NAMES = {
    "system": mark("system"),
    "user": mark("user"),
    "assistant": mark("assistant"),
    "template": mark("template"),
}
TYPED_MARK = "✎"
TYPED_NAME = mark("typed special token, treated as text")


@dataclass(frozen=True, slots=True)
class TokenRun:
    """Consecutive image tokens of one image or temporal patch, or a single other token."""

    start: int
    end: int  # one past the last
    first: Token
    span: VisualSpan | None
    label: str


def fold_tokens(inputs: ModelInputs, labels: Sequence[str] | None = None) -> list[TokenRun]:
    """Join consecutive image tokens of one span with the same label."""
    if labels is not None and len(labels) != inputs.num_tokens:
        raise ValueError(f"expected {inputs.num_tokens} labels, got {len(labels)}")
    span_of = {index: span for span in inputs.spans for index in range(span.start, span.end)}
    runs: list[TokenRun] = []
    for token in inputs.tokens:
        span = span_of.get(token.index)
        label = labels[token.index] if labels is not None else ""
        last = runs[-1] if runs else None
        if last is not None and span is not None and last.span is span and last.label == label:
            runs[-1] = TokenRun(last.start, token.index + 1, last.first, span, label)
        else:
            runs.append(TokenRun(token.index, token.index + 1, token, span, label))
    return runs


def typed_tokens(inputs: ModelInputs, typed: Sequence[TypedSpecial]) -> dict[int, str]:
    """The tokens of special tokens typed by the user: sequence index → the typed name.

    Args:
        inputs: the record of the preprocess stage.
        typed: ``find_typed_specials`` of its expanded prompt.
    """
    return {
        token.index: special.name
        for special in typed
        for token in inputs.tokens
        if token.kind == "text"
        and token.char_start < special.end
        and special.start < token.char_end
    }


def sequence_strip_html(
    inputs: ModelInputs,
    *,
    labels: Sequence[str] | None = None,
    pointed: bool = False,
    typed: Sequence[TypedSpecial] = (),
) -> str:
    """The token sequence as chips in order; a run of image tokens is one chip.

    Each chip has `data-start` and `data-end` (one past the last).

    Args:
        inputs: the record of the preprocess stage.
        pointed: True for the page's own run: chips can then be selected and are marked.
        labels: one label per token; the style sheet has those of `LABEL_NAMES`. A run of image
            tokens is split where the label changes.
        typed: special tokens in the user's text, which are marked.
    """
    runs = fold_tokens(inputs, labels)
    names = typed_tokens(inputs, typed)
    chips = "".join(_run_chip(run, names.get(run.start)) for run in runs[:MAX_CHIPS])
    if len(runs) > MAX_CHIPS:
        rest = inputs.num_tokens - runs[MAX_CHIPS].start
        more = say("… {rest:,} more tokens", rest=rest)
        chips += f'<li class="pg-chip pg-rest">{more}</li>'
    kinds = [kind for kind in KIND_MARKS if any(run.first.kind == kind for run in runs)]
    used = list(dict.fromkeys(label for label in labels or () if label))
    legend = kind_legend_html(kinds, bool(typed)) if labels is None else _label_legend(used)
    name = say("Sequence of {count:,} tokens", count=inputs.num_tokens)
    return (
        f'<div class="pg-strip-box"{" data-pointer" if pointed else ""} '
        f'style="{_color_variables()}">{legend}'
        f'<ol class="pg-strip" aria-label="{name}">{chips}</ol></div>'
    )


def _color_variables() -> str:
    """The label colours for the style sheet; the theme has those of kinds and roles."""
    return ";".join(f"--label-{name}:{color}" for name, color in LABEL_COLORS.items())


def kind_legend_html(kinds: Iterable[str], typed: bool = False) -> str:
    """A legend of these token kinds, and of typed special tokens if there are any."""
    items = "".join(
        f'<li class="pg-chip pg-{kind}">{kind_sign(kind)}{say(KIND_NAMES[kind])}</li>'
        for kind in kinds
    )
    if typed:
        items += f'<li class="pg-chip pg-typed">{sign_html(TYPED_MARK)}{say(TYPED_NAME)}</li>'
    return f'<ul class="pg-legend" aria-label="{say("Token kinds")}">{items}</ul>'


def _label_legend(labels: Iterable[str]) -> str:
    items = "".join(
        f'<li class="pg-chip" data-label="{html.escape(label)}">'
        f"{html.escape(say(LABEL_NAMES.get(label, label)))}</li>"
        for label in labels
    )
    return f'<ul class="pg-legend" aria-label="{say("Legend")}">{items}</ul>'


def kind_sign(kind: str) -> str:
    """The mark of a token kind; empty for text."""
    return sign_html(KIND_MARKS[kind])


def sign_html(mark: str) -> str:
    """A mark that screen readers skip, because the text next to it says the same."""
    return f'<span class="pg-mark" aria-hidden="true">{mark}</span>' if mark else ""


def _run_chip(run: TokenRun, typed: str | None = None) -> str:
    token = run.first
    words, spoken = visible(token.text), ' translate="no"'
    if run.span is not None:
        words, spoken = _span_words(run, run.span), ""
    label = f' data-label="{html.escape(run.label)}"' if run.label else ""
    kind, sign = (
        (token.kind, kind_sign(token.kind)) if typed is None else ("typed", sign_html(TYPED_MARK))
    )
    return (
        f'<li class="pg-chip pg-{kind}" data-start="{run.start}" data-end="{run.end}"{label} '
        f'title="{html.escape(_run_details(run, typed))}"{spoken}>{sign}{html.escape(words)}</li>'
    )


def _run_details(run: TokenRun, typed: str | None) -> str:
    """The tooltip of a chip: index, id, bytes, role and kind."""
    token = run.first
    details = [say("index {start}", start=run.start), f"id {token.id}"]
    if run.span is not None:
        details[0] = say("index {start} to {last}", start=run.start, last=run.end - 1)
    if token.kind == "text":
        details.append(say("bytes {shown}", shown=token.raw.hex(" ").upper()))
    details += [say(ROLE_NAMES[token.role]), say(KIND_NAMES[token.kind])]
    if run.label:
        details.append(say(LABEL_NAMES.get(run.label, run.label)))
    if typed is not None:
        details.append(say("part of {typed}, typed by the user and treated as text", typed=typed))
    return " · ".join(details)


def _span_words(run: TokenRun, span: VisualSpan) -> str:
    """``64 × <|image_pad|>  8 × 8, image 1``: width × height, unless the run is only a part."""
    image = say("image {number}", number=span.media_index + 1)
    if span.kind == "video":
        image = say(
            "video {number}, temporal patch {pair}",
            number=span.media_index + 1,
            pair=span.frame + 1,
        )
    tokens = f"{run.end - run.start} × {run.first.text}\u2002"
    if (run.start, run.end) == (span.start, span.end):
        return tokens + say(
            "{across} × {down}, {image}", across=span.merged_w, down=span.merged_h, image=image
        )
    return tokens + say("part of {whole}", whole=image)
