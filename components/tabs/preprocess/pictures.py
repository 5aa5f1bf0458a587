"""Preprocess, at a glance: each picture as it came and as the model gets it, and the sequence."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import playground
from components.html_view import build_html_view
from components.pictures import picture_html, picture_row_html
from components.stage_tab import App, Section
from components.strips import sequence_strip_html

if TYPE_CHECKING:
    from playground.pipeline import Run
    from playground.records import MediaFacts, ModelInputs, VisualSpan

MAX_FRAMES_SHOWN = 16
FRAME_WIDTH = 150  # CSS pixels
PAIR_WIDTH, PAIR_HEIGHT = 420, 340  # CSS pixels of each of the two pictures side by side
# Longest sides to send, in pixels: the first at which all are within so many bytes. With all the
# rest of the tab, an update stays within 400 kB.
IMAGE_SIDES = (640, 400, 256)
FRAME_SIDES = (224, 128, 80, 48)
MEDIA_BYTES = 150_000


def build_pictures_section(app: App) -> Section:
    """Build the pictures and the strip; nothing in them can be set."""
    del app
    media = build_html_view()
    strip = build_html_view()

    def draw(run: Run) -> tuple[str, str]:
        inputs = run.inputs
        typed = playground.tokens.find_typed_specials(run.engine.tokenizer, inputs.expanded_prompt)
        return media_html(inputs), sequence_html(
            inputs, sequence_strip_html(inputs, pointed=True, typed=typed)
        )

    return Section((), (media, strip), draw)


def sequence_html(inputs: ModelInputs, strip: str) -> str:
    """The strip under one sentence with this prompt's counts."""
    visual = sum(facts.num_tokens for facts in inputs.media)
    text = inputs.num_tokens - visual
    parts = (
        f"{visual:,} for the pictures and {text:,} for everything else" if visual else "all text"
    )
    return (
        f'<p class="pg-fact pg-lead">In the end the model is given one sequence of '
        f"<strong>{inputs.num_tokens:,} tokens</strong>: {parts}. Point at a chip or a patch to "
        f"see the same thing in every tab.</p>{strip}"
    )


def media_html(inputs: ModelInputs) -> str:
    """Each image and video: its sizes in one sentence, and the pixels under the grid."""
    if not inputs.media:
        return '<p class="pg-fact">This prompt has no picture: only text goes to the model.</p>'
    images = [facts for facts in inputs.media if facts.kind == "image"]
    videos = [facts for facts in inputs.media if facts.kind == "video"]
    shown = _first_within(
        IMAGE_SIDES,
        lambda side: [
            _image_html(inputs, index, facts, side) for index, facts in enumerate(images)
        ],
    )
    shown += [_video_html(inputs, index, facts) for index, facts in enumerate(videos)]
    return "".join(shown)


def _first_within(sides: Sequence[int], draw: Callable[[int], list[str]]) -> list[str]:
    """What is drawn with the largest of these sides that keeps within ``MEDIA_BYTES``.

    Where none does, the smallest drawing: a small picture without loss may take more bytes than
    a larger one with some.
    """
    attempts: list[list[str]] = []
    for side in sides:
        attempts.append(draw(side))
        if sum(map(len, attempts[-1])) <= MEDIA_BYTES:
            return attempts[-1]
    return min(attempts, key=lambda drawn: sum(map(len, drawn)))


def size_words(facts: MediaFacts, patch_size: int, merge_size: int) -> str:
    """The way from the file's size to the number of tokens, in one line."""
    frames, down, across = facts.grid_thw
    way = (
        f"{_times(facts.original_size)} → {_times(facts.resized_size)} pixels = "
        f"{across} × {down} patches of {patch_size} × {patch_size} = "
        f"{across // merge_size} × {down // merge_size} tokens"
    )
    if facts.kind == "video":
        way += f" for a pair of frames; {frames} such pairs"
    return f"{way} = {facts.num_tokens:,} tokens in all"


def _times(size: tuple[int, int]) -> str:
    return f"{size[0]:,} × {size[1]:,}"


def _image_html(inputs: ModelInputs, index: int, facts: MediaFacts, side: int) -> str:
    number, span = next(
        (number, span)
        for number, span in enumerate(inputs.spans)
        if (span.kind, span.media_index) == ("image", index)
    )
    name = f"Image {index + 1}"
    original = picture_html(
        inputs.prompt.pictures[index].pixels,
        alt=f"{name} as it came, {_times(facts.original_size)} pixels",
        caption=f"As it came: {_times(facts.original_size)} pixels.",
        max_side=side,
        shown_width=_pair_width(facts.original_size),
        span=number,
    )
    resized = picture_html(
        playground.preprocess.unpatchify(inputs, span)[0],
        alt=f"{name}, resized, under a grid of {span.grid_w} × {span.grid_h} patches",
        caption=f"As the model gets it: {_times(facts.resized_size)} pixels; each square is a "
        "patch, each bold square of 2 × 2 patches becomes one token.",
        grid=(span.grid_h, span.grid_w),
        max_side=side,
        shown_width=_pair_width(facts.original_size),
        span=number,
    )
    words = size_words(facts, inputs.patch_size, inputs.merge_size)
    return (
        f'<p class="pg-fact pg-lead"><strong>{name}</strong> ({html.escape(facts.name)}): '
        f"{html.escape(words)}.</p>{picture_row_html([original, resized])}"
    )


def _pair_width(size: tuple[int, int]) -> int:
    """The same width for both, so that they can be compared."""
    return max(120, min(PAIR_WIDTH, round(PAIR_HEIGHT * size[0] / size[1])))


def _video_html(inputs: ModelInputs, index: int, facts: MediaFacts) -> str:
    spans = [
        (number, span)
        for number, span in enumerate(inputs.spans)
        if (span.kind, span.media_index) == ("video", index)
    ]
    shown = spans[: MAX_FRAMES_SHOWN // inputs.temporal_patch_size]
    figures = _first_within(
        FRAME_SIDES,
        lambda side: [
            figure
            for number, span in shown
            for figure in _pair_figures(inputs, number, span, facts, side)
        ],
    )
    words = size_words(facts, inputs.patch_size, inputs.merge_size)
    hidden = (len(spans) * inputs.temporal_patch_size) - len(figures)
    more = f" The first {len(figures)} frames are shown." if hidden else ""
    return (
        f'<p class="pg-fact pg-lead"><strong>Video {index + 1}</strong> '
        f"({html.escape(facts.name)}): {html.escape(words)}. Two frames at a time become one patch "
        f"in time.{more}</p>{picture_row_html(figures)}"
    )


def _pair_figures(
    inputs: ModelInputs, number: int, span: VisualSpan, facts: MediaFacts, side: int
) -> list[str]:
    """The frames of one temporal patch."""
    frames = playground.preprocess.unpatchify(inputs, span)
    names = [span.frame * len(frames) + offset + 1 for offset in range(len(frames))]
    return [
        picture_html(
            pixels,
            alt=f"Frame {frame} of video {span.media_index + 1} under the patch grid",
            caption=f"Frame {frame}, pair {span.frame + 1} at "
            f"{facts.timestamps[span.frame]:.1f}\u00a0s",
            grid=(span.grid_h, span.grid_w),
            max_side=side,
            shown_width=FRAME_WIDTH,
            span=number,
        )
        for frame, pixels in zip(names, frames, strict=True)
    ]
