"""Charts of a mixture of experts: who worked on which token."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go

from components.chart_style import HEIGHT_MEDIUM, SEQUENTIAL, base_layout, pointer_meta

MAX_CELLS = 30_000  # of a map: 160 kB of float32 in base64


def plot_expert_path(weights: np.ndarray, layers: Sequence[int], place: str) -> go.Figure:
    """Which experts one token goes through, layer by layer.

    Args:
        weights: (layers, experts) share of each expert in the layer's output, 0 if not chosen.
        layers: the decoder layers.
        place: the token in words, escaped.
    """
    rows, experts = weights.shape
    layout = base_layout(
        f"The experts that {place} goes through",
        height=int(np.clip(110 + 18 * rows, 260, 520)),
        alt=f"Map of {rows} layers by {experts} experts; "
        f"{int((weights > 0).sum(axis=1).max())} are chosen in each layer.",
        x_title="expert",
        y_title="decoder layer",
    )
    _plain_axes(layout)
    layout["yaxis"] |= {
        "tickvals": list(range(rows))[:: max(1, rows // 14)],
        "ticktext": [str(layer) for layer in layers][:: max(1, rows // 14)],
    }
    layout["meta"]["columns"] = {"x": "expert", "y": "row", "z": "weight"}
    return go.Figure(_weights_map(weights, "layer %{y}"), layout)


def plot_expert_layer(weights: np.ndarray, indices: np.ndarray, layer: int) -> go.Figure:
    """Which experts of one layer work on which token.

    Args:
        weights: (experts, n) share of each expert, 0 if not chosen.
        indices: (n,) sequence indices of the columns.
        layer: the decoder layer.
    """
    experts, count = weights.shape
    busy = int((weights > 0).any(axis=1).sum())
    layout = base_layout(
        f"Layer {layer}: {busy} of {experts} experts are at work",
        height=HEIGHT_MEDIUM,
        alt=f"Map of {experts} experts by {count} tokens; {busy} experts are chosen at least once.",
        x_title="sequence index",
        y_title="expert",
    )
    _plain_axes(layout)
    layout["meta"]["pointer"] = pointer_meta("token")
    layout["meta"]["columns"] = {"x": "index", "y": "expert", "z": "weight"}
    heat_map = _weights_map(weights, "expert %{y}<br>token %{x}")
    heat_map.x = indices.astype(np.int32)
    return go.Figure(heat_map, layout)


def _plain_axes(layout: dict[str, dict[str, object]]) -> None:
    for axis in ("xaxis", "yaxis"):
        layout[axis] |= {"showgrid": False, "zeroline": False}


def _weights_map(weights: np.ndarray, where: str) -> go.Heatmap:
    # An expert that is not chosen has no weight at all: left out, it shows the ground.
    shown = np.where(weights > 0, weights, np.nan).astype(np.float32)
    return go.Heatmap(
        z=shown,
        zmin=0,
        zmax=1,
        colorscale=SEQUENTIAL,
        colorbar={"title": {"text": "weight"}, "tickformat": ".0%"},
        hoverongaps=False,
        hovertemplate=f"{where}<br>weight %{{z:.1%}}<extra></extra>",
    )
