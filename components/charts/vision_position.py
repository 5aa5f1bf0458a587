"""Charts of the vision tower's position grid."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import plotly.graph_objects as go

from components.charts.heat_map import heat_map
from components.charts.patch_map import frame_patches, patch_layout
from components.charts.style import FONT_SIZE_PX, HEIGHT_MEDIUM, base_layout
from components.look.colors import ORANGE
from components.views.images import image_uri
from playground.language import say

MAX_DOTS = 1_000  # patch positions drawn on the grid; more would hide it
CLOSE_UP = 1.0  # margin of the close-up around the four entries, in entries
LABEL_SHIFT = 24  # pixels from an entry to its weight label, away from the patch
GRID_PIXELS = 240  # approximate side of the drawn grid, to size the markers
PAIR_HEIGHT = 44  # pixels for the two bars of one token
DARK, LIGHT = "#10131a", "#ffffff"  # outline and fill of markers on coloured cells


def plot_position_grid(
    colors: np.ndarray, positions: np.ndarray, patch: tuple[int, int], indices: np.ndarray
) -> go.Figure:
    """The learned grid as colours, the positions of the image's patches, and one patch's entries.

    Args:
        colors: (side, side, 3) uint8: the entries.
        positions: (grid_h, grid_w, 2) row and column on the grid of every patch, in entries.
        patch: row and column of the patch to mark.
        indices: (4,) the entries that it is interpolated from.
    """
    side = len(colors)
    row, column = (float(value) for value in positions[patch])
    grid_h, grid_w = positions.shape[:2]
    layout = base_layout(
        say("The learned grid, {side} × {side} entries, and where the patches fall", side=side),
        height=HEIGHT_MEDIUM,
        alt=say(
            "The {side} by {side} learned position embeddings as colours. The image's {down} by "
            "{across} patches are stretched over them; patch row {patch[0]}, column {patch[1]} "
            "falls at grid row {row:.2f}, column {column:.2f}.",
            side=side,
            down=grid_h,
            across=grid_w,
            patch=patch,
            row=row,
            column=column,
        ),
        x_title=say("grid column (entry)"),
        y_title=say("grid row (entry)"),
    )
    _frame_grid(layout, (-0.5, side - 0.5), (-0.5, side - 0.5))
    shown, name = _thin_positions(positions)
    layout["meta"]["columns"] = {
        "x": say("grid column"),
        "y": say("grid row"),
        "customdata": say("entry"),
    }
    traces = [
        _grid_image(colors),
        go.Scatter(
            x=shown[:, 1],
            y=shown[:, 0],
            name=name,
            mode="markers",
            marker={"size": 4, "color": LIGHT, "line": {"color": DARK, "width": 1}},
            hovertemplate=say("a patch falls at grid row %{y:.2f}, column %{x:.2f}")
            + "<extra></extra>",
        ),
        _neighbour_marks(np.unique(indices), side),
        _position_mark(row, column, patch),
    ]
    return go.Figure(traces, layout)


def plot_neighbours(
    colors: np.ndarray,
    position: np.ndarray,
    patch: tuple[int, int],
    indices: np.ndarray,
    weights: np.ndarray,
) -> go.Figure:
    """A close-up of the grid around one patch: four entries and their weights.

    Args:
        colors: (side, side, 3) uint8: the entries.
        position: (2,) row and column on the grid where the patch falls, in entries.
        patch: its row and column in the image.
        indices: (4,) the entries.
        weights: (4,) float32; weights of an entry that is repeated at the border are summed.
    """
    side = len(colors)
    row, column = (float(value) for value in position)
    entries = {int(index): float(weights[indices == index].sum()) for index in indices}
    heaviest = max(entries, key=lambda index: entries[index])
    layout = base_layout(
        say(
            "Close-up: patch row {patch[0]}, column {patch[1]} is interpolated from the "
            "surrounding entries",
            patch=patch,
        ),
        height=HEIGHT_MEDIUM,
        alt=say(
            "Grid row {row:.2f}, column {column:.2f} lies between {entries}; entry {heaviest} has "
            "the largest weight.",
            row=row,
            column=column,
            entries=say(", ").join(
                say("entry {entry} (weight {weight:.3f})", entry=index, weight=share)
                for index, share in entries.items()
            ),
            heaviest=heaviest,
        ),
        x_title=say("grid column (entry)"),
        y_title=say("grid row (entry)"),
    )
    top, left = math.floor(row), math.floor(column)
    _frame_grid(
        layout, (left - CLOSE_UP, left + 1 + CLOSE_UP), (top - CLOSE_UP, top + 1 + CLOSE_UP)
    )
    layout["xaxis"] |= {"dtick": 1}
    layout["yaxis"] |= {"dtick": 1}
    layout["meta"]["columns"] = {"customdata": [say("entry"), say("weight")]}
    # The view moves with the patch, so a kept zoom would show the wrong entries.
    layout["meta"]["uirevision"] = f"{top},{left}"
    layout["annotations"] = _weight_labels(entries, side, top, left)
    lines = _weight_lines(entries, side, row, column)
    mark = _position_mark(row, column, patch).update(showlegend=False)
    return go.Figure([_grid_image(colors), *lines, mark], layout)


def _weight_labels(
    entries: dict[int, float], side: int, top: int, left: int
) -> list[dict[str, Any]]:
    """Each entry's weight, next to it on the side away from the patch."""
    return [
        {
            "x": index % side,
            "y": index // side,
            "text": f"<b>× {share:.3f}</b><br>{say('entry {entry}', entry=index)}",
            "showarrow": False,
            "xshift": -LABEL_SHIFT if index % side == left else LABEL_SHIFT,
            "yshift": LABEL_SHIFT if index // side == top else -LABEL_SHIFT,
            "font": {"size": FONT_SIZE_PX - 1, "color": DARK},
            "bgcolor": "rgba(255,255,255,0.82)",
            "borderpad": 2,
        }
        for index, share in entries.items()
    ]


def _weight_lines(
    entries: dict[int, float], side: int, row: float, column: float
) -> list[go.Scatter]:
    """Lines from the patch to each entry with a weight above 0, thicker for larger weights."""
    return [
        go.Scatter(
            x=np.array([column, index % side], np.float32),
            y=np.array([row, index // side], np.float32),
            mode="lines",
            line={"color": LIGHT, "width": 1 + 9 * share},
            opacity=0.85,
            hoverinfo="skip",
            showlegend=False,
            name=say("entry {entry}", entry=index),
            customdata=[[index, share]] * 2,
        )
        for index, share in entries.items()
        if share > 0
    ]


def plot_position_similarity(
    similarity: np.ndarray, patch: tuple[int, int], span: int
) -> go.Figure:
    """Cosine similarity of one patch's position embedding to that of every other patch.

    Args:
        similarity: (grid_h, grid_w) cosine similarity.
        patch: row and column of the patch.
        span: index into ``ModelInputs.spans``.
    """
    rows, columns = similarity.shape
    layout = patch_layout(
        say(
            "Position similarity to patch row {patch[0]}, column {patch[1]}: bright means similar",
            patch=patch,
        ),
        say(
            "Cosine similarity of one position embedding to those of {rows} by {columns} patches, "
            "from {low:.2f} to 1.",
            rows=rows,
            columns=columns,
            low=similarity.min(),
        ),
        "patch",
        span,
    )
    name = say("cosine similarity")
    layout["meta"]["columns"] = {"z": name}
    hover = say("patch row %{y}, column %{x}<br>cosine similarity %{z:.3f}")
    low = min(0.0, float(similarity.min()))
    return go.Figure(heat_map(similarity, hover, bar=name, zmin=low, zmax=1.0), layout)


def _frame_grid(
    layout: dict[str, Any], columns: tuple[float, float], rows: tuple[float, float]
) -> None:
    frame_patches(layout, l=8, r=8)  # there is no colour bar, and the legend needs the width
    layout["xaxis"] |= {"range": list(columns)}
    layout["yaxis"].pop("autorange")
    layout["yaxis"] |= {"range": [rows[1], rows[0]]}


def _thin_positions(positions: np.ndarray) -> tuple[np.ndarray, str]:
    """Every n-th row and column, to limit the number of dots, and their name in the legend."""
    step = math.ceil(math.sqrt(positions.shape[0] * positions.shape[1] / MAX_DOTS))
    kept = np.ascontiguousarray(positions[::step, ::step].reshape(-1, 2), np.float32)
    if step == 1:
        return kept, say("patches of the image")
    return kept, say("patches of the image (1 in {step} rows and columns)", step=step)


def _grid_image(colors: np.ndarray) -> go.Image:
    name = say("learned grid")
    return go.Image(source=image_uri(colors, exact=True), name=name, hoverinfo="skip")


def _neighbour_marks(indices: np.ndarray, side: int) -> go.Scatter:
    return go.Scatter(
        x=(indices % side).astype(np.float32),
        y=(indices // side).astype(np.float32),
        name=say("surrounding entries"),
        mode="markers",
        marker={
            "symbol": "square",
            "size": min(13.0, max(6.0, 0.8 * GRID_PIXELS / side)),
            "color": LIGHT,
            "line": {"color": DARK, "width": 1.5},
        },
        customdata=indices.astype(np.int32),
        hovertemplate=say("entry %{customdata}: grid row %{y}, column %{x}") + "<extra></extra>",
    )


def _position_mark(row: float, column: float, patch: tuple[int, int]) -> go.Scatter:
    return go.Scatter(
        x=np.array([column], np.float32),
        y=np.array([row], np.float32),
        name=say("patch row {patch[0]}, column {patch[1]}", patch=patch),
        mode="markers",
        marker={"symbol": "x", "size": 12, "color": ORANGE, "line": {"color": DARK, "width": 1}},
        hovertemplate=say("grid row %{y:.3f}, column %{x:.3f}") + "<extra></extra>",
    )
