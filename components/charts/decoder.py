"""Charts of the decoder's predictions: logit lens, next token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import plotly.graph_objects as go

from components.charts.heat_map import heat_map, hide_lines
from components.charts.style import FONT_SIZE_PX, TRANSPARENT, base_layout, pointer_meta
from components.charts.token_labels import token_label
from components.look.colors import BLUE
from playground.language import say

if TYPE_CHECKING:
    from playground.records import LogitLens, TokenProb

CELL_CHARS = 9  # text in a cell of the logit lens; the hover text is not cut
ROW_HEIGHT = 26  # pixels per row of the logit lens
BAR_HEIGHT = 26  # pixels per next-token bar
# Room for layer names and ticks: without it, Plotly draws everything twice to make room.
LAYERS_MARGIN = {"l": 93, "b": 48}


def plot_logit_lens(lens: LogitLens, labels: Sequence[str], num_deepstack: int) -> go.Figure:
    """The next token that each layer would predict, if the decoder ended there.

    The logit lens (nostalgebraist 2020).

    Args:
        lens: top-k tokens of every layer at some positions.
        labels: the escaped text of the token at each of these positions.
        num_deepstack: layers 0 .. num_deepstack - 1 are followed by a DeepStack addition.
    """
    rows, columns, top_k = lens.ids.shape
    layout = base_layout(
        say("Logit lens: the next token that each layer would predict, last layer on top"),
        height=100 + ROW_HEIGHT * rows,
        alt=say(
            "Table of {rows} layers by {columns} positions with the most likely next token in "
            "each cell; the final prediction at the last position is {token}.",
            rows=rows,
            columns=columns,
            token=token_label(lens.texts[-1][-1][0]),
        ),
        x_title=say("input token"),
        y_title=say("input of layer"),
    )
    layout["margin"] |= LAYERS_MARGIN
    hide_lines(layout)
    # One line: Plotly rotates it where columns are narrow, and two lines would overlap.
    names = [f"{index} {label}" for index, label in zip(lens.positions, labels, strict=True)]
    layout["xaxis"] |= {"tickvals": list(range(columns)), "ticktext": names}
    layout["yaxis"] |= layer_ticks(rows, num_deepstack, every=1)
    layout["meta"]["pointer"] = pointer_meta("token", indices=lens.positions)
    layout["meta"]["columns"] = {
        "text": "top 1",
        "customdata": f"top {top_k}",
        "z": say("probability"),
    }
    return go.Figure(_lens_table(lens), layout)


def _lens_table(lens: LogitLens) -> go.Heatmap:
    """The most likely token of each cell, coloured by probability; the others on hover."""
    rows, columns, _ = lens.ids.shape
    return heat_map(
        lens.probs[..., 0],
        "%{customdata}",
        bar=say("probability"),
        percent=True,
        zmin=0,
        zmax=1,
        text=[[token_label(cell[0], CELL_CHARS) for cell in row] for row in lens.texts],
        texttemplate="%{text}",
        customdata=[
            [_cell_words(lens, row, column) for column in range(columns)] for row in range(rows)
        ],
        xgap=2,
        ygap=2,
    )


def plot_next_token(probs: Sequence[TokenProb]) -> go.Figure:
    """The most likely next tokens as bars, the first on top."""
    best = probs[0]
    layout = base_layout(
        say(
            "Next token: {token} with {prob}",
            token=token_label(best.text),
            prob=percent(best.prob),
        ),
        height=70 + BAR_HEIGHT * len(probs),
        alt=say("Bars for the {count} most likely next tokens.", count=len(probs)),
        x_title=say("probability"),
        y_title=say("token"),
    )
    # Room for the number after the longest bar, on a phone too.
    layout["margin"]["r"] = 30
    layout["xaxis"] |= {"range": [0, min(1.15, 1.25 * best.prob)], "tickformat": ".2~p"}
    # Positions, not names: two tokens may have the same text.
    layout["yaxis"] |= {
        "autorange": "reversed",
        "showgrid": False,
        "tickvals": list(range(len(probs))),
        "ticktext": [token_label(token.text) for token in probs],
        "tickfont": {"size": FONT_SIZE_PX},
        "ticks": "outside",
        "ticklen": 6,
        "tickcolor": TRANSPARENT,
    }
    layout["meta"]["columns"] = {"y": say("rank (from 0)"), "customdata": [say("token"), "id"]}
    bars = go.Bar(
        x=np.array([token.prob for token in probs], np.float32),
        y=np.arange(len(probs), dtype=np.int32),
        orientation="h",
        marker={"color": BLUE},
        text=[percent(token.prob) for token in probs],
        textposition="outside",
        cliponaxis=False,
        customdata=[[token_label(token.text, 60), token.id] for token in probs],
        hovertemplate="%{customdata[0]}<br>id %{customdata[1]}<br>"
        + say("probability %{x:.4%}")
        + "<extra></extra>",
    )
    return go.Figure(bars, layout)


def percent(prob: float) -> str:
    """A probability in percent, with one digit after the point."""
    if prob < 0.0005:
        return "< 0.1 %"
    return f"{prob:.1%}".replace("%", " %")


def layer_ticks(rows: int, num_deepstack: int, *, every: int) -> dict[str, Any]:
    """Tick labels of the layers' inputs; ◆ where DeepStack was added just before."""
    shown = [row for row in range(rows) if row % every == 0 or row in (rows - 1, 0)]
    # The second to last label would overlap the last one.
    shown = [row for row in shown if row == rows - 1 or rows - 1 - row >= every]
    names = [
        say("final norm")
        if row == rows - 1
        else (f"{row} ◆" if 1 <= row <= num_deepstack else str(row))
        for row in shown
    ]
    return {"tickvals": shown, "ticktext": names}


def _cell_words(lens: LogitLens, row: int, column: int) -> str:
    """The top-k of one cell, one line each."""
    position = lens.positions[column]
    head = say("position {position}, input of layer {layer}", position=position, layer=row)
    if row == len(lens.texts) - 1:
        head = say("position {position}, input of the final norm", position=position)
    tokens = zip(lens.texts[row][column], lens.probs[row, column], strict=True)
    lines = [f"{percent(float(prob))}  {token_label(text, 24)}" for text, prob in tokens]
    return "<br>".join([head, *lines])
