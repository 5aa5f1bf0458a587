"""Charts of a mixture of experts: which experts process which token."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from components.charts.heat_map import heat_map, hide_lines
from components.charts.style import HEIGHT_MEDIUM, base_layout, pointer_meta
from playground.language import say

MAX_CELLS = 30_000  # of a map: 160 kB of float32 in base64


def plot_expert_path(weights: np.ndarray, layers: Sequence[int], token: str) -> go.Figure:
    """The experts selected for one token, layer by layer.

    Args:
        weights: (layers, experts) share of each expert in the layer's output, 0 if not selected.
        layers: the decoder layers.
        token: the name of the token, escaped.
    """
    rows, experts = weights.shape
    layout = base_layout(
        say("Experts selected for {token}", token=token),
        height=int(np.clip(110 + 18 * rows, 260, 520)),
        alt=say(
            "Map of {layers} layers by {experts} experts; {chosen} are selected in each layer.",
            layers=rows,
            experts=experts,
            chosen=int((weights > 0).sum(axis=1).max()),
        ),
        x_title=say("expert"),
        y_title=say("decoder layer"),
    )
    hide_lines(layout)
    named = range(0, rows, max(1, rows // 14))
    layout["yaxis"] |= {"tickvals": list(named), "ticktext": [str(layers[row]) for row in named]}
    layout["meta"]["columns"] = {"x": say("expert"), "y": say("row"), "z": say("weight")}
    return go.Figure(_weights_map(weights, say("layer %{y}")), layout)


def plot_expert_layer(weights: np.ndarray, indices: np.ndarray, layer: int) -> go.Figure:
    """The experts of one layer that process each token.

    Args:
        weights: (experts, n) share of each expert, 0 if not selected.
        indices: (n,) sequence indices of the columns.
        layer: the decoder layer.
    """
    experts, count = weights.shape
    busy = int((weights > 0).any(axis=1).sum())
    layout = base_layout(
        say(
            "Layer {layer}: {busy} of {experts} experts are used",
            layer=layer,
            busy=busy,
            experts=experts,
        ),
        height=HEIGHT_MEDIUM,
        alt=say(
            "Map of {experts} experts by {tokens} tokens; {busy} experts are selected at least "
            "once.",
            experts=experts,
            tokens=count,
            busy=busy,
        ),
        x_title=say("sequence index"),
        y_title=say("expert"),
    )
    hide_lines(layout)
    layout["meta"]["pointer"] = pointer_meta("token")
    layout["meta"]["columns"] = {"x": say("index"), "y": say("expert"), "z": say("weight")}
    cells = _weights_map(weights, say("expert %{y}<br>token %{x}"))
    cells.x = indices.astype(np.int32)
    return go.Figure(cells, layout)


def _weights_map(weights: np.ndarray, where: str) -> go.Heatmap:
    # An expert that is not selected has no weight at all: NaN leaves its cell empty.
    shown = np.where(weights > 0, weights, np.nan)
    hover = f"{where}<br>{say('weight %{z:.1%}')}"
    return heat_map(
        shown, hover, bar=say("weight"), percent=True, zmin=0, zmax=1, hoverongaps=False
    )
