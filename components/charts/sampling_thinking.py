"""Chart of cut thinking: the answer's probability after every n thinking tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from components.charts.style import HEIGHT_MEDIUM, base_layout, vertical_line
from components.look.colors import BLUE, PURPLE
from playground.language import say

if TYPE_CHECKING:
    from playground.experiments.thinking import ThinkingCurve


def plot_curve(curve: ThinkingCurve) -> go.Figure:
    """Probability of the whole answer after the first n thinking tokens and ``</think>``."""
    nats = np.array([cut.log_prob for cut in curve.cuts])
    probs = np.exp(nats).astype(np.float32)
    figure = go.Figure(
        go.Scatter(
            x=np.array([cut.num_thinking for cut in curve.cuts], dtype=np.int32),
            y=probs,
            mode="lines+markers",
            line={"color": BLUE, "width": 2},
            marker={"size": 7},
            customdata=nats[:, None].astype(np.float32),
            hovertemplate=say(
                "after %{x} thinking tokens: %{y:.2%} (%{customdata[0]:.2f} nats)<extra></extra>"
            ),
        )
    )
    figure.update_layout(
        base_layout(
            say("The answer's probability when the thinking is cut"),
            height=HEIGHT_MEDIUM,
            alt=say(
                "Probability of the answer after n thinking tokens: {first:.1%} without thinking, "
                "{last:.1%} after {count} tokens.",
                first=float(probs[0]),
                last=float(probs[-1]),
                count=curve.cuts[-1].num_thinking,
            ),
            x_title=say("Thinking tokens before the cut"),
            y_title=say("Probability of the whole answer"),
        )
    )
    figure.update_yaxes(range=[0, 1.05], tickformat=".0%")
    if curve.settled_at is not None:
        figure.update_layout(
            shapes=[vertical_line(curve.settled_at, color=PURPLE, width=2, dash="dot")]
        )
    figure.layout.meta["columns"] = {"customdata": [say("Log-probability (nats)")]}
    return figure
