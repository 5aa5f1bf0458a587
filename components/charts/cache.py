"""Charts of the cache stage."""

from __future__ import annotations

from statistics import median

import numpy as np
import plotly.graph_objects as go

from components.chart_style import BLUE, GREEN, HEIGHT_MEDIUM, base_layout
from playground.records import CacheReuse

SPREAD = 0.18  # how far the single runs are set apart, in bar widths


def plot_times(reuse: CacheReuse) -> go.Figure:
    """Time to the next token's logits without and with the cache: medians and single runs."""
    miss, hit = median(reuse.miss_ms), median(reuse.hit_ms)
    labels = [
        f"without the cache<br>computes {reuse.second.num_tokens:,}<br>{miss:,.2f} ms",
        f"with the cache<br>computes {reuse.computed_tokens:,}<br>{hit:,.2f} ms",
    ]
    figure = go.Figure(
        [
            go.Bar(
                x=[0, 1],
                y=np.array([miss, hit], dtype=np.float32),
                name="median",
                width=0.56,
                marker={"color": [BLUE, GREEN]},
                hovertemplate="median %{y:.2f} ms<extra></extra>",
            ),
            _single_runs(reuse),
        ],
        base_layout(
            f"The second request takes {miss / hit:.2f} times as long without the cache",
            height=HEIGHT_MEDIUM,
            alt=f"Median time to the next token's logits: {miss:.2f} ms without the cache, "
            f"{hit:.2f} ms with it, over {len(reuse.hit_ms)} runs of each.",
            x_title="Tokens, and median time",
            y_title="Time to the next token's logits (ms)",
        ),
    )
    figure.update_xaxes(tickvals=[0, 1], ticktext=labels, range=[-0.5, 1.5], showgrid=False)
    figure.update_yaxes(rangemode="tozero")
    return figure


def _single_runs(reuse: CacheReuse) -> go.Scatter:
    offsets = np.linspace(-SPREAD, SPREAD, len(reuse.miss_ms)) if len(reuse.miss_ms) > 1 else [0.0]
    return go.Scatter(
        x=np.array([*offsets, *(1 + offset for offset in offsets)], dtype=np.float32),
        y=np.array([*reuse.miss_ms, *reuse.hit_ms], dtype=np.float32),
        name="single runs",
        mode="markers",
        marker={"color": "#ffffff", "size": 8, "line": {"color": "#333333", "width": 1.5}},
        hovertemplate="one run: %{y:.2f} ms<extra></extra>",
    )
