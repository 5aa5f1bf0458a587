"""The merge tab's comparison of distances under M-RoPE and under plain 1-D positions."""

from __future__ import annotations

import html

import numpy as np
import plotly.graph_objects as go

from components.charts.merge_distance_map import plot_distance_map
from components.charts.token_labels import media_name
from components.parts.controls import Choice
from components.parts.part import SELECTION, Part
from components.tabs.merge.focus import (
    MAX_WORD_CHARS,
    Focus,
    choose_focus,
    cut_text,
    focus_words,
    next_span,
    span_phrase,
)
from components.views.facts import fact_markup, signed
from components.views.tables import Cell, Mono, table_html
from playground.language import mark, say
from playground.merge.mrope import (
    flat_positions,
    position_distances,
    read_frequencies,
    rotation_similarity,
)
from playground.pipeline import Run
from playground.pointer import Selection

QUANTITIES = (
    (mark("Distance in positions"), "distance"),
    (mark("Similarity of the rotations"), "likeness"),
)
FLAT, MROPE = mark("Plain 1-D"), "M-RoPE"


QUANTITY = Choice(
    id="quantity",
    label=mark("Compare"),
    info=mark(
        "Distance: the largest difference in t, h or w. Similarity: the mean cosine of the "
        "differences in rotation angle, which is the attention score of a query and a key with "
        "equal content."
    ),
    options=QUANTITIES,
)
PART = Part(
    "distances",
    mark("Compared with 1-D RoPE"),
    stage="merge",
    heading=mark("Compared with plain 1-D positions"),
    controls=(QUANTITY,),
    layout=("intro", "quantity", ("flat", "mrope"), "neighbours"),
    shown=lambda run: bool(run.inputs.spans),
    absent=mark("Without an image, M-RoPE and plain 1-D positions are identical."),
)


@PART.chart(mark("Distance or similarity with plain 1-D positions"), needs=("quantity", SELECTION))
def flat(run: Run, quantity: str, selection: Selection | None) -> go.Figure:
    """Distance or similarity of an image's tokens to the focus with 1-D positions."""
    return _plot_map(run, FLAT, flat_positions(run.inputs.num_tokens), quantity, selection)


@PART.chart(mark("Distance or similarity with M-RoPE"), needs=("quantity", SELECTION))
def mrope(run: Run, quantity: str, selection: Selection | None) -> go.Figure:
    """Distance or similarity of an image's tokens to the focus with M-RoPE."""
    return _plot_map(run, MROPE, run.positions, quantity, selection)


def _plot_map(
    run: Run, name: str, positions: np.ndarray, quantity: str, selection: Selection | None
) -> go.Figure:
    focus = choose_focus(run, selection)
    number = next_span(run, focus)
    span = run.inputs.spans[number]
    values = (
        rotation_similarity(read_frequencies(run.engine), positions, focus.index)
        if quantity == "likeness"
        else position_distances(positions, focus.index)
    )[span.start : span.end].reshape(span.merged_h, span.merged_w)
    return plot_distance_map(
        values,
        title=_map_title(name, values, quantity, inside=focus.span is not None),
        quantity="likeness" if quantity == "likeness" else "distance",
        token=focus.index,
        span=number,
    )


@PART.html(needs=(SELECTION,))
def intro(run: Run, selection: Selection | None) -> str:
    """What the maps show."""
    focus = choose_focus(run, selection)
    span = run.inputs.spans[next_span(run, focus)]
    return fact_markup(
        say(
            "With 1-D positions, the image would be one long line: the token directly below "
            "another is {width} positions away, a whole row. With M-RoPE it is 1 position away, "
            "like the token next to it. The maps compare {token} with all tokens of {image}; "
            "brighter means nearer.",
            width=span.merged_w,
            token=focus_words(run, focus),
            image=html.escape(span_phrase(run.inputs, span)),
        )
    )


@PART.html(needs=(SELECTION,))
def neighbours(run: Run, selection: Selection | None) -> str:
    """Steps from the focus to its neighbours, in 1-D and in t, h and w."""
    focus, thw = choose_focus(run, selection), run.positions
    rows: list[list[Cell | Mono]] = []
    tokens: list[tuple[int, int] | None] = []
    for name, index in _neighbours(run, focus):
        step = thw[:, index] - thw[:, focus.index]
        rows.append(
            [name, index, signed(index - focus.index), *(signed(int(axis)) for axis in step)]
        )
        tokens.append((index, index + 1))
    headers = (
        say("To"),
        say("Index"),
        say("1-D step"),
        say("Step in t"),
        say("Step in h"),
        say("Step in w"),
    )
    return table_html(
        headers,
        rows,
        say("Steps from token {index}", index=focus.index),
        right=(2, 3, 4, 5),
        tokens=tokens,
    )


def _map_title(name: str, values: np.ndarray, quantity: str, *, inside: bool) -> str:
    if quantity == "likeness":
        return say("{name}: similarity of the rotations", name=say(name))
    if not inside:
        return _far_title(say(name), int(values.min()), int(values.max()))
    if name == MROPE:
        return say("M-RoPE: neighbours in the image stay close")
    return say("Plain 1-D: the next row is {width} positions away", width=values.shape[1])


def _far_title(name: str, near: int, far: int) -> str:
    if near == far:
        return say("{name}: the image is {far:,} positions away", name=name, far=far)
    return say(
        "{name}: the image is {near:,} to {far:,} positions away", name=name, near=near, far=far
    )


def _neighbours(run: Run, focus: Focus) -> list[tuple[str, int]]:
    """Tokens to compare: neighbours of the focus in its image, and the text around the image."""
    inputs, index = run.inputs, focus.index
    if focus.span is None:
        near = [(say("the previous token"), index - 1), (say("the next token"), index + 1)]
        near += [
            (say("the first token of {image}", image=media_name(span)), span.start)
            for span in inputs.spans[:1]
        ]
        return [(name, other) for name, other in near if 0 <= other < inputs.num_tokens]
    span = inputs.spans[focus.span]
    row, column = divmod(index - span.start, span.merged_w)
    around = [
        (say("its left neighbour"), index - 1) if column else None,
        (say("its right neighbour"), index + 1) if column + 1 < span.merged_w else None,
        (say("its neighbour above"), index - span.merged_w) if row else None,
        (say("its neighbour below"), index + span.merged_w) if row + 1 < span.merged_h else None,
        (say("the text token before the image"), span.start - 1) if span.start else None,
        (_after_words(inputs.tokens[span.end].text), span.end)
        if span.end < inputs.num_tokens
        else None,
    ]
    return [neighbour for neighbour in around if neighbour is not None]


def _after_words(text: str) -> str:
    return say("the text token after the image, “{text}”", text=cut_text(text, MAX_WORD_CHARS))
