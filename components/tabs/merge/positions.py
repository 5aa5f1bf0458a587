"""The merge tab's second part: t, h and w of every token, beside plain 1-D positions."""

from __future__ import annotations

from typing import Any

import gradio as gr

from components.chart_view.view import PlotlyView
from components.charts.merge_positions import plot_positions, plot_positions_3d
from components.charts.token_labels import span_marks
from components.tabs.choices import build_index_slider, within
from components.tabs.merge.focus import chart_kinds, chart_labels
from components.tabs.merge.words import jumps_html, parts_table, positions_html
from components.tabs.stage_tab import App, Section, skip_unless_run
from components.views.html_view import build_html_view
from components.views.strips import visible
from components.views.tables import MAX_ROWS, Mono, table_html
from playground.language import say
from playground.merge.views import corner_indices, position_jumps, positions_thw, spread_indices
from playground.pipeline import Run
from playground.pointer import Place

MAX_LINE_POINTS = 1_600  # per line, so that three lines stay under 5,000 SVG points
MAX_3D_POINTS = 4_000
MAX_TABLE_ROWS = MAX_ROWS


def build_positions_section(app: App) -> Section:
    """Build the part; the table of a long sequence follows the pointer."""
    gr.Markdown("### " + say("Where each token stands: t, h, w"))
    intro = build_html_view()
    with gr.Row():
        lines = PlotlyView(label=say("Positions along the sequence"), min_width=320)
        space = PlotlyView(label=say("Positions in 3-D"), min_width=320)
    jumps = build_html_view()
    parts = build_html_view()
    with gr.Accordion(say("Table of all positions"), open=False):
        first_row = build_index_slider(
            say("First token of the table"),
            say("The table holds {rows} tokens.", rows=MAX_TABLE_ROWS),
            visible=False,
        )
        table = build_html_view()
    app.on_view(first_row.input, positions_table, [first_row], [table])
    follow = skip_unless_run("merge", follow_pointer, 2)
    app.on_point(follow, [first_row], [first_row, table])
    return Section(
        controls=(app.pointed,),
        outputs=(intro, lines, space, jumps, parts, first_row, table),
        draw=draw_positions_part,
    )


def draw_positions_part(run: Run, pointed: Place | None) -> tuple[Any, ...]:
    """Everything of this part; the table starts where the pointer is."""
    there = run.still_there(pointed)
    first = _window_start(run, there.index) if there is not None else 0
    return (
        positions_html(run),
        draw_lines(run),
        draw_3d(run),
        jumps_html(run),
        parts_table(run),
        _slider(run, first),
        positions_table(run, first),
    )


def draw_lines(run: Run) -> Any:
    """t, h and w along the sequence; a long sequence keeps the corners of its lines."""
    positions = positions_thw(run.merged)
    kept = corner_indices(positions, MAX_LINE_POINTS)
    jumps = position_jumps(run.inputs, run.merged)
    jump = (jumps[0].span.end, jumps[0].next_position) if jumps else None
    return plot_positions(
        positions[:, kept],
        kept,
        chart_labels(run, kept),
        span_marks(run.inputs),
        jump,
        kinds=[span.kind for span in run.inputs.spans],
    )


def draw_3d(run: Run) -> Any:
    """The tokens at their places (t, h, w)."""
    kept = spread_indices(run.inputs.num_tokens, MAX_3D_POINTS)
    positions = positions_thw(run.merged)[:, kept]
    return plot_positions_3d(positions, kept, chart_kinds(run, kept), chart_labels(run, kept))


def follow_pointer(run: Run, place: Place | None, first_row: float | None) -> tuple[Any, ...]:
    """Bring the pointed token into the table, where it is not there already."""
    first = int(first_row or 0)
    if place is None or first <= place.index < first + MAX_TABLE_ROWS:
        return gr.skip(), gr.skip()
    first = _window_start(run, place.index)
    return _slider(run, first), positions_table(run, first)


def positions_table(run: Run, first_row: float | None = 0) -> str:
    """A row for each token, from one of them on."""
    total = run.inputs.num_tokens
    first = within(first_row, max(total - MAX_TABLE_ROWS, 0))
    tokens = run.inputs.tokens[first : first + MAX_TABLE_ROWS]
    t, h, w = positions_thw(run.merged).tolist()
    rows = [
        (index, Mono(visible(token.text)), say(token.kind), t[index], h[index], w[index])
        for index, token in enumerate(tokens, start=first)
    ]
    caption = say("Positions of all {total:,} tokens", total=total)
    if len(rows) < total:
        caption = say(
            "Positions of {rows:,} of {total:,} tokens, from token {first:,} on",
            rows=len(rows),
            total=total,
            first=first,
        )
    return table_html(
        (say("Index"), say("Token"), say("Kind"), "t", "h", "w"),
        rows,
        caption,
        tokens=[(token.index, token.index + 1) for token in tokens],
    )


def _window_start(run: Run, index: int) -> int:
    """First row of a table with this token in its middle, as far as the sequence allows."""
    last = max(run.inputs.num_tokens - MAX_TABLE_ROWS, 0)
    return min(max(index - MAX_TABLE_ROWS // 2, 0), last)


def _slider(run: Run, first: int) -> Any:
    last = run.inputs.num_tokens - MAX_TABLE_ROWS
    return gr.update(maximum=max(last, 1), value=first, visible=last > 0)
