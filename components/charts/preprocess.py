"""Charts of an image's pixels on their way into ``pixel_values``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from components.charts.style import HEIGHT_MEDIUM, HEIGHT_SMALL, NO_LINES, base_layout, small_label
from components.look.colors import BLUE, DIVERGING, GREEN
from playground.language import mark, say

CHANNELS = (mark("red"), mark("green"), mark("blue"))
CHANNEL_COLORS = ("#c8443c", GREEN, BLUE)
TILE_GAP = 2  # empty cells between the tiles of a patch


def plot_histograms(edges: np.ndarray, counts: np.ndarray, title: str, x_title: str) -> go.Figure:
    """Histograms of pixel values, one per channel.

    Args:
        edges: ``(3, bins + 1)``: bin edges per channel.
        counts: ``(3, bins)``: pixels per bin.
        title: the chart's title.
        x_title: the title of the x axis.
    """
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1) * 100
    names = [say(name) for name in CHANNELS]
    layout = base_layout(
        title,
        height=HEIGHT_MEDIUM,
        alt=say(
            "Histograms of pixel values, one per channel; ranges: {spread}.",
            spread=say(", ").join(
                f"{name} {_range_words(edges[c], counts[c])}" for c, name in enumerate(names)
            ),
        ),
        x_title=x_title,
    )
    layout |= {"bargap": 0, "showlegend": False}
    layout["xaxis"] |= {
        "range": [float(edges.min()), float(edges.max())],
        "anchor": "y3",
        "zeroline": False,
    }
    traces = []
    for channel, name in enumerate(names):
        top = 1 - channel * 0.345
        layout[f"yaxis{channel + 1 if channel else ''}"] = {
            "title": {"text": f"{name}, %"},
            "domain": [max(0.0, top - 0.31), top],
            "rangemode": "tozero",
            "automargin": True,
            "nticks": 3,
        }
        traces.append(
            go.Bar(
                x=((edges[channel, 1:] + edges[channel, :-1]) / 2).astype(np.float32),
                y=share[channel].astype(np.float32),
                width=np.diff(edges[channel]).astype(np.float32),
                yaxis=f"y{channel + 1 if channel else ''}",
                name=name,
                marker={"color": CHANNEL_COLORS[channel], "line": {"width": 0}},
                hovertemplate=say(
                    "{channel} around %{{x:.4g}}: %{{y:.3g}} % of pixels", channel=name
                )
                + "<extra></extra>",
            )
        )
    return go.Figure(traces, layout)


def _range_words(edges: np.ndarray, counts: np.ndarray) -> str:
    used = np.flatnonzero(counts)
    if not len(used):
        return say("none")
    low, high = edges[used[0]], edges[used[-1] + 1]
    return say("{low:.3g} to {high:.3g}", low=low, high=high)


def plot_patch(values: np.ndarray, row: int, frames: Sequence[str]) -> go.Figure:
    """One patch as the model receives it: one heat map per frame (rows) and channel (columns).

    Args:
        values: ``(3, frames, size, size)`` float32: one row of ``pixel_values``.
        row: the index of the row.
        frames: the name of each frame.
    """
    num_channels, num_frames, size, _ = values.shape
    step = size + TILE_GAP
    low, high = float(values.min()), float(values.max())
    sizes = {"frames": num_frames, "channels": num_channels, "size": size}
    layout = base_layout(
        say(
            "Row {row:,}: {frames} frames × {channels} channels × {size} × {size} values",
            row=row,
            **sizes,
        ),
        height=HEIGHT_MEDIUM,
        alt=say(
            "{count} heat maps of {size} by {size} values from {low:.3g} to {high:.3g}: columns "
            "are red, green and blue; rows are frames.",
            count=num_frames * num_channels,
            size=size,
            low=low,
            high=high,
        ),
    )
    hidden = {"constrain": "domain", **NO_LINES}
    layout["xaxis"] |= hidden | {
        "tickvals": [channel * step + (size - 1) / 2 for channel in range(num_channels)],
        "ticktext": [say(name) for name in CHANNELS],
        "side": "top",
    }
    layout["yaxis"] |= hidden | {
        "tickvals": [frame * step + (size - 1) / 2 for frame in range(num_frames)],
        "ticktext": list(frames),
        "autorange": "reversed",
        "scaleanchor": "x",
    }
    layout["coloraxis"] = {
        "colorscale": DIVERGING,
        "cmid": 0,
        "cmin": min(-1.0, low),
        "cmax": max(1.0, high),
        "colorbar": {"title": {"text": say("value")}},
    }
    tiles = [
        _patch_tile(values[channel, frame], channel, frame, frames[frame])
        for channel in range(num_channels)
        for frame in range(num_frames)
    ]
    return go.Figure(tiles, layout)


def _patch_tile(values: np.ndarray, channel: int, frame: int, frame_name: str) -> go.Heatmap:
    """One channel of one frame, ``(size, size)``, as a tile of the grid."""
    size = len(values)
    down, across = np.mgrid[0:size, 0:size].astype(np.uint8)
    name = say("{channel}, {frame}", channel=say(CHANNELS[channel]), frame=frame_name)
    hover = say("line %{customdata[0]}, column %{customdata[1]} of the patch<br>value %{z:.4f}")
    return go.Heatmap(
        z=np.ascontiguousarray(values, np.float32),
        x0=channel * (size + TILE_GAP),
        y0=frame * (size + TILE_GAP),
        dx=1,
        dy=1,
        coloraxis="coloraxis",
        name=name,
        customdata=np.stack([down, across], axis=-1),
        hovertemplate=f"{name}<br>{hover}<extra></extra>",
    )


def plot_row(values: np.ndarray, row: int) -> go.Figure:
    """The values of one row of ``pixel_values`` in memory order.

    Args:
        values: ``(3, frames, size, size)`` float32.
        row: the index of the row.
    """
    num_channels, num_frames, size, _ = values.shape
    part = size * size
    total = num_channels * num_frames * part
    layout = base_layout(
        _row_title(values, row),
        height=HEIGHT_SMALL,
        alt=say(
            "Line chart of {total:,} values from {low:.3g} to {high:.3g}, in segments of {part}: "
            "red frame 1, red frame 2, then green and blue in the same order.",
            total=total,
            low=values.min(),
            high=values.max(),
            part=part,
        ),
        x_title=say("index in the row"),
        y_title=say("value"),
    )
    layout |= {"showlegend": False}
    layout["xaxis"] |= {
        "range": [0, total],
        "tickvals": [part * n for n in range(num_channels * num_frames + 1)],
        "zeroline": False,
    }
    low, high = min(-1.0, float(values.min())), max(1.0, float(values.max()))
    layout["yaxis"] |= {"range": [low - 0.05, high + 0.45], "zeroline": False}
    parts = [(channel, frame) for channel in range(num_channels) for frame in range(num_frames)]
    layout["annotations"] = [
        # Two lines, because six labels share 230 pixels on a phone.
        small_label((n + 0.5) * part, high + 0.25, f"{say(CHANNELS[channel])}<br>{frame + 1}")
        for n, (channel, frame) in enumerate(parts)
    ]
    lines = [
        _part_line(values[channel, frame].ravel(), n * part, channel, frame)
        for n, (channel, frame) in enumerate(parts)
    ]
    return go.Figure(lines, layout)


def _row_title(values: np.ndarray, row: int) -> str:
    total = values.size
    if values.shape[1] == 2 and np.array_equal(values[:, 0], values[:, 1]):
        return say(
            "All {total:,} values of row {row:,}: every channel appears twice, once per frame",
            row=row,
            total=total,
        )
    return say("All {total:,} values of row {row:,}", row=row, total=total)


def _part_line(values: np.ndarray, start: int, channel: int, frame: int) -> go.Scatter:
    """The values of one channel of one frame, ``(size * size,)``, from ``start`` in the row."""
    name = say("{channel}, frame {frame}", channel=say(CHANNELS[channel]), frame=frame + 1)
    return go.Scatter(
        x=np.arange(start, start + len(values), dtype=np.uint16),
        y=values.astype(np.float32),
        mode="lines",
        name=name,
        line={"color": CHANNEL_COLORS[channel], "width": 1.2},
        hovertemplate=say("index %{{x}}: {name}<br>value %{{y:.4f}}", name=name)
        + "<extra></extra>",
    )
