"""What the charts of coloured cells share: axes without lines, a colour bar, words on hover."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go

from components.charts.style import NO_LINES
from components.look.colors import DIVERGING, SEQUENTIAL


def hide_lines(layout: dict[str, Any]) -> None:
    """Take the lines off both axes of a layout."""
    for axis in ("xaxis", "yaxis"):
        layout[axis] |= NO_LINES


def heat_map(
    values: np.ndarray, hover: str, *, bar: str = "", percent: bool = False, **more: Any
) -> go.Heatmap:
    """Cells from dark for small values to bright for large ones.

    Args:
        values: (rows, columns).
        hover: the words of a cell, a template of Plotly's.
        bar: what the values are, above the colour bar; without it there is none.
        percent: write the values beside the bar in percent.
        more: of ``go.Heatmap``.
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
        hover: the words of a cell, a template of Plotly's.
        reach: the colours go from minus this to plus this.
        more: of ``heat_map``.
    """
    return heat_map(values, hover, zmin=-reach, zmax=reach, colorscale=DIVERGING, **more)
