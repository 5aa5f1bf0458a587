"""Chart of the cache stage: requests in a row, timed with and without the cache."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from components.chart_style import BLUE, GREEN, HEIGHT_MEDIUM, base_layout

if TYPE_CHECKING:
    from playground.cache_compare import Compared

WIDTH = 0.38  # of a bar; a request takes the room of 1
SPREAD = 0.1  # how far single runs are set apart


def plot_request_times(rows: Sequence[Compared]) -> go.Figure:
    """Time to the first token of each request, both ways: medians as bars, runs as points."""
    miss = [median(row.miss_ms) for row in rows]
    hit = [median(row.hit_ms) for row in rows]
    hits = [index for index, row in enumerate(rows) if row.hit] or [0]
    best = max(hits, key=lambda index: miss[index] / hit[index])
    words = "; ".join(
        f"request {number}: {a:.2f} ms without, {b:.2f} ms with the cache"
        for number, (a, b) in enumerate(zip(miss, hit, strict=True), 1)
    )
    figure = go.Figure(
        [
            _bars("without the cache", miss, -WIDTH / 2, BLUE, ""),
            _bars("with the cache", hit, WIDTH / 2, GREEN, "/"),
            _runs([row.miss_ms for row in rows], -WIDTH / 2, "single runs without"),
            _runs([row.hit_ms for row in rows], WIDTH / 2, "single runs with"),
        ],
        base_layout(
            f"Request {best + 1} takes {miss[best] / hit[best]:.1f} times as long without the cache"
            if miss[best] >= 1.1 * hit[best]
            else "With few tokens both ways take about the same time",
            height=HEIGHT_MEDIUM,
            alt=f"Median time to the first token. {words.capitalize()}.",
            x_title="Request, and its tokens reused of all",
            y_title="Time to the first token (ms)",
        ),
    )
    ticks = [
        f"{number}<br>{row.reused_tokens:,} of {row.inputs.num_tokens:,}"
        for number, row in enumerate(rows, 1)
    ]
    figure.update_xaxes(
        tickvals=list(range(len(rows))),
        ticktext=ticks,
        range=[-0.6, len(rows) - 0.4],
        showgrid=False,
    )
    figure.update_yaxes(rangemode="tozero")
    figure.update_layout(legend={"orientation": "h", "y": 1.02, "x": 0, "yanchor": "bottom"})
    return figure


def _bars(name: str, values: Sequence[float], offset: float, color: str, shape: str) -> go.Bar:
    return go.Bar(
        x=np.arange(len(values), dtype=np.float32) + offset,
        y=np.array(values, dtype=np.float32),
        name=name,
        width=WIDTH,
        marker={"color": color, "pattern": _pattern(shape)},
        hovertemplate=f"{name}: median %{{y:.2f}} ms<extra></extra>",
    )


def _pattern(shape: str) -> dict[str, object]:
    return {
        "shape": shape,
        "fillmode": "overlay",
        "fgcolor": "#ffffff",
        "fgopacity": 0.5,
        "size": 7,
    }


def _runs(times: Sequence[Sequence[float]], offset: float, name: str) -> go.Scatter:
    places = [
        number + offset + (SPREAD * (2 * turn / (len(each) - 1) - 1) if len(each) > 1 else 0.0)
        for number, each in enumerate(times)
        for turn in range(len(each))
    ]
    return go.Scatter(
        x=np.array(places, dtype=np.float32),
        y=np.array([value for each in times for value in each], dtype=np.float32),
        name=name,
        mode="markers",
        showlegend=False,
        marker={"color": "#ffffff", "size": 7, "line": {"color": "#333333", "width": 1.5}},
        hovertemplate="one run: %{y:.2f} ms<extra></extra>",
    )
