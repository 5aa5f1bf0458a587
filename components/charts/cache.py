"""Chart of the cache stage: time to first token with and without the cache."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from components.charts.style import HEIGHT_MEDIUM, LEGEND_ABOVE, base_layout, hatching
from components.look.colors import BLUE, GREEN
from playground.language import say

if TYPE_CHECKING:
    from playground.kv_cache.compare import Compared

WIDTH = 0.38  # of a bar; a request is 1 wide
SPREAD = 0.1  # horizontal offset between single runs


def plot_request_times(rows: Sequence[Compared]) -> go.Figure:
    """Time to first token per request and variant: medians as bars, single runs as points."""
    miss = [median(row.miss_ms) for row in rows]
    hit = [median(row.hit_ms) for row in rows]
    hits = [index for index, row in enumerate(rows) if row.hit] or [0]
    best = max(hits, key=lambda index: miss[index] / hit[index])
    words = say("; ").join(
        say(
            "request {number}: {miss:.2f} ms without, {hit:.2f} ms with the cache",
            number=number,
            miss=a,
            hit=b,
        )
        for number, (a, b) in enumerate(zip(miss, hit, strict=True), 1)
    )
    title = say("With so few tokens, both variants take about the same time")
    if miss[best] >= 1.1 * hit[best]:
        title = say(
            "Request {number} takes {factor:.1f} times as long without the cache",
            number=best + 1,
            factor=miss[best] / hit[best],
        )
    figure = go.Figure(
        [
            _bars(say("without the cache"), miss, -WIDTH / 2, BLUE, ""),
            _bars(say("with the cache"), hit, WIDTH / 2, GREEN, "/"),
            _runs([row.miss_ms for row in rows], -WIDTH / 2, say("single runs without cache")),
            _runs([row.hit_ms for row in rows], WIDTH / 2, say("single runs with cache")),
        ],
        base_layout(
            title,
            height=HEIGHT_MEDIUM,
            alt=say("Median time to the first token: {text}.", text=words),
            x_title=say("Request (reused of total tokens)"),
            y_title=say("Time to first token (ms)"),
        ),
    )
    ticks = [f"{number}<br>{_of(row)}" for number, row in enumerate(rows, 1)]
    figure.update_xaxes(
        tickvals=list(range(len(rows))),
        ticktext=ticks,
        range=[-0.6, len(rows) - 0.4],
        showgrid=False,
    )
    figure.update_yaxes(rangemode="tozero")
    figure.update_layout(legend=LEGEND_ABOVE)
    return figure


def _of(row: Compared) -> str:
    return say("{count:,} of {total:,}", count=row.reused_tokens, total=row.inputs.num_tokens)


def _bars(name: str, values: Sequence[float], offset: float, color: str, shape: str) -> go.Bar:
    return go.Bar(
        x=np.arange(len(values), dtype=np.float32) + offset,
        y=np.array(values, dtype=np.float32),
        name=name,
        width=WIDTH,
        marker={"color": color, "pattern": hatching(shape, 0.5)},
        hovertemplate=say("{name}: median %{{y:.2f}} ms<extra></extra>", name=name),
    )


def _runs(times: Sequence[Sequence[float]], offset: float, name: str) -> go.Scatter:
    positions = [
        number + offset + (SPREAD * (2 * turn / (len(group) - 1) - 1) if len(group) > 1 else 0.0)
        for number, group in enumerate(times)
        for turn in range(len(group))
    ]
    return go.Scatter(
        x=np.array(positions, dtype=np.float32),
        y=np.array([value for group in times for value in group], dtype=np.float32),
        name=name,
        mode="markers",
        showlegend=False,
        marker={"color": "#ffffff", "size": 7, "line": {"color": "#333333", "width": 1.5}},
        hovertemplate=say("one run: %{y:.2f} ms<extra></extra>"),
    )
