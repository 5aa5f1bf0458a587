"""Charts of the vision tower's 2-D RoPE: angles by row and column, and scores by distance."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import plotly.graph_objects as go

from components.charts.heat_map import heat_map, hide_lines, signed_map
from components.charts.patch_map import frame_patches, mark_position, patch_layout
from components.charts.style import HEIGHT_MEDIUM, base_layout, vertical_line
from components.look.colors import BLUE, ORANGE
from playground.language import say

MAX_DISTANCE = 32  # patches shown to each side; a photo can have 80 and more
MARKED_POINTS = 80  # longer lines are drawn without markers


def plot_rope_angles(
    angles: np.ndarray, axis: Literal["row", "column"], first_pair: int, here: int
) -> go.Figure:
    """The rotation angle of each pair of a head's dimensions at every row (or column) of an image.

    Args:
        angles: (frequencies, positions) radians.
        axis: whether these pairs rotate with the row or the column.
        first_pair: index of the first pair.
        here: the row (or column) to mark.
    """
    pairs = len(angles)
    layout = _angles_layout(angles, axis, first_pair)
    hide_lines(layout)
    layout["yaxis"] |= {"autorange": "reversed", "dtick": max(1, pairs // 8)}
    layout["meta"]["columns"] = {"z": say("cosine"), "customdata": [say("radians"), say("turns")]}
    # Mark the row or column with two lines, so that the cells between keep their colours.
    layout["shapes"] = [
        vertical_line(edge, width=2, color=BLUE) for edge in (here - 0.5, here + 0.5)
    ]
    where = say("pair %{y}, patch row %{x}")
    if axis == "column":
        where = say("pair %{y}, patch column %{x}")
    rotation = say(
        "rotated by %{customdata[0]:.3f} radians = %{customdata[1]:.3f} turns<br>cosine %{z:.3f}"
    )
    cells = signed_map(
        np.cos(angles),
        f"{where}<br>{rotation}",
        1.0,
        bar=say("cosine of the angle"),
        y=np.arange(first_pair, first_pair + pairs, dtype=np.int32),
        customdata=np.stack([angles, angles / (2 * math.pi)], -1).astype(np.float32),
    )
    return go.Figure(cells, layout)


def _angles_layout(
    angles: np.ndarray, axis: Literal["row", "column"], first_pair: int
) -> dict[str, Any]:
    """Title, description and axes for rows or for columns."""
    pairs, positions = angles.shape
    fastest, slowest = (angles[0, 1], angles[-1, 1]) if positions > 1 else (0.0, 0.0)
    numbers = {"first": first_pair, "last": first_pair + pairs - 1}
    facts = {"pairs": pairs, "positions": positions, "fastest": fastest, "slowest": slowest}
    if axis == "row":
        title = say(
            "Pairs {first}–{last} rotate with the row: fast at the top, slow at the bottom",
            **numbers,
        )
        alt = say(
            "Cosine of the angle of {pairs} pairs of dimensions at {positions} patch rows. The "
            "first pair rotates by {fastest:.3g} radians per patch, the last by {slowest:.3g}.",
            **facts,
        )
        x_title = say("patch row")
    else:
        title = say(
            "Pairs {first}–{last} rotate with the column: fast at the top, slow at the bottom",
            **numbers,
        )
        alt = say(
            "Cosine of the angle of {pairs} pairs of dimensions at {positions} patch columns. The "
            "first pair rotates by {fastest:.3g} radians per patch, the last by {slowest:.3g}.",
            **facts,
        )
        x_title = say("patch column")
    return base_layout(
        title, height=HEIGHT_MEDIUM, alt=alt, x_title=x_title, y_title=say("pair of dimensions")
    )


def plot_distance_kernel(kernel: np.ndarray, whose: str) -> go.Figure:
    """The score of one query and one key by the distance between them.

    Args:
        kernel: (2 * grid_h - 1, 2 * grid_w - 1) scores; distance 0 in the middle. Far distances
            are cut off to keep the near ones legible.
        whose: name of the vectors.
    """
    full = tuple(size // 2 for size in kernel.shape)
    down, across = (min(reach, MAX_DISTANCE) for reach in full)
    kernel = kernel[full[0] - down : full[0] + down + 1, full[1] - across : full[1] + across + 1]
    title = say("Score at every distance: {whose}", whose=whose)
    if (down, across) != full:
        title = say("Score up to {reach} patches away: {whose}", reach=MAX_DISTANCE, whose=whose)
    layout = base_layout(
        title,
        height=HEIGHT_MEDIUM,
        alt=say(
            "Scores by distance, {down} rows up and down and {across} columns left and right: "
            "{centre:.3g} at distance 0, from {low:.3g} to {high:.3g}.",
            down=down,
            across=across,
            centre=kernel[down, across],
            low=kernel.min(),
            high=kernel.max(),
        ),
        x_title=say("columns to the right"),
        y_title=say("rows below"),
    )
    frame_patches(layout)
    layout["meta"]["columns"] = {"z": say("score")}
    hover = say("key %{y} rows below and %{x} columns to the right<br>score %{z:.4g}")
    positions: dict[str, Any] = {
        "x": np.arange(-across, across + 1, dtype=np.int32),
        "y": np.arange(-down, down + 1, dtype=np.int32),
    }
    if float(kernel.min()) >= 0:  # scores of one sign: sequential colours
        return go.Figure(heat_map(kernel, hover, bar=say("score"), **positions), layout)
    reach = float(np.abs(kernel).max())
    return go.Figure(signed_map(kernel, hover, reach, bar=say("score"), **positions), layout)


def plot_kernel_lines(kernel: np.ndarray) -> go.Figure:
    """The same scores along the vertical and the horizontal axis.

    Args:
        kernel: (2 * grid_h - 1, 2 * grid_w - 1) scores; distance 0 in the middle.
    """
    down, across = (size // 2 for size in kernel.shape)
    layout = base_layout(
        say("The score along one column and along one row"),
        height=HEIGHT_MEDIUM,
        alt=say(
            "Two lines through distance 0, where the score is {centre:.3g}: one row down it is "
            "{below}, one column to the right {right}.",
            centre=kernel[down, across],
            below=_at(kernel[:, across], down + 1),
            right=_at(kernel[down], across + 1),
        ),
        x_title=say("distance from the query (patches)"),
        y_title=say("score"),
    )
    layout["meta"]["columns"] = {"x": say("distance"), "y": say("score")}
    lines = (
        (say("up (−) and down (+)"), kernel[:, across], down, "solid", "circle", BLUE),
        (say("left (−) and right (+)"), kernel[down], across, "dash", "diamond", ORANGE),
    )
    traces = [
        go.Scatter(
            x=np.arange(-reach, reach + 1, dtype=np.int32),
            y=np.ascontiguousarray(values, np.float32),
            name=name,
            mode="lines+markers" if len(values) <= MARKED_POINTS else "lines",
            line={"dash": dash, "width": 2, "color": color},
            marker={"symbol": symbol, "size": 5},
            hovertemplate=say("{name}: %{{x}} patches<br>score %{{y:.4g}}", name=name)
            + "<extra></extra>",
        )
        for name, values, reach, dash, symbol, color in lines
    ]
    return go.Figure(traces, layout)


def plot_patch_scores(
    scores: np.ndarray, reach: float, patch: tuple[int, int], span: int, title: str
) -> go.Figure:
    """One patch's attention scores to all patches of its image, before the softmax.

    Args:
        scores: (grid_h, grid_w).
        reach: the colours range from -reach to reach, so that two maps can be compared.
        patch: row and column of the query.
        span: index into ``ModelInputs.spans``.
        title: what to see.
    """
    rows, columns = scores.shape
    best = np.unravel_index(int(scores.argmax()), scores.shape)
    layout = patch_layout(
        title,
        say(
            "Scores of one query to {rows} by {columns} keys, from {low:.3g} to {high:.3g}; the "
            "largest is at row {best[0]}, column {best[1]}.",
            rows=rows,
            columns=columns,
            low=scores.min(),
            high=scores.max(),
            best=best,
        ),
        "patch",
        span,
    )
    layout["meta"]["columns"] = {"z": say("score")}
    hover = say("key at patch row %{y}, column %{x}<br>score %{z:.4g}")
    bar = say("attention score (before softmax)")
    cells = signed_map(scores, hover, reach, bar=bar, name=say("scores"))
    return go.Figure([cells, mark_position(patch, say("the query"))], layout)


def _at(values: np.ndarray, index: int) -> str:
    return f"{float(values[index]):.3g}" if index < len(values) else say("not available")
