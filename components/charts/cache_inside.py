"""Charts of the cache itself: one head's numbers, and what it saves as a text grows."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from components.chart_style import (
    BLUE,
    GREEN,
    HEIGHT_LARGE,
    HEIGHT_MEDIUM,
    ORANGE,
    SEQUENTIAL,
    base_layout,
    pointer_meta,
)

if TYPE_CHECKING:
    from playground.cache_growth import ChannelNorms, GrowthPoint

MB = 1e6


def plot_channels(
    found: ChannelNorms, part: str, layer: int, head: int, num_tokens: int
) -> go.Figure:
    """Size of every number that one head keeps, by position and channel.

    Args:
        found: of ``channel_norms``.
        part: keys or values.
        layer: decoder layer.
        head: key-value head.
        num_tokens: in the cache.
    """
    norms = found.norms
    per_column = found.positions_per_column
    top = int(norms.mean(1).argmax())
    figure = go.Figure(
        go.Heatmap(
            x=found.positions,
            z=norms,
            colorscale=SEQUENTIAL,
            zmin=0,
            colorbar={"title": {"text": "size"}, "thickness": 12},
            hovertemplate="token %{x}, channel %{y}: %{z:.3f}<extra></extra>",
        ),
        base_layout(
            f"Layer {layer}, head {head}: the {part} are largest in channel {top}",
            height=HEIGHT_LARGE,
            alt=f"Map of the {part} that layer {layer}, head {head} keeps: {num_tokens} positions "
            f"by {len(norms)} channels, from {float(norms.min()):.2g} to {float(norms.max()):.2g}.",
            x_title="Position in the sequence (token)"
            + ("" if per_column == 1 else f", {per_column} to a column"),
            y_title="Channel of the head",
        ),
    )
    if per_column == 1:
        figure.update_layout(meta={**figure.layout.meta, "pointer": pointer_meta("token")})
    return figure


def plot_growth(points: Sequence[GrowthPoint]) -> go.Figure:
    """Time of one more token at each length of the text, with the cache and without."""
    lengths = [point.num_tokens for point in points]
    full = [median(point.full_ms) for point in points]
    cached = [median(point.cached_ms) for point in points]
    last = full[-1] / cached[-1]
    figure = go.Figure(
        [
            _curve("without the cache", lengths, full, BLUE, "dash", "square"),
            _curve("with the cache", lengths, cached, GREEN, "solid", "circle"),
        ],
        base_layout(
            f"After {lengths[-1]:,} tokens one more takes {last:.0f} times as long without the "
            "cache",
            height=HEIGHT_MEDIUM,
            alt=f"Time of one more token after {lengths[0]:,} to {lengths[-1]:,} tokens: from "
            f"{full[0]:.1f} to {full[-1]:.1f} ms without the cache, from {cached[0]:.1f} to "
            f"{cached[-1]:.1f} ms with it.",
            x_title="Tokens before it",
            y_title="Time of one more token (ms)",
        ),
    )
    figure.update_yaxes(rangemode="tozero")
    figure.update_layout(legend={"orientation": "h", "y": 1.02, "x": 0, "yanchor": "bottom"})
    return figure


def _curve(
    name: str, lengths: Sequence[int], values: Sequence[float], color: str, dash: str, symbol: str
) -> go.Scatter:
    return go.Scatter(
        x=np.array(lengths, dtype=np.int32),
        y=np.array(values, dtype=np.float32),
        name=name,
        mode="lines+markers",
        line={"color": color, "width": 2.5, "dash": dash},
        marker={"color": color, "symbol": symbol, "size": 9},
        hovertemplate=f"{name}, after %{{x}} tokens: %{{y:.2f}} ms<extra></extra>",
    )


def plot_bytes(
    points: Sequence[GrowthPoint], bytes_per_token: int, bytes_per_token_2b: int
) -> go.Figure:
    """Bytes of the cache as the text grows: measured here, and by formula for the 2B model."""
    lengths = np.array([point.num_tokens for point in points], dtype=np.int32)
    measured = np.array([point.cache_bytes / MB for point in points], dtype=np.float32)
    figure = go.Figure(
        [
            go.Scatter(
                x=lengths,
                y=measured,
                name=f"this model: {bytes_per_token:,} bytes a token",
                mode="lines+markers",
                line={"color": GREEN, "width": 2.5},
                marker={"symbol": "circle", "size": 9},
                hovertemplate="this model, %{x} tokens: %{y:.3f} MB<extra></extra>",
            ),
            go.Scatter(
                x=lengths,
                y=(lengths * (bytes_per_token_2b / MB)).astype(np.float32),
                name=f"Qwen3-VL-2B in bfloat16: {bytes_per_token_2b:,} bytes a token",
                mode="lines+markers",
                line={"color": ORANGE, "width": 2.5, "dash": "dot"},
                marker={"symbol": "diamond", "size": 9},
                hovertemplate="2B, %{x} tokens: %{y:.1f} MB<extra></extra>",
            ),
        ],
        base_layout(
            "Every token adds the same number of bytes",
            height=HEIGHT_MEDIUM,
            alt=f"Bytes of the cache: {measured[-1]:.2f} MB here and "
            f"{int(lengths[-1]) * bytes_per_token_2b / MB:.0f} MB in the 2B model after "
            f"{int(lengths[-1]):,} tokens.",
            x_title="Tokens in the cache",
            y_title="Keys and values (MB)",
        ),
    )
    figure.update_yaxes(type="log")
    figure.update_layout(legend={"orientation": "h", "y": 1.02, "x": 0, "yanchor": "bottom"})
    return figure
