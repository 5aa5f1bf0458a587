"""The merge tab's what-if: how near tokens are under M-RoPE, and under plain 1-D positions."""

from __future__ import annotations

import html
from typing import Any

import gradio as gr
import numpy as np

from components.chart_view.view import PlotlyView
from components.charts.merge_nearness import plot_nearness
from components.charts.token_labels import media_name
from components.tabs.choices import fact_markup, signed
from components.tabs.merge.focus import (
    MAX_WORD_CHARS,
    Focus,
    choose_focus,
    cut_text,
    focus_words,
    next_span,
    span_phrase,
)
from components.tabs.stage_tab import App, Section, skip_unless_run
from components.views.html_view import build_html_view
from components.views.tables import Cell, Mono, table_html
from playground.language import mark, say
from playground.merge.mrope import (
    flat_positions,
    position_distances,
    read_frequencies,
    rotation_likeness,
)
from playground.pipeline import Run
from playground.pointer import Place

QUANTITIES = (
    (mark("Distance in positions"), "distance"),
    (mark("Likeness of the rotations"), "likeness"),
)
FLAT, MROPE = mark("Plain 1-D"), "M-RoPE"


def build_distances_section(app: App) -> Section:
    """Build the part; two maps of a picture and a table of neighbours, all of one token, follow
    the pointer.
    """
    with gr.Column() as picture_only:
        gr.Markdown("### " + say("Beside plain 1-D positions"))
        intro = build_html_view()
        quantity = gr.Radio(
            [(say(label), value) for label, value in QUANTITIES],
            value="distance",
            label=say("Compare"),
            info=say(
                "Distance: the largest step in t, h and w. Likeness: the mean cosine between the "
                "angles of two tokens, which a query and a key of equal content would score."
            ),
        )
        with gr.Row():
            flat = PlotlyView(label=say("Nearness under Plain 1-D"), min_width=300)
            mrope = PlotlyView(label=say("Nearness under M-RoPE"), min_width=300)
        neighbours = build_html_view()
    outputs = [intro, flat, mrope, neighbours]
    app.on_view(quantity.input, draw_maps, [app.pointed, quantity], [flat, mrope])
    app.on_point(skip_unless_run("merge", draw_distances, len(outputs)), [quantity], outputs)
    return Section(
        controls=(app.pointed, quantity),
        outputs=(picture_only, *outputs),
        draw=draw_distances_part,
    )


def draw_distances_part(run: Run, pointed: Place | None, quantity: str) -> tuple[Any, ...]:
    """Everything of this part; nothing without a picture, where both positions are the same."""
    shown = gr.update(visible=bool(run.inputs.spans))
    return shown, *draw_distances(run, pointed, quantity)


def draw_distances(run: Run, place: Place | None, quantity: str) -> tuple[Any, ...]:
    """A sentence, the two maps and the table; without a picture they are hidden."""
    if not run.inputs.spans:
        return "", None, None, ""
    focus = choose_focus(run, place)
    return (
        intro_html(run, focus),
        *draw_maps(run, place, quantity),
        neighbours_table(run, focus),
    )


def draw_maps(run: Run, place: Place | None, quantity: str) -> tuple[Any, ...]:
    """How near the tokens of a picture are to the focus, under 1-D positions and M-RoPE."""
    focus = choose_focus(run, place)
    number = next_span(run, focus)
    span = run.inputs.spans[number]
    maps = []
    for name, positions in _both_positions(run):
        values = (
            rotation_likeness(read_frequencies(run.engine), positions, focus.index)
            if quantity == "likeness"
            else position_distances(positions, focus.index)
        )[span.start : span.end].reshape(span.merged_h, span.merged_w)
        maps.append(
            plot_nearness(
                values,
                title=_map_title(name, values, quantity, inside=focus.span is not None),
                quantity="likeness" if quantity == "likeness" else "distance",
                token=focus.index,
                span=number,
            )
        )
    return tuple(maps)


def intro_html(run: Run, focus: Focus) -> str:
    """What the maps show."""
    span = run.inputs.spans[next_span(run, focus)]
    return fact_markup(
        say(
            "With 1-D positions the picture would be one long line: the token below another stands "
            "{width} positions away, a whole row. Under M-RoPE it is 1 away, as the one beside it. "
            "Here {token} is compared with all tokens of {picture}; bright is near.",
            width=span.merged_w,
            token=focus_words(run, focus),
            picture=html.escape(span_phrase(run.inputs, span)),
        )
    )


def neighbours_table(run: Run, focus: Focus) -> str:
    """Steps from the focus to its neighbours, in 1-D and in t, h and w."""
    thw = run.positions
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


def _both_positions(run: Run) -> tuple[tuple[str, np.ndarray], ...]:
    return (FLAT, flat_positions(run.inputs.num_tokens)), (MROPE, run.positions)


def _map_title(name: str, values: np.ndarray, quantity: str, *, inside: bool) -> str:
    if quantity == "likeness":
        return say("{name}: how alike the tokens are turned", name=say(name))
    if not inside:
        return _far_title(say(name), int(values.min()), int(values.max()))
    if name == MROPE:
        return say("M-RoPE: near is what is near in the picture")
    return say("Plain 1-D: the next row is {width} positions away", width=values.shape[1])


def _far_title(name: str, near: int, far: int) -> str:
    if near == far:
        return say("{name}: the picture is {far:,} positions away", name=name, far=far)
    return say(
        "{name}: the picture is {near:,} to {far:,} positions away", name=name, near=near, far=far
    )


def _neighbours(run: Run, focus: Focus) -> list[tuple[str, int]]:
    """Tokens worth comparing: around the focus in its picture, and in the text around it."""
    inputs, index = run.inputs, focus.index
    if focus.span is None:
        near = [(say("the token before"), index - 1), (say("the next token"), index + 1)]
        near += [
            (say("the first token of {picture}", picture=media_name(span)), span.start)
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
        (say("the text token before the picture"), span.start - 1) if span.start else None,
        (_after_words(inputs.tokens[span.end].text), span.end)
        if span.end < inputs.num_tokens
        else None,
    ]
    return [each for each in around if each is not None]


def _after_words(text: str) -> str:
    return say("the text token after it, “{text}”", text=cut_text(text, MAX_WORD_CHARS))
