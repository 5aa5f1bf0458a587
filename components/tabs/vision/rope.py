"""The vision tab's 2-D RoPE: angles by row and column, and how distance changes a score."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

import playground
from components.charts.vision_rope import (
    plot_distance_kernel,
    plot_kernel_lines,
    plot_patch_scores,
    plot_rope_angles,
)
from components.parts.controls import Choice, IndexSlider
from components.parts.part import SELECTION, Fold, Part
from components.snippets.scripts import write_snippet
from components.tabs.vision.focus import ABSENT, CHOSEN, PatchFocus, choose_patch, has_image
from components.tabs.vision.rope_words import (
    distance_html,
    frequencies_table,
    intro_html,
    scores_html,
)
from playground.language import mark, say
from playground.pipeline import Run
from playground.pointer import Selection

if TYPE_CHECKING:
    from playground.vision.rope import HeadVectors, PatchScores, RopeAngles

ONES, OWN = "ones", "head"
FIRST_BLOCK = 1

BLOCK = IndexSlider(
    "block",
    mark("Block"),
    info=mark("Counted from 0."),
    last=lambda run: run.engine.facts.vision_depth - 1,
    value=FIRST_BLOCK,
)
HEAD = IndexSlider(
    "head",
    mark("Head"),
    info=mark("Counted from 0. Each head has its own scores."),
    last=lambda run: run.engine.facts.vision_num_heads - 1,
)
VECTORS = Choice(
    id="vectors",
    label=mark("Query and key vectors"),
    info=mark("The same query and key are compared at every distance."),
    options=(
        (mark("All ones: rotation only"), ONES),
        (mark("This head: its query and mean key"), OWN),
    ),
)
PART = Part(
    "rope",
    "RoPE",
    stage="vision",
    heading=mark("How far apart are two patches? 2-D RoPE"),
    controls=(BLOCK, HEAD, VECTORS),
    layout=(
        "intro",
        ("by_row", "by_column"),
        Fold(mark("Frequency table"), ("frequencies",)),
        ("block", "head", "vectors"),
        "distance_words",
        ("kernel", "lines"),
        "score_words",
        ("rotated", "plain"),
        "code",
    ),
    shown=has_image,
    absent=ABSENT,
)
OF_SCORES = ("block", "head", CHOSEN, SELECTION)
OF_KERNEL = ("vectors", *OF_SCORES)


@PART.html(needs=(CHOSEN,))
def intro(run: Run, span: int) -> str:
    """Which dimensions of a head rotate with the row, and which with the column."""
    return intro_html(_angles(run, choose_patch(run, span)))


@PART.chart(mark("Angles by row"), needs=(CHOSEN, SELECTION))
def by_row(run: Run, span: int, selection: Selection | None) -> go.Figure:
    """The rotation angle of each pair in each row, with the patch's row marked."""
    focus = choose_patch(run, span, selection)
    return plot_rope_angles(_angles(run, focus).by_row, "row", 0, focus.patch[0])


@PART.chart(mark("Angles by column"), needs=(CHOSEN, SELECTION))
def by_column(run: Run, span: int, selection: Selection | None) -> go.Figure:
    """The rotation angle of each pair in each column, with the patch's column marked."""
    focus = choose_patch(run, span, selection)
    angles = _angles(run, focus)
    return plot_rope_angles(angles.by_column, "column", len(angles.inv_freq), focus.patch[1])


@PART.html(needs=(CHOSEN,))
def frequencies(run: Run, span: int) -> str:
    """Each frequency with its wavelength."""
    focus = choose_patch(run, span)
    return frequencies_table(run, focus, _angles(run, focus))


@PART.html(needs=OF_KERNEL)
def distance_words(
    run: Run, vectors: str, block: int, head: int, span: int, selection: Selection | None
) -> str:
    """How to read the score by distance."""
    focus = choose_patch(run, span, selection)
    moved = _kernel(run, focus, vectors, block, head)
    return distance_html(moved, focus, block, head, vectors == OWN)


@PART.chart(mark("Score by distance"), needs=OF_KERNEL)
def kernel(
    run: Run, vectors: str, block: int, head: int, span: int, selection: Selection | None
) -> go.Figure:
    """The score of one query and key, by the rows and columns between them."""
    moved = _kernel(run, choose_patch(run, span, selection), vectors, block, head)
    name = _head_text(block, head) if vectors == OWN else say("all ones")
    return plot_distance_kernel(moved, name)


@PART.chart(mark("Score along both axes"), needs=OF_KERNEL)
def lines(
    run: Run, vectors: str, block: int, head: int, span: int, selection: Selection | None
) -> go.Figure:
    """The same straight down and straight across."""
    return plot_kernel_lines(_kernel(run, choose_patch(run, span, selection), vectors, block, head))


@PART.html(needs=OF_SCORES)
def score_words(run: Run, block: int, head: int, span: int, selection: Selection | None) -> str:
    """The patch's highest-scoring key with and without RoPE."""
    focus = choose_patch(run, span, selection)
    _, scores = _scores(run, focus, block, head)
    return scores_html(scores, focus, block, head)


@PART.chart(mark("Scores with RoPE"), needs=OF_SCORES)
def rotated(run: Run, block: int, head: int, span: int, selection: Selection | None) -> go.Figure:
    """The patch's scores as the model computes them."""
    focus = choose_patch(run, span, selection)
    _, scores = _scores(run, focus, block, head)
    title = say("Scores with RoPE, {head}", head=_head_text(block, head))
    return plot_patch_scores(scores.rotated, _reach(scores), focus.patch, focus.number, title)


@PART.chart(mark("Scores without RoPE"), needs=OF_SCORES)
def plain(run: Run, block: int, head: int, span: int, selection: Selection | None) -> go.Figure:
    """The patch's scores from the same vectors without rotation, on the same scale."""
    focus = choose_patch(run, span, selection)
    _, scores = _scores(run, focus, block, head)
    title = say("Scores without RoPE, {head}", head=_head_text(block, head))
    return plot_patch_scores(scores.plain, _reach(scores), focus.patch, focus.number, title)


@PART.code(mark("Show the code"), needs=OF_KERNEL)
def code(
    run: Run, vectors: str, block: int, head: int, span: int, selection: Selection | None
) -> str:
    """The script that computes scores with and without RoPE, and the score by distance."""
    focus = choose_patch(run, span, selection)
    return write_snippet(
        "vision_rope",
        run,
        span=focus.number,
        patch=focus.patch,
        block=block,
        head=head,
        of_head=vectors == OWN,
    )


def _angles(run: Run, focus: PatchFocus) -> RopeAngles:
    return playground.vision.rope.rope_angles(run.engine, focus.span)


def _scores(run: Run, focus: PatchFocus, block: int, head: int) -> tuple[HeadVectors, PatchScores]:
    """The head's vectors and the patch's scores; the last ones are cached."""
    rope, engine, span = playground.vision.rope, run.engine, focus.span

    def compute() -> tuple[HeadVectors, PatchScores]:
        vectors = rope.head_vectors(
            engine, focus.tower, span, block=block, head=head, patch=focus.patch
        )
        return vectors, rope.patch_scores(engine, span, vectors, focus.patch)

    return run.memo("vision scores", compute, of=(focus.number, focus.patch, block, head))


def _kernel(run: Run, focus: PatchFocus, moved: str, block: int, head: int) -> np.ndarray:
    """The score by distance of the chosen vectors."""
    if moved == ONES:
        return playground.vision.rope.ones_kernel(run.engine, focus.span)
    vectors, _ = _scores(run, focus, block, head)
    return playground.vision.rope.head_kernel(run.engine, focus.span, vectors)


def _reach(scores: PatchScores) -> float:
    return float(max(np.abs(scores.rotated).max(), np.abs(scores.plain).max())) or 1.0


def _head_text(block: int, head: int) -> str:
    return say("block {block}, head {head}", block=block, head=head)
