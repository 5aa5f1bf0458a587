"""Chart of rounded weights: how far rounding moves them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from components.charts.style import base_layout
from components.look.colors import BLUE
from playground.language import say

ROW_HEIGHT = 34  # pixels per part of the model


def plot_weight_errors(
    errors: Sequence[float], names: Sequence[str], formats: Sequence[str]
) -> go.Figure:
    """The relative error of the rounded weights, part by part.

    Args:
        errors: Frobenius norm of the change over that of the weights, of each rounded part.
        names: of the parts.
        formats: their formats in words.
    """
    most = int(np.argmax(errors))
    found = say("{part} moves most, by {error:.2%}", part=names[most], error=errors[most])
    layout = base_layout(
        say("Error of the weights: {found}", found=found),
        height=110 + ROW_HEIGHT * len(names),
        alt=say("Bars for {count} parts of the model; {found}.", count=len(names), found=found),
        x_title=say("norm of the change ÷ norm of the weights"),
        y_title=say("part of the model"),
    )
    layout["margin"]["r"] = 30
    layout["xaxis"] |= {"tickformat": ".2~p", "range": [0, 1.25 * max(*errors, 1e-6)]}
    layout["yaxis"] |= {"autorange": "reversed", "showgrid": False}
    layout["meta"]["columns"] = {"y": say("Part"), "customdata": say("Format")}
    bars = go.Bar(
        x=np.array(errors, np.float32),
        y=list(names),
        orientation="h",
        marker={"color": BLUE},
        text=[f"{error:.2%}" for error in errors],
        textposition="outside",
        cliponaxis=False,
        customdata=list(formats),
        hovertemplate="%{y}, %{customdata}: %{x:.4%}<extra></extra>",
    )
    return go.Figure(bars, layout)
