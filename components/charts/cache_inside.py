"""Charts of the cache itself: one head's numbers, and what it saves as a text grows."""

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
        "Map of the keys that layer {layer}, head {head} keeps: {tokens:,} positions by "
        "{channels} channels, from {low:.2g} to {high:.2g}."
    ),
    "values": mark(
        "Map of the values that layer {layer}, head {head} keeps: {tokens:,} positions by "
        "{channels} channels, from {low:.2g} to {high:.2g}."
    ),
}


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
            colorbar={"title": {"text": say("size")}, "thickness": 12},
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
            else say("Sequence index (token), {count} to a column", count=per_column),
            y_title=say("Channel of the head"),
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
    figure = go.Figure(
        [
            _curve(say("without the cache"), lengths, full, BLUE, "dash", "square"),
            _curve(say("with the cache"), lengths, cached, GREEN, "solid", "circle"),
        ],
        base_layout(
            say(
                "After {count:,} tokens one more takes {factor:.0f} times as long without the "
                "cache",
                count=lengths[-1],
                factor=full[-1] / cached[-1],
            ),
            height=HEIGHT_MEDIUM,
            alt=say(
                "Time of one more token after {first:,} to {last:,} tokens: from {full_first:.1f} "
                "to {full_last:.1f} ms without the cache, from {cached_first:.1f} to "
                "{cached_last:.1f} ms with it.",
                first=lengths[0],
                last=lengths[-1],
                full_first=full[0],
                full_last=full[-1],
                cached_first=cached[0],
                cached_last=cached[-1],
            ),
            x_title=say("Tokens before it"),
            y_title=say("Time of one more token (ms)"),
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
    """Bytes of the cache as the text grows: measured here, and by formula for the 2B model."""
    lengths = np.array([point.num_tokens for point in points], dtype=np.int32)
    measured = np.array([point.cache_bytes / MB for point in points], dtype=np.float32)
    figure = go.Figure(
        [
            go.Scatter(
                x=lengths,
                y=measured,
                name=say("this model: {count:,} bytes a token", count=bytes_per_token),
                mode="lines+markers",
                line={"color": GREEN, "width": 2.5},
                marker={"symbol": "circle", "size": 9},
                hovertemplate=say("this model, %{x} tokens: %{y:.3f} MB<extra></extra>"),
            ),
            go.Scatter(
                x=lengths,
                y=(lengths * (bytes_per_token_2b / MB)).astype(np.float32),
                name=say(
                    "Qwen3-VL-2B in bfloat16: {count:,} bytes a token", count=bytes_per_token_2b
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
                "Bytes of the cache: {here:.2f} MB here and {there:.0f} MB in the 2B model after "
                "{count:,} tokens.",
                here=measured[-1],
                there=int(lengths[-1]) * bytes_per_token_2b / MB,
                count=int(lengths[-1]),
            ),
            x_title=say("Tokens in the cache"),
            y_title=say("Keys and values (MB)"),
        ),
    )
    figure.update_yaxes(type="log")
    figure.update_layout(legend=LEGEND_ABOVE)
    return figure
