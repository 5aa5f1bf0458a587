"""Chart of a loop: how sure the model is of each round."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from components.charts.style import HEIGHT_SMALL, LEGEND_BELOW, base_layout, escape_label
from components.look.colors import BLUE, ORANGE
from playground.language import say

if TYPE_CHECKING:
    from playground.sampling.loops import LoopRound


def plot_rounds(rounds: Sequence[LoopRound], texts: Sequence[str], given: int) -> go.Figure:
    """Mean log-probability per token of each round, before the filters.

    Args:
        rounds: all rounds of a loop, in order.
        texts: of each round.
        given: tokens at the start of the text that were given instead of generated; a round with
            one of them is marked.
    """
    figure = go.Figure()
    kinds = (
        (say("generated"), BLUE, "circle", [each.start >= given for each in rounds]),
        (say("given"), ORANGE, "square-open", [each.start < given for each in rounds]),
    )
    for name, color, symbol, has in kinds:
        numbers = [number for number, shown in enumerate(has) if shown]
        if not numbers:
            continue
        figure.add_scatter(
            x=np.array(numbers, dtype=np.int32) + 1,
            y=np.array([rounds[number].mean_log_prob for number in numbers], dtype=np.float32),
            name=name,
            mode="lines+markers",
            line={"color": color, "width": 2},
            marker={"symbol": symbol, "size": 7},
            customdata=[
                [escape_label(texts[number]), rounds[number].start + 1, rounds[number].log_prob]
                for number in numbers
            ],
            hovertemplate=say(
                "round %{x}, from token %{customdata[1]}: “%{customdata[0]}”<br>%{y:.3f} nats per "
                "token, %{customdata[2]:.3f} nats in all<extra></extra>"
            ),
        )
    first, last = rounds[0].mean_log_prob, rounds[-1].mean_log_prob
    figure.update_layout(
        base_layout(
            say("Log-probability of each round"),
            height=HEIGHT_SMALL + 60,
            alt=say(
                "Mean log-probability per token of {count} rounds: {first:.2f} nats in the first, "
                "{last:.2f} in the last.",
                count=len(rounds),
                first=first,
                last=last,
            ),
            x_title=say("Round"),
            y_title=say("Mean log-probability (nats per token)"),
        ),
        legend=LEGEND_BELOW,
        showlegend=len(figure.data) > 1,
    )
    figure.update_yaxes(rangemode="tozero")
    figure.layout.meta["columns"] = {
        "customdata": [say("Text"), say("First token"), say("Log-probability (nats)")]
    }
    return figure
