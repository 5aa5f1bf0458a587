"""What the charts over a picture's patches share: square cells, and a cross in one of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go

from components.charts.style import NO_LINES
from components.look.colors import BLUE

# Room for two-digit ticks, a title and a scale. Square cells make the axes shorter, which moves
# their ticks: a chart without this room is drawn up to five times until its margins rest.
MARGIN = {"l": 46, "r": 72, "t": 8, "b": 48}


def frame_patches(layout: dict[str, Any], **margin: int) -> None:
    """Square cells, row 0 on top, that fill the frame: the axis gives way, not the aspect.

    Args:
        layout: of the figure.
        margin: sides that need other room than `MARGIN`.
    """
    layout["margin"] = MARGIN | margin
    layout["xaxis"] |= {"constrain": "domain", **NO_LINES}
    layout["yaxis"] |= {
        "scaleanchor": "x",
        "constrain": "domain",
        "autorange": "reversed",
        **NO_LINES,
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
