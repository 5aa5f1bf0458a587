"""Heat maps for all charts: axes without grid lines, a colour bar, hover text."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go

from components.charts.style import NO_LINES
from components.look.colors import DIVERGING, SEQUENTIAL


def hide_lines(layout: dict[str, Any]) -> None:
    """Remove the grid lines of both axes of a layout."""
    for axis in ("xaxis", "yaxis"):
        layout[axis] |= NO_LINES


def heat_map(
    values: np.ndarray, hover: str, *, bar: str = "", percent: bool = False, **more: Any
) -> go.Heatmap:
    """Cells from dark for small values to bright for large ones.

    Args:
        values: (rows, columns).
        hover: the hover text of a cell, a Plotly template.
        bar: title of the colour bar; without it there is no colour bar.
        percent: write the ticks of the colour bar in percent.
        more: arguments of ``go.Heatmap``.
    """
    scale: dict[str, Any] = {"showscale": False}
    if bar:
        ticks = {"tickformat": ".0%"} if percent else {}
        scale = {"colorbar": {"title": {"text": bar}} | ticks}
    return go.Heatmap(
        z=np.ascontiguousarray(values, np.float32),
        hovertemplate=hover + "<extra></extra>",
        **{"colorscale": SEQUENTIAL} | scale | more,
    )


def signed_map(values: np.ndarray, hover: str, reach: float, **more: Any) -> go.Heatmap:
    """Cells in one colour below zero and another above it.

    Args:
        values: (rows, columns).
        hover: the hover text of a cell, a Plotly template.
        reach: the colours range from minus this value to plus this value.
        more: arguments of ``heat_map``.
    """
    return heat_map(values, hover, zmin=-reach, zmax=reach, colorscale=DIVERGING, **more)
