"""The vision tab's attention: what a patch attends to in each head, and how local each head is."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import plotly.graph_objects as go

import playground
from components.charts.vision_attention import plot_head_distance, plot_head_entropy
from components.parts.controls import Choice, IndexSlider
from components.parts.part import SELECTION, Heading, Part
from components.snippets.scripts import write_snippet
from components.tabs.vision.attention_images import (
    FROM_PATCH,
    MEAN,
    RECEIVED,
    attention_html,
    heads_html,
    intro_html,
)
from components.tabs.vision.focus import ABSENT, CHOSEN, PatchFocus, choose_patch, has_image
from components.tabs.vision.heads import (
    TowerHeadSummary,
    keep_summary,
    measure_all,
    summary_of,
    summary_text,
)
from playground.language import mark, say
from playground.pipeline import Run
from playground.pointer import Selection
from playground.records import Progress

FIRST_BLOCK = 2


def name_heads(run: Run) -> list[tuple[str, int]]:
    """The mean, and every head."""
    heads = range(run.engine.facts.vision_num_heads)
    names = [(say("head {head}", head=number), number) for number in heads]
    return [(say("mean of all heads"), MEAN), *names]


BLOCK = IndexSlider(
    "block",
    mark("Block"),
    info=mark("Counted from 0. Each block reads the previous block's output."),
    last=lambda run: run.engine.facts.vision_depth - 1,
    value=FIRST_BLOCK,
)
HEAD = Choice(id="head", label=mark("Head"), options=name_heads, compact=True)
DIRECTION = Choice(
    id="direction",
    label=mark("Show"),
    options=(
        (mark("attention from the selected patch"), FROM_PATCH),
        (mark("attention received by each patch"), RECEIVED),
    ),
)
PART = Part(
    "attention",
    mark("Attention"),
    stage="vision",
    controls=(BLOCK, HEAD, DIRECTION),
    layout=(
        "intro",
        ("block", "head", "direction"),
        ("picture", "heads"),
        Heading(mark("Which heads are local, and which are global?")),
        "words",
        ("entropy", "distance"),
        "code",
    ),
    shown=has_image,
    absent=ABSENT,
)


@PART.html(needs=(CHOSEN,))
def intro(run: Run, span: int) -> str:
    """Which patches attend to which."""
    return intro_html(run, choose_patch(run, span))


@PART.html(needs=("block", "head", "direction", CHOSEN, SELECTION))
def picture(
    run: Run, block: int, head: int, direction: str, span: int, selection: Selection | None
) -> str:
    """One head's attention on the image."""
    focus = choose_patch(run, span, selection)
    weights = compute_weights(run, focus, block, direction)
    return attention_html(run, focus, weights, block, head, direction)


@PART.html(needs=("block", "direction", CHOSEN, SELECTION))
def heads(run: Run, block: int, direction: str, span: int, selection: Selection | None) -> str:
    """Small maps of all heads of the block."""
    focus = choose_patch(run, span, selection)
    return heads_html(focus, compute_weights(run, focus, block, direction), block)


@PART.code(mark("Show the code"), needs=("block", "head", "direction", CHOSEN, SELECTION))
def code(
    run: Run, block: int, head: int, direction: str, span: int, selection: Selection | None
) -> str:
    """The script that computes the map's weights as ``shown``."""
    focus = choose_patch(run, span, selection)
    return write_snippet(
        "vision_attention",
        run,
        span=focus.number,
        patch=focus.patch,
        block=block,
        head=None if head == MEAN else head,
        received=direction == RECEIVED,
    )


@PART.experiment(needs=(CHOSEN,))
def measured(run: Run, progress: Progress, span: int) -> Iterator[TowerHeadSummary]:
    """Measure all heads, block by block; the output `words` has its button where one is needed."""
    focus, depth = choose_patch(run, span), run.engine.facts.vision_depth
    for summary in measure_all(run, focus):
        if summary.num_blocks == depth:
            keep_summary(run, summary)
        yield summary
        progress(say("attention heads of block"), summary.num_blocks, depth)


@PART.html(needs=("measured", CHOSEN), live=True)
def words(run: Run, found: TowerHeadSummary | None, span: int) -> str:
    """The most local and the most global head, or the progress of the measurement."""
    focus = choose_patch(run, span)
    return summary_text(run, focus, summary_of(run, focus, found))


@PART.chart(mark("Entropy by head"), needs=("measured", CHOSEN), live=True)
def entropy(run: Run, found: TowerHeadSummary | None, span: int) -> go.Figure | None:
    """The entropy of each head's attention."""
    summary = summary_of(run, choose_patch(run, span), found)
    return None if summary is None else plot_head_entropy(summary.entropy, summary.even.entropy)


@PART.chart(mark("Mean attention distance by head"), needs=("measured", CHOSEN), live=True)
def distance(run: Run, found: TowerHeadSummary | None, span: int) -> go.Figure | None:
    """The mean attention distance of each head."""
    summary = summary_of(run, choose_patch(run, span), found)
    return None if summary is None else plot_head_distance(summary.distance, summary.even.distance)


def compute_weights(run: Run, focus: PatchFocus, block: int, direction: str) -> np.ndarray:
    """``(heads, grid_h, grid_w)`` float32: the weights shown for one block; each head sums to 1."""
    attention = playground.vision.attention

    def compute() -> np.ndarray:
        if direction == RECEIVED:
            return attention.measure_block(run.engine, focus.tower, focus.span, block).received
        weights: np.ndarray = attention.patch_attention(
            run.engine, focus.tower, focus.span, block, *focus.patch
        )
        return weights

    patch = None if direction == RECEIVED else focus.patch
    return run.memo("vision attention", compute, of=(focus.number, block, direction, patch))
