"""Names of tokens and images as chart labels: short, visible, and safe for Plotly."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from components.charts.style import escape_label
from components.views.text import cut_end, visible
from playground.language import say

if TYPE_CHECKING:
    from playground.records import ModelInputs, Token, VisualSpan

LABEL_CHARS = 18  # longer tokens are cut; the tables show them whole
MAX_LONG_NAMES = 3  # more images than this are labelled by number only


def token_label(text: str, limit: int = LABEL_CHARS) -> str:
    """One token's text: whitespace made visible, cut to ``limit`` characters, escaped."""
    return escape_label(cut_end(visible(text), limit))


def token_labels(tokens: Iterable[Token]) -> list[str]:
    """``token_label`` of every token of a sequence."""
    return [token_label(token.text) for token in tokens]


def span_name(inputs: ModelInputs, span: VisualSpan) -> str:
    """``image 2``, or ``video 1, 0.8 s`` for a temporal patch of a video."""
    if span.kind == "image":
        return media_name(span)
    return say(
        "video {number}, {seconds:.1f} s",
        number=span.media_index + 1,
        seconds=span_seconds(inputs, span),
    )


def span_seconds(inputs: ModelInputs, span: VisualSpan) -> float:
    """Timestamp of a temporal patch in its video."""
    videos = [facts for facts in inputs.media if facts.kind == "video"]
    return videos[span.media_index].timestamps[span.frame]


def media_name(span: VisualSpan) -> str:
    """``image 2`` or ``video 1``: the whole image or video of a span."""
    number = span.media_index + 1
    if span.kind == "image":
        return say("image {number}", number=number)
    return say("video {number}", number=number)


def span_marks(inputs: ModelInputs) -> list[tuple[int, int, str]]:
    """First index, one past the last, and name of every image or frame, for brackets.

    Names are short, and a video is named once, at its middle frame: longer ones would overlap.
    """
    marks = []
    for span in inputs.spans:
        frames = [
            part.frame
            for part in inputs.spans
            if (part.kind, part.media_index) == (span.kind, span.media_index)
        ]
        named = span.frame == frames[len(frames) // 2]
        short = str(span.media_index + 1)
        name = media_name(span) if len(inputs.media) <= MAX_LONG_NAMES else short
        marks.append((span.start, span.end, name if named else ""))
    return marks
