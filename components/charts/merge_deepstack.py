"""Chart of DeepStack: which tap is added at which positions after which decoder layer."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from components.charts.style import HEIGHT_MEDIUM, base_layout, pointer_meta
from components.look.colors import BLUE, GREEN, ORANGE, PURPLE, SKY
from playground.language import say

TAP_COLORS = (PURPLE, BLUE, GREEN, SKY)


def plot_deepstack_routes(visual: np.ndarray, taps: Sequence[int], num_layers: int) -> go.Figure:
    """Where vision features enter the decoder: one row for the input and one per layer.

    Args:
        visual: (seq,) bool: the positions of visual tokens.
        taps: vision block of each tap; tap ``k`` is added after decoder layer ``k``.
        num_layers: decoder layers.
    """
    layout = base_layout(
        say("Vision features enter the decoder only at visual positions and in the first layers"),
        height=HEIGHT_MEDIUM,
        alt=_describe_routes(visual, len(taps), num_layers),
        x_title=say("sequence index"),
    )
    words = [say("input: merger")] + [
        say("layer {layer}: + tap {tap}", layer=layer, tap=layer + 1)
        if layer < len(taps)
        else say("layer {layer}", layer=layer)
        for layer in range(num_layers)
    ]
    named = _named_rows(len(taps), num_layers)
    layout["yaxis"] |= {
        "range": [-1.6, num_layers - 0.4],
        "tickvals": named,
        "ticktext": [words[row + 1] for row in named],
        "zeroline": False,
    }
    layout["xaxis"] |= {"range": [-0.5, len(visual) - 0.5], "zeroline": False}
    layout["meta"]["pointer"] = pointer_meta("token", axis="x")
    layout["meta"]["columns"] = {"x": say("index"), "y": say("layer")}
    return go.Figure(_route_rows(visual, taps), layout)


def _describe_routes(visual: np.ndarray, num_taps: int, num_layers: int) -> str:
    counts = {"positions": len(visual), "visual": int(visual.sum()), "layers": num_layers}
    if not num_taps:
        return say(
            "Map of {layers} decoder layers by {positions} sequence positions: the merger output "
            "enters below the first layer at {visual} visual positions; nothing else is added.",
            **counts,
        )
    return say(
        "Map of {layers} decoder layers by {positions} sequence positions: the merger output "
        "enters below the first layer, taps 1 to {taps} after layers 0 to {last}, each at "
        "{visual} visual positions.",
        taps=num_taps,
        last=num_taps - 1,
        **counts,
    )


def _route_rows(visual: np.ndarray, taps: Sequence[int]) -> list[go.Heatmap]:
    """One row of cells for the merger, and one for each tap, in its own colour."""
    names = [say("the merger output is part of the decoder's input")] + [
        say(
            "tap {tap} (vision block {block}) is added after layer {layer}",
            tap=layer + 1,
            block=block,
            layer=layer,
        )
        for layer, block in enumerate(taps)
    ]
    colors = [ORANGE, *(TAP_COLORS[tap % len(TAP_COLORS)] for tap in range(len(taps)))]
    z = np.where(visual, 1.0, np.nan).astype(np.float32)[None]
    return [
        go.Heatmap(
            z=z,
            # One row with one cell per position, so x0 and dx replace a list of positions.
            x0=0,
            dx=1,
            y0=row - 1,
            dy=1,
            name=name,
            colorscale=[[0, color], [1, color]],
            showscale=False,
            ygap=2,
            hoverongaps=False,
            hovertemplate=say("token %{{x}}: {name}", name=name) + "<extra></extra>",
        )
        for row, (name, color) in enumerate(zip(names, colors, strict=True))
    ]


def _named_rows(num_taps: int, num_layers: int) -> list[int]:
    """Rows with a label: the input, the layers with a tap, and some of the others."""
    step = max(1, num_layers // 6)
    others = list(range(num_taps, num_layers - 1, step))
    return [-1, *range(num_taps), *others[1 if step > 1 else 0 :], num_layers - 1]
