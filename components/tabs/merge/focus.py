"""The token that the merge tab's charts refer to: the selected one, or a default."""

from __future__ import annotations

import html
from dataclasses import dataclass

import numpy as np

from components.charts.token_labels import span_name, span_seconds, token_label
from components.views.text import visible
from playground.language import say
from playground.pipeline import Run
from playground.pointer import Selection
from playground.records import ModelInputs, VisualSpan

MAX_WORD_CHARS = 24


@dataclass(frozen=True, slots=True)
class Focus:
    """One token of the run."""

    index: int  # sequence index
    span: int | None  # index into ModelInputs.spans; None for text
    pointed: bool  # False if nothing is selected


def choose_focus(run: Run, selection: Selection | None) -> Focus:
    """The selected token; by default the middle of the first image, or the last token."""
    there = run.still_there(selection)
    if there is not None:
        return Focus(there.index, there.span, pointed=True)
    if run.inputs.spans:
        span = run.inputs.spans[0]
        row, column = span.merged_h // 2, span.merged_w // 2
        return Focus(span.start + row * span.merged_w + column, 0, pointed=False)
    return Focus(run.inputs.num_tokens - 1, None, pointed=False)


def focus_words(run: Run, focus: Focus) -> str:
    """``token 37 (image 1)``, with the reason for a default choice; escaped."""
    inputs, index = run.inputs, focus.index
    if focus.span is None:
        what = f"“{cut_text(inputs.tokens[index].text, MAX_WORD_CHARS)}”"
    else:
        what = span_phrase(inputs, inputs.spans[focus.span])
    if focus.pointed:
        words = say("token {index:,} ({what})", index=index, what=what)
    elif focus.span is None:
        words = say(
            "token {index:,} (the last one, {what}; click another token or patch to select it)",
            index=index,
            what=what,
        )
    else:
        words = say(
            "token {index:,} (the middle of {what}; click another token or patch to select it)",
            index=index,
            what=what,
        )
    return html.escape(words)


def span_phrase(inputs: ModelInputs, span: VisualSpan) -> str:
    """``image 2``, or ``video 1 at 0.8 s``, for a sentence."""
    if span.kind == "image":
        return span_name(inputs, span)
    return say(
        "video {number} at {seconds:.1f} s",
        number=span.media_index + 1,
        seconds=span_seconds(inputs, span),
    )


def next_span(run: Run, focus: Focus) -> int:
    """Index of the focus's own span, or of the nearest one; the run must have one."""
    if focus.span is not None:
        return focus.span
    spans = run.inputs.spans
    gaps = [max(span.start - focus.index, focus.index - span.end + 1) for span in spans]
    return int(np.argmin(gaps))


def cut_text(text: str, limit: int) -> str:
    """Text with visible whitespace, cut in its middle; not escaped."""
    shown = visible(text)
    if len(shown) <= limit:
        return shown
    tail = limit // 2
    return f"{shown[: limit - tail - 1]}…{shown[-tail:]}"


def chart_labels(run: Run, indices: np.ndarray) -> list[str]:
    """The texts of some tokens, escaped for Plotly; for image and video tokens only the kind."""
    chosen = [run.inputs.tokens[index] for index in indices]
    return [
        say(token.kind) if token.kind in ("image", "video") else token_label(token.text)
        for token in chosen
    ]


def chart_kinds(run: Run, indices: np.ndarray) -> list[str]:
    """The kinds of some tokens."""
    return [run.inputs.tokens[index].kind for index in indices]
