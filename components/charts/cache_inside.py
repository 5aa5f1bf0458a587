"""Charts of the cache contents: one head's values, and the time saved as the text grows."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from components.charts.style import (
    HEIGHT_LARGE,
    HEIGHT_MEDIUM,
    LEGEND_ABOVE,
    base_layout,
    pointer_meta,
)
from components.look.colors import BLUE, GREEN, ORANGE, SEQUENTIAL
from playground.language import mark, say

if TYPE_CHECKING:
    from playground.experiments.growth import GrowthPoint
    from playground.kv_cache.channels import ChannelNorms

MB = 1e6
PART_TITLES = {
    "keys": mark("Layer {layer}, head {head}: the keys are largest in channel {channel}"),
    "values": mark("Layer {layer}, head {head}: the values are largest in channel {channel}"),
}
PART_ALTS = {
    "keys": mark(
        "Heat map of the cached keys of layer {layer}, head {head}: {tokens:,} positions by "
        "{channels} channels, from {low:.2g} to {high:.2g}."
    ),
    "values": mark(
        "Heat map of the cached values of layer {layer}, head {head}: {tokens:,} positions by "
        "{channels} channels, from {low:.2g} to {high:.2g}."
    ),
}


def plot_channels(
    found: ChannelNorms, part: str, layer: int, head: int, num_tokens: int
) -> go.Figure:
    """Heat map of the magnitudes of one head's keys or values, by position and channel.

    Args:
        found: the result of ``channel_norms``.
        part: keys or values.
        layer: decoder layer.
        head: key-value head.
        num_tokens: length of the cache.
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
            colorbar={"title": {"text": say("magnitude")}, "thickness": 12},
            hovertemplate=say("token %{x}, channel %{y}: %{z:.3f}<extra></extra>"),
        ),
        base_layout(
            say(PART_TITLES[part], layer=layer, head=head, channel=top),
            height=HEIGHT_LARGE,
            alt=say(
                PART_ALTS[part],
                layer=layer,
                head=head,
                tokens=num_tokens,
                channels=len(norms),
                low=float(norms.min()),
                high=float(norms.max()),
            ),
            x_title=say("Sequence index (token)")
            if per_column == 1
            else say("Sequence index (token), {count} per column", count=per_column),
            y_title=say("Head channel"),
        ),
    )
    if per_column == 1:
        figure.update_layout(meta={**figure.layout.meta, "pointer": pointer_meta("token")})
    return figure


def plot_growth(points: Sequence[GrowthPoint]) -> go.Figure:
    """Time per new token against the length of the text, with and without the cache."""
    lengths = [point.num_tokens for point in points]
    full = [median(point.full_ms) for point in points]
    cached = [median(point.cached_ms) for point in points]
    figure = go.Figure(
        [
            _curve(say("without the cache"), lengths, full, BLUE, "dash", "square"),
            _curve(say("with the cache"), lengths, cached, GREEN, "solid", "circle"),
        ],
        base_layout(
            say(
                "After {count:,} tokens, the next one takes {factor:.0f} times as long without "
                "the cache",
                count=lengths[-1],
                factor=full[-1] / cached[-1],
            ),
            height=HEIGHT_MEDIUM,
            alt=say(
                "Time per new token after {first:,} to {last:,} tokens: from {full_first:.1f} to "
                "{full_last:.1f} ms without the cache, from {cached_first:.1f} to "
                "{cached_last:.1f} ms with it.",
                first=lengths[0],
                last=lengths[-1],
                full_first=full[0],
                full_last=full[-1],
                cached_first=cached[0],
                cached_last=cached[-1],
            ),
            x_title=say("Tokens before the new one"),
            y_title=say("Time per new token (ms)"),
        ),
    )
    figure.update_yaxes(rangemode="tozero")
    figure.update_layout(legend=LEGEND_ABOVE)
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
        hovertemplate=say("{name}, after %{{x}} tokens: %{{y:.2f}} ms<extra></extra>", name=name),
    )


def plot_bytes(
    points: Sequence[GrowthPoint], bytes_per_token: int, bytes_per_token_2b: int
) -> go.Figure:
    """Cache size against length: measured for this model, by formula for the 2B model."""
    lengths = np.array([point.num_tokens for point in points], dtype=np.int32)
    measured = np.array([point.cache_bytes / MB for point in points], dtype=np.float32)
    figure = go.Figure(
        [
            go.Scatter(
                x=lengths,
                y=measured,
                name=say("this model: {count:,} bytes per token", count=bytes_per_token),
                mode="lines+markers",
                line={"color": GREEN, "width": 2.5},
                marker={"symbol": "circle", "size": 9},
                hovertemplate=say("this model, %{x} tokens: %{y:.3f} MB<extra></extra>"),
            ),
            go.Scatter(
                x=lengths,
                y=(lengths * (bytes_per_token_2b / MB)).astype(np.float32),
                name=say(
                    "Qwen3-VL-2B in bfloat16: {count:,} bytes per token", count=bytes_per_token_2b
                ),
                mode="lines+markers",
                line={"color": ORANGE, "width": 2.5, "dash": "dot"},
                marker={"symbol": "diamond", "size": 9},
                hovertemplate=say("2B, %{x} tokens: %{y:.1f} MB<extra></extra>"),
            ),
        ],
        base_layout(
            say("Every token adds the same number of bytes"),
            height=HEIGHT_MEDIUM,
            alt=say(
                "Cache size after {count:,} tokens: {here:.2f} MB in this model, {there:.0f} MB "
                "in the 2B model.",
                here=measured[-1],
                there=int(lengths[-1]) * bytes_per_token_2b / MB,
                count=int(lengths[-1]),
            ),
            x_title=say("Tokens in the cache"),
            y_title=say("Cache size (MB)"),
        ),
    )
    figure.update_yaxes(type="log")
    figure.update_layout(legend=LEGEND_ABOVE)
    return figure
