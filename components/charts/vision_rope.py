"""Charts of the vision tower's 2-D RoPE: angles by row and column, and scores by distance."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import plotly.graph_objects as go

from components.chart_style import (
    BLUE,
    DIVERGING,
    HEIGHT_MEDIUM,
    ORANGE,
    SEQUENTIAL,
    base_layout,
    pointer_meta,
)
from components.charts.vision_position import frame_patches

MAX_DISTANCE = 32  # patches that the map reaches to each side; a photo has up to 80 and more
MARKED_POINTS = 80  # longer lines are drawn without a marker at each distance


def plot_rope_angles(
    angles: np.ndarray, axis: Literal["row", "column"], first_pair: int, here: int
) -> go.Figure:
    """How far each pair of a head's numbers is turned, at every row (or column) of the picture.

    Args:
        angles: (frequencies, places) radians.
        axis: what turns these pairs.
        first_pair: number of the first pair.
        here: the row (or column) to mark.
    """
    pairs, places = angles.shape
    last = first_pair + pairs - 1
    layout = base_layout(
        f"Pairs {first_pair}–{last} turn with the {axis}: fast above, slow below",
        height=HEIGHT_MEDIUM,
        alt=f"Cosine of the angle of {pairs} pairs of numbers at {places} patch {axis}s. The first "
        f"pair turns by {float(angles[0, 1]) if places > 1 else 0:.3g} radians a patch, the last "
        f"one by {float(angles[-1, 1]) if places > 1 else 0:.3g}.",
        x_title=f"patch {axis}",
        y_title="pair of numbers",
    )
    layout["xaxis"] |= {"showgrid": False, "zeroline": False}
    layout["yaxis"] |= {
        "autorange": "reversed",
        "showgrid": False,
        "zeroline": False,
        "dtick": max(1, pairs // 8),
    }
    layout["meta"]["columns"] = {"z": "cosine", "customdata": ["radians", "turns"]}
    # The marked place as two lines, so that the cells between them keep their colours.
    layout["shapes"] = [
        {
            "type": "line",
            "x0": edge,
            "x1": edge,
            "y0": 0,
            "y1": 1,
            "yref": "paper",
            "line": {"width": 2, "color": BLUE},
        }
        for edge in (here - 0.5, here + 0.5)
    ]
    heat_map = go.Heatmap(
        z=np.cos(angles).astype(np.float32),
        y=np.arange(first_pair, last + 1, dtype=np.int32),
        zmin=-1.0,
        zmax=1.0,
        colorscale=DIVERGING,
        colorbar={"title": {"text": "cosine of the angle"}},
        customdata=np.stack([angles, angles / (2 * math.pi)], -1).astype(np.float32),
        hovertemplate=f"pair %{{y}}, patch {axis} %{{x}}<br>turned by %{{customdata[0]:.3f}} "
        "radians = %{customdata[1]:.3f} turns<br>cosine %{z:.3f}<extra></extra>",
    )
    return go.Figure(heat_map, layout)


def plot_distance_kernel(kernel: np.ndarray, whose: str) -> go.Figure:
    """The score of one query and one key by how far apart they stand.

    Args:
        kernel: (2 * grid_h - 1, 2 * grid_w - 1) scores; distance 0 in the middle. Far distances
            are cut off, so that the near ones stay large.
        whose: the vectors, in words.
    """
    full = tuple(size // 2 for size in kernel.shape)
    down, across = (min(reach, MAX_DISTANCE) for reach in full)
    kernel = kernel[full[0] - down : full[0] + down + 1, full[1] - across : full[1] + across + 1]
    cut = (down, across) != full
    layout = base_layout(
        f"Score {f'up to {MAX_DISTANCE} patches away' if cut else 'at every distance'}: {whose}",
        height=HEIGHT_MEDIUM,
        alt=f"Scores by distance, {down} rows up and down and {across} columns to both sides: "
        f"{float(kernel[down, across]):.3g} at distance 0, from {float(kernel.min()):.3g} to "
        f"{float(kernel.max()):.3g}.",
        x_title="columns to the right",
        y_title="rows below",
    )
    frame_patches(layout)
    layout["meta"]["columns"] = {"z": "score"}
    heat_map = go.Heatmap(
        z=kernel.astype(np.float32),
        x=np.arange(-across, across + 1, dtype=np.int32),
        y=np.arange(-down, down + 1, dtype=np.int32),
        **_kernel_colors(kernel),
        colorbar={"title": {"text": "score"}},
        hovertemplate="key %{y} rows below and %{x} columns to the right<br>score %{z:.4g}"
        "<extra></extra>",
    )
    return go.Figure(heat_map, layout)


def plot_kernel_lines(kernel: np.ndarray) -> go.Figure:
    """The same scores along the two axes: straight up and down, and straight to the sides.

    Args:
        kernel: (2 * grid_h - 1, 2 * grid_w - 1) scores; distance 0 in the middle.
    """
    down, across = (size // 2 for size in kernel.shape)
    layout = base_layout(
        "The score along one column and along one row",
        height=HEIGHT_MEDIUM,
        alt=f"Two lines through distance 0, where the score is {float(kernel[down, across]):.3g}: "
        f"one row down it is {_at(kernel[:, across], down + 1)}, one column to the right "
        f"{_at(kernel[down], across + 1)}.",
        x_title="patches from the query",
        y_title="score",
    )
    layout["meta"]["columns"] = {"x": "distance", "y": "score"}
    lines = (
        ("up (−) and down (+)", kernel[:, across], down, "solid", "circle", BLUE),
        ("left (−) and right (+)", kernel[down], across, "dash", "diamond", ORANGE),
    )
    traces = [
        go.Scatter(
            x=np.arange(-reach, reach + 1, dtype=np.int32),
            y=np.ascontiguousarray(values, np.float32),
            name=name,
            mode="lines+markers" if len(values) <= MARKED_POINTS else "lines",
            line={"dash": dash, "width": 2, "color": color},
            marker={"symbol": symbol, "size": 5},
            hovertemplate=f"{name}: %{{x}} patches<br>score %{{y:.4g}}<extra></extra>",
        )
        for name, values, reach, dash, symbol, color in lines
    ]
    return go.Figure(traces, layout)


def plot_patch_scores(
    scores: np.ndarray, reach: float, patch: tuple[int, int], span: int, title: str
) -> go.Figure:
    """One patch's scores to all patches of its picture, before the softmax.

    Args:
        scores: (grid_h, grid_w).
        reach: the colours go from minus this to plus this, so that two maps can be compared.
        patch: row and column of the query.
        span: index into ``ModelInputs.spans``.
        title: what to see.
    """
    rows, columns = scores.shape
    best = np.unravel_index(int(scores.argmax()), scores.shape)
    layout = base_layout(
        title,
        height=HEIGHT_MEDIUM,
        alt=f"Scores of one query to {rows} by {columns} keys, from {float(scores.min()):.3g} to "
        f"{float(scores.max()):.3g}; the largest is at row {best[0]}, column {best[1]}.",
        x_title="patch column",
        y_title="patch row",
    )
    frame_patches(layout)
    layout["meta"]["pointer"] = pointer_meta("patch", span=span)
    layout["meta"]["columns"] = {"z": "score"}
    heat_map = go.Heatmap(
        z=scores.astype(np.float32),
        zmin=-reach,
        zmax=reach,
        colorscale=DIVERGING,
        name="scores",
        colorbar={"title": {"text": "score (before the softmax)"}},
        hovertemplate="key at patch row %{y}, column %{x}<br>score %{z:.4g}<extra></extra>",
    )
    query = go.Scatter(
        x=np.array([patch[1]], np.int32),
        y=np.array([patch[0]], np.int32),
        name="the query",
        mode="markers",
        marker={"symbol": "x", "size": 9, "color": BLUE, "line": {"color": "#fff", "width": 1}},
        hoverinfo="skip",
        showlegend=False,
    )
    return go.Figure([heat_map, query], layout)


def _kernel_colors(kernel: np.ndarray) -> dict[str, Any]:
    """Scores of one sign by their size; others around zero."""
    if float(kernel.min()) >= 0:
        return {"colorscale": SEQUENTIAL}
    reach = float(np.abs(kernel).max())
    return {"colorscale": DIVERGING, "zmin": -reach, "zmax": reach}


def _at(values: np.ndarray, index: int) -> str:
    return f"{float(values[index]):.3g}" if index < len(values) else "not there"
