"""The boxes and points of an answer on its image: pixels, patches and tokens.

The coordinates are taken as thousandths of one image, whichever kind of number they are written as.
An answer does not say which image it means: with several, it is the last one of the prompt unless
another one is chosen. Nor does it say which frame of a video it means, so videos are refused.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from playground.errors import InputError
from playground.grounding.convert import Frame, to_pixels
from playground.grounding.edges import Edge, measure_edges
from playground.grounding.number_tokens import answer_text
from playground.grounding.read import Found, Reason, Unread, read_grounding
from playground.language import mark, say
from playground.pipeline import Run
from playground.pointer import patch_rows, patch_tokens
from playground.preprocess.views import pixel_budget, span_facts
from playground.records import ModelInputs, Progress, VisualSpan

MAX_MEASURED = 32  # boxes and points of one answer; each takes up to 16 forwards
EXCERPT = 60  # characters of a place that cannot be read

UNREAD: dict[Reason, str] = {
    "cut off": mark("The answer ends inside a box or point: {excerpt}"),
    "wrong count": mark("A box has 4 numbers and a point has 2, unlike this: {excerpt}"),
    "no number": mark("Not a list of coordinates: {excerpt}"),
}


@dataclass(frozen=True, slots=True)
class Located:
    """A box or point of an answer, on one image."""

    found: Found  # label, kind, the coordinates as they are written, and what is odd about them
    original: tuple[float, ...]  # x, y, x, y in pixels of the original image; not clipped
    resized: tuple[float, ...]  # in pixels of the resized image
    tokens: tuple[int, ...]  # sequence indices of the image tokens that it touches, ascending
    patches: tuple[int, ...]  # rows of pixel_values of the patches that it touches, ascending
    edges: tuple[Edge | None, ...] = ()  # one per coordinate; empty if they were not measured


@dataclass(frozen=True, slots=True)
class GroundedAnswer:
    """What an answer says about places in one image."""

    text: str  # of the answer, as in ``answer_text``
    image: int  # index into Prompt.images
    span: int  # index into ModelInputs.spans
    frame: Frame
    items: tuple[Located, ...]  # in the order of the answer
    unread: tuple[str, ...]  # what cannot be read, in words

    @property
    def boxes(self) -> tuple[Located, ...]:
        """The boxes."""
        return tuple(item for item in self.items if item.found.kind == "box")

    @property
    def points(self) -> tuple[Located, ...]:
        """The points."""
        return tuple(item for item in self.items if item.found.kind == "point")


def locate_answer(answered: Run, image: int | None = None) -> GroundedAnswer:
    """Read the boxes and points of an answer and place them on an image; no model runs.

    Args:
        answered: from ``run_with_answer``.
        image: index into the prompt's images; None for the last one.

    Raises:
        InputError: the prompt has no such image.
    """
    inputs = answered.inputs
    number = choose_span(inputs, image)
    span, text = inputs.spans[number], answer_text(inputs)
    facts, reading = span_facts(inputs, span), read_grounding(text)
    budget = pixel_budget(answered.engine, "image", inputs.prompt.max_pixels)
    frame = Frame(facts.original_size, facts.resized_size, budget.min_pixels, budget.max_pixels)
    return GroundedAnswer(
        text=text,
        image=span.media_index,
        span=number,
        frame=frame,
        items=tuple(_locate(found, frame, span, inputs.patch_size) for found in reading.found),
        unread=tuple(_describe(text, unread) for unread in reading.unread),
    )


def choose_span(inputs: ModelInputs, image: int | None = None) -> int:
    """The index into ``inputs.spans`` of an image; None for the last one.

    Raises:
        InputError: the prompt has no such image.
    """
    images = [number for number, span in enumerate(inputs.spans) if span.kind == "image"]
    if not images and inputs.spans:
        raise InputError(
            say("Boxes and points are located on images: they do not say which frame they mean."),
            remedy=say("Send a frame of the video as an image."),
        )
    if not images:
        raise InputError(say("This prompt has no image."), remedy=say("Add an image."))
    if image is None:
        return images[-1]
    if not 0 <= image < len(images):
        raise InputError(
            say("There is no image {number:,}.", number=image + 1),
            limit=say("This prompt has {count:,}.", count=len(images)),
        )
    return images[image]


def _describe(text: str, unread: Unread) -> str:
    excerpt = " ".join(text[unread.start : unread.end].split())
    if len(excerpt) > EXCERPT:
        excerpt = excerpt[:EXCERPT] + "…"
    return say(UNREAD[unread.reason], excerpt=excerpt or "…")


def with_edges(
    answered: Run, grounded: GroundedAnswer, *, progress: Progress | None = None
) -> GroundedAnswer:
    """The same with the edges of its first ``MAX_MEASURED`` boxes and points, which run the model.

    Args:
        answered: the run that was located.
        grounded: from ``locate_answer`` for it.
        progress: called before every forward; ``StageCancelled`` raised in it stops.
    """
    items = list(grounded.items)
    measured = items[:MAX_MEASURED]
    total, before = sum(len(item.found.coordinates) for item in measured), 0

    def report(what: str, done: int, _of_item: int) -> None:
        if progress is not None:
            progress(what, before + done, total)

    for number, item in enumerate(measured):
        edges = measure_edges(answered, item.found, progress=report)
        items[number] = replace(item, edges=edges)
        before += len(edges)
    return replace(grounded, items=tuple(items))


# --------------------------------------------------------------------------- patches and tokens


def _locate(found: Found, frame: Frame, span: VisualSpan, patch_size: int) -> Located:
    resized = to_pixels(found.values, frame.resized)
    rows = _touched(resized[1::2], patch_size, span.grid_h)
    columns = _touched(resized[0::2], patch_size, span.grid_w)
    inside = np.ix_(rows, columns)
    return Located(
        found,
        original=to_pixels(found.values, frame.original),
        resized=resized,
        tokens=tuple(np.unique(patch_tokens(span)[inside]).tolist()),
        patches=tuple(np.unique(patch_rows(span)[inside]).tolist()),
    )


def _touched(pixels: Sequence[float], patch_size: int, count: int) -> range:
    """The patches along one axis that lie between pixels of the resized image.

    Args:
        pixels: one, or two ends in any order; they may lie outside.
        patch_size: in pixels.
        count: patches along the axis.
    """
    # Rounded, since thousandths of a size are seldom exact.
    low, high = (round(pixel / patch_size, 6) for pixel in (min(pixels), max(pixels)))
    if high < 0 or low > count:
        return range(0)
    first = min(max(math.floor(low), 0), count - 1)
    return range(first, max(first + 1, min(math.ceil(high), count)))
