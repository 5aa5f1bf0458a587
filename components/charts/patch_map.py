"""What the charts over a picture's patches share: square cells, and a cross in one of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go

from components.chart_style import BLUE


def frame_patches(layout: dict[str, Any]) -> None:
    """Square cells, row 0 on top, that fill the frame: the axis gives way, not the aspect."""
    layout["xaxis"] |= {"constrain": "domain", "showgrid": False, "zeroline": False}
    layout["yaxis"] |= {
        "scaleanchor": "x",
        "constrain": "domain",
        "autorange": "reversed",
        "showgrid": False,
        "zeroline": False,
    }


def mark_place(place: tuple[int, int], name: str) -> go.Scatter:
    """A cross at one row and column of such cells."""
    return go.Scatter(
        x=np.array([place[1]], np.int32),
        y=np.array([place[0]], np.int32),
        name=name,
        mode="markers",
        marker={"symbol": "x", "size": 9, "color": BLUE, "line": {"color": "#fff", "width": 1}},
        hoverinfo="skip",
        showlegend=False,
    )
