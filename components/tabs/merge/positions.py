"""The merge tab's second part: t, h and w of every token, compared with plain 1-D positions."""

from __future__ import annotations

import plotly.graph_objects as go

from components.charts.merge_positions import plot_positions, plot_positions_3d
from components.charts.token_labels import span_marks
from components.parts.controls import Slider
from components.parts.part import SELECTION, Fold, Part
from components.tabs.merge.focus import chart_kinds, chart_labels
from components.tabs.merge.words import jumps_html, parts_table, positions_html
from components.views.tables import MAX_ROWS, Mono, table_html
from components.views.text import visible
from playground.language import mark, say
from playground.merge.views import corner_indices, position_jumps, positions_thw, spread_indices
from playground.pipeline import Run
from playground.pointer import Selection

MAX_LINE_POINTS = 1_600  # per line, so that three lines stay under 5,000 SVG points
MAX_3D_POINTS = 4_000
MAX_TABLE_ROWS = MAX_ROWS


FIRST_ROW = Slider(
    id="first-row",
    label=mark("First token in the table"),
    info=mark("The table follows the selection until you move this slider."),
    high=lambda run: run.inputs.num_tokens - MAX_TABLE_ROWS,
    follows=True,
    shown=lambda run: run.inputs.num_tokens > MAX_TABLE_ROWS,
)
PART = Part(
    "positions",
    mark("Positions"),
    stage="merge",
    heading=mark("The position of each token: t, h, w"),
    controls=(FIRST_ROW,),
    layout=(
        "intro",
        ("lines", "space"),
        "jumps",
        "sections",
        Fold(mark("Table of all positions"), ("first-row", "table")),
    ),
)


@PART.html()
def intro(run: Run) -> str:
    """How the positions of the sequence are assigned."""
    return positions_html(run)


@PART.chart(mark("Positions along the sequence"))
def lines(run: Run) -> go.Figure:
    """t, h and w along the sequence; of a long sequence only the corners of the lines."""
    positions = positions_thw(run.merged)
    kept = corner_indices(positions, MAX_LINE_POINTS)
    all_jumps = position_jumps(run.inputs, run.merged)
    jump = (all_jumps[0].span.end, all_jumps[0].next_position) if all_jumps else None
    return plot_positions(
        positions[:, kept],
        kept,
        chart_labels(run, kept),
        span_marks(run.inputs),
        jump,
        kinds=[span.kind for span in run.inputs.spans],
    )


@PART.chart(mark("Positions in 3-D"))
def space(run: Run) -> go.Figure:
    """The tokens as points at (t, h, w)."""
    kept = spread_indices(run.inputs.num_tokens, MAX_3D_POINTS)
    positions = positions_thw(run.merged)[:, kept]
    return plot_positions_3d(positions, kept, chart_kinds(run, kept), chart_labels(run, kept))


@PART.html()
def jumps(run: Run) -> str:
    """The jump of the positions after an image, and ``rope_deltas``."""
    return jumps_html(run)


@PART.html()
def sections(run: Run) -> str:
    """The positions of each part of the sequence."""
    return parts_table(run)


@PART.html(needs=("first-row", SELECTION))
def table(run: Run, first_row: int | None, selection: Selection | None) -> str:
    """One row per token: around the selected token, or from the slider's token on."""
    total = run.inputs.num_tokens
    first = (
        _window_start(run, selection.index if selection else 0) if first_row is None else first_row
    )
    tokens = run.inputs.tokens[first : first + MAX_TABLE_ROWS]
    t, h, w = positions_thw(run.merged).tolist()
    rows = [
        (index, Mono(visible(token.text)), say(token.kind), t[index], h[index], w[index])
        for index, token in enumerate(tokens, start=first)
    ]
    caption = say("Positions of all {total:,} tokens", total=total)
    if len(rows) < total:
        caption = say(
            "Positions of {rows:,} of {total:,} tokens, starting at token {first:,}",
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
    """First row of a table with this token in the middle, within the sequence."""
    last = max(run.inputs.num_tokens - MAX_TABLE_ROWS, 0)
    return min(max(index - MAX_TABLE_ROWS // 2, 0), last)
