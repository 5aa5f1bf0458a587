"""Charts of a change: the next token before and after, and what parts of a picture are worth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from components.chart_style import BLUE, DIVERGING, ORANGE, base_layout, pointer_meta
from components.charts.decoder import percent
from components.charts.token_labels import token_label

if TYPE_CHECKING:
    from playground.what_if_runs import LogitsShift, TokenShift

ROW_HEIGHT = 34  # pixels per token: two bars
SHOWN = 8  # tokens


def plot_shift(shift: LogitsShift, names: tuple[str, str] = ("original", "changed")) -> go.Figure:
    """The likeliest next tokens of both runs, original above changed.

    Args:
        shift: the comparison.
        names: what the two runs are called.
    """
    tokens = shift.tokens[:SHOWN]
    rows = np.arange(len(tokens), dtype=np.int32)
    same = "the same token leads" if shift.same_top else "another token leads"
    largest = max(max(token.before, token.after) for token in tokens)
    layout = base_layout(
        f"Next token, {names[0]} and {names[1]}: {same}, KL = {shift.kl:.3g} nats",
        height=110 + ROW_HEIGHT * len(tokens),
        alt=f"Pairs of bars for {len(tokens)} tokens; the largest change of a probability is "
        f"{shift.max_abs_dp:.1%}.",
        x_title="probability",
        y_title="token",
    )
    layout["barmode"] = "group"
    layout["margin"]["r"] = 30
    layout["xaxis"] |= {"tickformat": ".2~p", "range": [0, min(1.15, 1.25 * largest)]}
    # Positions, not names: two tokens may be spelt alike.
    layout["yaxis"] |= {
        "autorange": "reversed",
        "showgrid": False,
        "tickvals": rows.tolist(),
        "ticktext": [token_label(token.text) for token in tokens],
    }
    layout["meta"]["columns"] = {"y": "rank − 1", "customdata": "token"}
    traces = [
        _shift_bars(tokens, side, name, color, pattern)
        for side, name, color, pattern in (
            ("before", names[0], BLUE, ""),
            ("after", names[1], ORANGE, "/"),
        )
    ]
    return go.Figure(traces, layout)


def _shift_bars(
    tokens: Sequence[TokenShift], side: str, name: str, color: str, pattern: str
) -> go.Bar:
    values = [getattr(token, side) for token in tokens]
    return go.Bar(
        x=np.array(values, np.float32),
        y=np.arange(len(tokens), dtype=np.int32),
        name=name,
        orientation="h",
        marker={"color": color, "pattern": {"shape": pattern, "fillmode": "overlay"}},
        text=[percent(value) for value in values],
        textposition="outside",
        cliponaxis=False,
        customdata=[token_label(token.text, 60) for token in tokens],
        hovertemplate=f"“%{{customdata}}”<br>{name}: %{{x:.4%}}<extra></extra>",
    )


def plot_influence(drop: np.ndarray, block: int, word: str, span: int) -> go.Figure:
    """What the answer word loses when a block of the picture is taken away.

    Args:
        drop: (rows, columns) nats: log p with the block - log p without it.
        block: tokens along each side of a block.
        word: escaped.
        span: index into ``ModelInputs.spans``.
    """
    largest = max(float(np.abs(drop).max()), 1e-6)
    row, column = np.unravel_index(int(drop.argmax()), drop.shape)
    layout = base_layout(
        f"What “{word}” depends on: log-probability lost when a part is taken away",
        height=380,
        alt=f"Map of {drop.shape[0]} by {drop.shape[1]} parts of the picture; the most, "
        f"{float(drop.max()):.3g} nats, is lost at row {row}, column {column}.",
        x_title="token column",
        y_title="token row",
    )
    layout["xaxis"] |= {"showgrid": False, "zeroline": False, "constrain": "domain"}
    layout["yaxis"] |= {
        "showgrid": False,
        "zeroline": False,
        "autorange": "reversed",
        "scaleanchor": "x",
        "constrain": "domain",
    }
    middles = [
        (np.arange(size) * block + (block - 1) / 2).astype(np.float32) for size in drop.shape
    ]
    layout["meta"]["pointer"] = pointer_meta("merged", span=span)
    layout["meta"]["columns"] = {"x": "column", "y": "row", "z": "nats lost"}
    heat_map = go.Heatmap(
        z=drop.astype(np.float32),
        x=middles[1],
        y=middles[0],
        zmid=0,
        zmin=-largest,
        zmax=largest,
        colorscale=DIVERGING,
        colorbar={"title": {"text": "nats lost"}},
        hovertemplate="row %{y}, column %{x}<br>%{z:.3g} nats lost without it<extra></extra>",
    )
    return go.Figure(heat_map, layout)
