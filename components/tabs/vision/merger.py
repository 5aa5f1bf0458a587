"""The vision tab's mergers: patches become one token; DeepStack taps compared with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

import playground
from components.charts.vision_merger import plot_merger_vectors
from components.parts.controls import Choice
from components.parts.part import SELECTION, Heading, Part
from components.snippets.scripts import write_snippet
from components.tabs.vision.focus import ABSENT, CHOSEN, PatchFocus, choose_patch, has_image
from components.tabs.vision.merger_words import (
    STEP_NAMES,
    alike_html,
    intro_html,
    patches_html,
    steps_html,
)
from components.tabs.vision.taps import plot_tap, taps_html
from components.views.facts import capital
from components.views.images import image_html
from playground.language import mark, say
from playground.pipeline import Run
from playground.pointer import Selection

if TYPE_CHECKING:
    from playground.vision.merger import MergedToken, TapSimilarity

FINAL = -1  # the value of the final merger among the options; taps count from 0
IMAGE_SIDE = 320  # pixels of the longer side, sent and shown


def name_mergers(run: Run) -> list[tuple[str, int]]:
    """The final merger and the merger of each DeepStack tap."""
    blocks = run.engine.facts.taps
    taps = [
        (say("DeepStack tap {number}, after block {block}", number=number + 1, block=block), number)
        for number, block in enumerate(blocks)
    ]
    return [(say("final merger"), FINAL), *taps]


MERGER = Choice(
    id="merger",
    label=mark("Merger"),
    info=mark("The final merger, or the merger of a DeepStack tap."),
    options=name_mergers,
    compact=True,
)
PART = Part(
    "merger",
    mark("Merger and DeepStack taps"),
    stage="vision",
    heading=mark("Patches become tokens: the merger"),
    controls=(MERGER,),
    layout=(
        "intro",
        ("picture", "patches"),
        "alike",
        "merger",
        ("steps", "vectors"),
        Heading(mark("DeepStack taps compared with the final token")),
        "taps",
        # Every Qwen3-VL so far has three taps; any further ones appear only in the table.
        ("tap_1", "tap_2", "tap_3"),
        "code",
    ),
    shown=has_image,
    absent=ABSENT,
)
OF_TOKEN = ("merger", CHOSEN, SELECTION)


@PART.html(needs=(CHOSEN, SELECTION))
def intro(run: Run, span: int, selection: Selection | None) -> str:
    """Which patches become which token."""
    return intro_html(choose_patch(run, span, selection))


@PART.html(needs=(CHOSEN,))
def picture(run: Run, span: int) -> str:
    """The whole image, small, for selecting a token."""
    focus = choose_patch(run, span)
    return image_html(
        playground.preprocess.stage.unpatchify(run.inputs, focus.span)[0],
        alt=say("{name} as the model receives it", name=focus.name),
        caption=say(
            "{name}: click anywhere to see the patches of a token.", name=capital(focus.name)
        ),
        max_side=IMAGE_SIDE,
        shown_width=IMAGE_SIDE,
        span=focus.number,
    )


@PART.html(needs=OF_TOKEN)
def patches(run: Run, merger: int, span: int, selection: Selection | None) -> str:
    """The token's patches enlarged."""
    focus = choose_patch(run, span, selection)
    return patches_html(run, focus, _merge(run, focus, merger))


@PART.html(needs=OF_TOKEN)
def alike(run: Run, merger: int, span: int, selection: Selection | None) -> str:
    """Cosine similarity of the patches' vectors."""
    focus = choose_patch(run, span, selection)
    return alike_html(focus, _merge(run, focus, merger), _tap(merger))


@PART.html(needs=OF_TOKEN)
def steps(run: Run, merger: int, span: int, selection: Selection | None) -> str:
    """The merger, step by step."""
    focus = choose_patch(run, span, selection)
    return steps_html(_merge(run, focus, merger), _tap(merger))


@PART.chart(mark("Values after each step"), needs=OF_TOKEN)
def vectors(run: Run, merger: int, span: int, selection: Selection | None) -> go.Figure:
    """The values after each step."""
    focus = choose_patch(run, span, selection)
    return plot_merger_vectors(_lines(_merge(run, focus, merger)), focus.span.start + focus.token)


@PART.html(needs=(CHOSEN, SELECTION))
def taps(run: Run, span: int, selection: Selection | None) -> str:
    """Which block and which decoder layer each tap connects."""
    focus = choose_patch(run, span, selection)
    return taps_html(run, focus, _similarities(run, focus))


@PART.chart(mark("DeepStack tap 1"), needs=(CHOSEN, SELECTION))
def tap_1(run: Run, span: int, selection: Selection | None) -> go.Figure | None:
    """Cosine similarity of the first tap's vectors to the final tokens."""
    focus = choose_patch(run, span, selection)
    return plot_tap(focus, _similarities(run, focus), 0)


@PART.chart(mark("DeepStack tap 2"), needs=(CHOSEN, SELECTION))
def tap_2(run: Run, span: int, selection: Selection | None) -> go.Figure | None:
    """The same for the second tap."""
    focus = choose_patch(run, span, selection)
    return plot_tap(focus, _similarities(run, focus), 1)


@PART.chart(mark("DeepStack tap 3"), needs=(CHOSEN, SELECTION))
def tap_3(run: Run, span: int, selection: Selection | None) -> go.Figure | None:
    """The same for the third tap."""
    focus = choose_patch(run, span, selection)
    return plot_tap(focus, _similarities(run, focus), 2)


@PART.code(mark("Show the code"), needs=OF_TOKEN)
def code(run: Run, merger: int, span: int, selection: Selection | None) -> str:
    """The script that merges the patches."""
    focus = choose_patch(run, span, selection)
    return write_snippet(
        "vision_merger", run, span=focus.number, token=focus.token, tap=_tap(merger)
    )


def _tap(merger: int) -> int | None:
    return None if merger == FINAL else merger


def _merge(run: Run, focus: PatchFocus, merger: int) -> MergedToken:
    """The merger's steps for the token; the last result is cached."""

    def compute() -> MergedToken:
        return playground.vision.merger.merge_token(
            run.engine, focus.tower, focus.span, focus.token, _tap(merger)
        )

    return run.memo("merged token", compute, of=(focus.number, focus.token, merger))


def _similarities(run: Run, focus: PatchFocus) -> tuple[TapSimilarity, ...]:
    """Similarities of each tap to the final tokens; those of the last image are cached."""

    def compute() -> tuple[TapSimilarity, ...]:
        return playground.vision.merger.tap_similarities(focus.tower, focus.span)

    return run.memo("tap similarities", compute, of=focus.number)


def _lines(merged: MergedToken) -> list[tuple[str, np.ndarray]]:
    """The steps as rows of one patch's length, without the concatenation (same values)."""
    width = merged.steps[0].values.shape[1]
    lines = []
    for step in merged.steps:
        if step.name != "concat":
            numbers = step.values.ravel()
            padded = np.full(-(-len(numbers) // width) * width, np.nan, np.float32)
            padded[: len(numbers)] = numbers
            lines.append((say(STEP_NAMES[step.name]), padded.reshape(-1, width)))
    return lines
