"""Token sequences as chips: the model's input in order, and generated text by probability.

Colour is never the only carrier: each kind of token has a mark, each band of probability a line
of its own under the token.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from components.look.colors import BLUE, GREEN, GREY, ORANGE, PURPLE, ROLE_COLORS
from playground.language import mark, say

if TYPE_CHECKING:
    from playground.records import ModelInputs, Token, TokenStep, VisualSpan
    from playground.tokens import TypedSpecial

MAX_CHIPS = 400  # about 80 kB of HTML
KIND_MARKS = {"text": "", "special": "◆", "image": "▦", "video": "▶"}
# What a cache did with a token; views.css gives each label a mark of its own.
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
TYPED_NAME = mark("special token that was typed, kept as text")

_VISIBLE = {" ": "␣", "\n": "⏎", "\r": "␍", "\t": "⇥"}
# Controls, zero-width and direction marks. A joiner (U+200D) stays: emoji are made with it.
_HIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\u200b\u200c\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff]")


def visible(text: str) -> str:
    """Text in which whitespace and characters that leave no trace can be seen."""
    shown = "".join(_VISIBLE.get(character, character) for character in text)
    return _HIDDEN.sub(_escape_character, shown)


def _escape_character(match: re.Match[str]) -> str:
    code = ord(match.group())
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


# ------------------------------------------------------------------------------ the sequence


@dataclass(frozen=True, slots=True)
class TokenRun:
    """Neighbouring picture tokens of one image or frame, or a single other token."""

    start: int
    end: int  # one past the last
    first: Token
    span: VisualSpan | None
    label: str


def fold_tokens(inputs: ModelInputs, labels: Sequence[str] | None = None) -> list[TokenRun]:
    """Join picture tokens that stand in one span and carry the same label."""
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
    """The tokens that spell special tokens which a user typed: sequence index → what was typed.

    Args:
        inputs: the record of the preprocess stage.
        typed: ``find_typed_specials`` of its expanded prompt.
    """
    return {
        token.index: each.name
        for each in typed
        for token in inputs.tokens
        if token.kind == "text" and token.char_start < each.end and each.start < token.char_end
    }


def sequence_strip_html(
    inputs: ModelInputs,
    *,
    labels: Sequence[str] | None = None,
    pointed: bool = False,
    typed: Sequence[TypedSpecial] = (),
) -> str:
    """The token sequence as chips in order; runs of picture tokens are one chip.

    Each chip has `data-start` and `data-end` (one past the last).

    Args:
        inputs: the record of the preprocess stage.
        pointed: True for the page's own run: the pointer then marks chips and follows clicks.
        labels: one word per token; the page's styles know those of `LABEL_NAMES`. A run of
            picture tokens is split where the label changes.
        typed: special tokens in the user's text, to be marked.
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
    legend = _kind_legend(kinds, bool(typed)) if labels is None else _label_legend(used)
    name = say("{count:,} tokens in order", count=inputs.num_tokens)
    return (
        f'<div class="pg-strip-box"{" data-pointer" if pointed else ""} '
        f'style="{_color_variables()}">{legend}'
        f'<ol class="pg-strip" aria-label="{name}">{chips}</ol></div>'
    )


def _color_variables() -> str:
    """The labels' colours for the style sheet; those of kinds and roles come with the theme."""
    return ";".join(f"--label-{name}:{color}" for name, color in LABEL_COLORS.items())


def _kind_legend(kinds: Iterable[str], typed: bool = False) -> str:
    items = "".join(
        f'<li class="pg-chip pg-{kind}">{_mark(kind)}{say(KIND_NAMES[kind])}</li>' for kind in kinds
    )
    if typed:
        items += f'<li class="pg-chip pg-typed">{_sign(TYPED_MARK)}{say(TYPED_NAME)}</li>'
    return f'<ul class="pg-legend" aria-label="{say("Kinds of tokens")}">{items}</ul>'


def _label_legend(labels: Iterable[str]) -> str:
    items = "".join(
        f'<li class="pg-chip" data-label="{html.escape(label)}">'
        f"{html.escape(say(LABEL_NAMES.get(label, label)))}</li>"
        for label in labels
    )
    return f'<ul class="pg-legend" aria-label="{say("What the marks mean")}">{items}</ul>'


def _mark(kind: str) -> str:
    return _sign(KIND_MARKS[kind])


def _sign(mark: str) -> str:
    return f'<span class="pg-mark" aria-hidden="true">{mark}</span>' if mark else ""


def _run_chip(run: TokenRun, typed: str | None = None) -> str:
    token = run.first
    words, spoken = visible(token.text), ' translate="no"'
    if run.span is not None:
        words, spoken = _span_words(run, run.span), ""
    label = f' data-label="{html.escape(run.label)}"' if run.label else ""
    kind, sign = (token.kind, _mark(token.kind)) if typed is None else ("typed", _sign(TYPED_MARK))
    return (
        f'<li class="pg-chip pg-{kind}" data-start="{run.start}" data-end="{run.end}"{label} '
        f'title="{html.escape(_run_details(run, typed))}"{spoken}>{sign}{html.escape(words)}</li>'
    )


def _run_details(run: TokenRun, typed: str | None) -> str:
    """Index, id, bytes, role and kind: what comes up when a chip is pointed at."""
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
        details.append(say("part of {typed}, which was typed and stays text", typed=typed))
    return " · ".join(details)


def _span_words(run: TokenRun, span: VisualSpan) -> str:
    """``64 × <|image_pad|>  8 × 8, image 1``; across × down; left out for a part."""
    place = say("image {number}", number=span.media_index + 1)
    if span.kind == "video":
        place = say(
            "video {number}, frame pair {pair}", number=span.media_index + 1, pair=span.frame + 1
        )
    tokens = f"{run.end - run.start} × {run.first.text}\u2002"
    if (run.start, run.end) == (span.start, span.end):
        return tokens + say(
            "{across} × {down}, {place}", across=span.merged_w, down=span.merged_h, place=place
        )
    return tokens + say("part of {whole}", whole=place)


# ------------------------------------------------------------------------------ the template


def template_html(inputs: ModelInputs, typed: Sequence[TypedSpecial] = ()) -> str:
    """The rendered prompt: one block per message, its special tokens and placeholders as chips.

    Args:
        inputs: the record of the preprocess stage.
        typed: special tokens in the user's text, to be marked where they stand.
    """
    kinds: dict[str, str] = {
        token.text: token.kind for token in inputs.tokens if token.kind != "text"
    }
    kinds |= {inputs.expanded_prompt[each.start : each.end]: "typed" for each in typed}
    blocks = "".join(
        _message_html(message, kinds) for message in _split_messages(inputs.rendered_prompt)
    )
    shown = [kind for kind in ("special", "image", "video") if kind in kinds.values()]
    legend = _kind_legend(shown, bool(typed))
    return f'<div class="pg-template">{legend}{blocks}</div>'


def _split_messages(text: str) -> Iterator[str]:
    """The text from one ``<|im_start|>`` to the next."""
    return (part for part in re.split(r"(?=<\|im_start\|>)", text) if part)


def _message_html(message: str, kinds: Mapping[str, str]) -> str:
    header = re.match(r"<\|im_start\|>(\w+)", message)
    role = header.group(1) if header and header.group(1) in ROLE_COLORS else "template"
    name = say(ROLE_NAMES[role])
    if header is not None and "<|im_end|>" not in message:
        name = say("{role} — the model goes on from here", role=name)
    body = _mark_specials(message, kinds)
    return (
        f'<section class="pg-message pg-role-{role}"><p class="pg-role">{name}</p>'
        f'<div class="pg-message-text" translate="no">{body}</div></section>'
    )


def _mark_specials(text: str, kinds: Mapping[str, str]) -> str:
    """Escaped text with special tokens as chips and line ends that can be seen."""
    if not kinds:
        return _text_lines(text)
    names = "|".join(re.escape(name) for name in sorted(kinds, key=len, reverse=True))
    parts = re.split(f"({names})", text)
    return "".join(
        _special_chip(part, kinds[part]) if part in kinds else _text_lines(part) for part in parts
    )


def _special_chip(text: str, kind: str) -> str:
    if kind != "typed":
        return f'<span class="pg-chip pg-{kind}">{_mark(kind)}{html.escape(text)}</span>'
    title = say(
        "special token that was typed, kept as text: a zero-width space after its first "
        "character keeps it from being taken as one"
    )
    return (
        f'<span class="pg-chip pg-typed" title="{title}">{_sign(TYPED_MARK)}'
        f"{html.escape(visible(text))}</span>"
    )


def _text_lines(text: str) -> str:
    shown = _HIDDEN.sub(
        lambda match: "\n" if match.group() == "\n" else _escape_character(match), text
    )
    return html.escape(shown).replace("\n", '<span class="pg-newline">⏎</span>\n')


# ------------------------------------------------------------------------- generated tokens

# Lower bound of the probability, CSS class, words.
PROBABILITY_BANDS = (
    (0.9, "pg-sure", mark("90 % or more")),
    (0.5, "pg-likely", "50–90 %"),
    (0.2, "pg-unsure", "20–50 %"),
    (0.0, "pg-unlikely", mark("under 20 %")),
)


def probability_class(prob: float) -> str:
    """The CSS class of the band that a probability lies in."""
    return next(name for bound, name, _ in PROBABILITY_BANDS if prob >= bound)


def probability_legend_html() -> str:
    """What the backgrounds of `token_chips_html` mean."""
    items = "".join(
        f'<li class="pg-token {name}">{html.escape(say(words))}</li>'
        for _, name, words in PROBABILITY_BANDS
    )
    return (
        f'<div class="pg-token-legend" style="{_token_colors()}">'
        f"<span>{say('Probability before the filters:')}</span>"
        f'<ul class="pg-legend">{items}</ul></div>'
    )


def raw_probability(step: TokenStep) -> float:
    """The chosen token's probability under the untouched logits; it is always among the top."""
    return next(each.raw_prob for each in step.top if each.id == step.id)


def token_chips_html(steps: Sequence[TokenStep], *, mark: int | None = None) -> str:
    """Generated text, each token on a background by its probability before the filters.

    The numbers come up on hover and on keyboard focus.

    Args:
        steps: the generated tokens in order.
        mark: a step to point out, such as the first divergence.
    """
    chips = "".join(_step_chip(index, step, index == mark) for index, step in enumerate(steps))
    return f'<p class="pg-generated" translate="no" style="{_token_colors()}">{chips}</p>'


def _token_colors() -> str:
    return f"--unsure:{ORANGE};--diverges:{PURPLE}"


def _step_chip(index: int, step: TokenStep, marked: bool) -> str:
    raw = raw_probability(step)
    name = probability_class(raw)
    title = say(
        "step {number} · id {id} · before the filters {raw:.1%} · after them {prob:.1%} · "
        "entropy {entropy:.2f} nats",
        number=index + 1,
        id=step.id,
        raw=raw,
        prob=step.prob,
        entropy=step.entropy,
    )
    marked_class = " pg-diverges" if marked else ""
    text = visible(step.text).replace("␣", " ").replace("⏎", "⏎\n")
    return (
        f'<span class="pg-token {name}{marked_class}" tabindex="0" data-step="{index}" '
        f'title="{html.escape(title)}">{html.escape(text)}</span>'
    )
