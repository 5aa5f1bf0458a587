"""Chart of the decoder's residual stream: the norm of each token's hidden state at each layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go

from components.charts.decoder import LAYERS_MARGIN, layer_ticks
from components.charts.heat_map import heat_map, hide_lines
from components.charts.style import HEIGHT_LARGE, base_layout, pointer_meta, span_label
from components.look.colors import KIND_COLORS, SEQUENTIAL, ColorScale
from components.views.images import color_values
from playground.language import say

COLOR_STOPS = 33  # of a logarithmic colour scale: steps of 1/32 are not visible


def plot_residual_norms(
    norms: np.ndarray,
    labels: Sequence[str],
    spans: Sequence[tuple[int, int, str]],
    num_deepstack: int,
    indices: np.ndarray | None = None,
) -> go.Figure:
    """Norm of the residual stream per layer and position, on a logarithmic colour scale.

    Args:
        norms: (layers + 1, n): row i is the input of layer i, the last row that of the final norm.
        labels: n escaped texts.
        indices: (n,) sequence index of each column; all by default.
        spans: first index, one past the last, and the name (or "") of each image or frame.
        num_deepstack: layers 0 .. num_deepstack - 1 are followed by a DeepStack addition.
    """
    rows, seq = norms.shape
    indices = np.arange(seq) if indices is None else indices
    low, high = max(float(norms.min()), 1e-6), float(norms.max())
    layout = base_layout(
        say("Residual stream: norm of each token's hidden state at each layer"),
        height=int(np.clip(90 + 16 * rows, 280, HEIGHT_LARGE)),
        alt=say(
            "Heat map of {rows} layers by {positions} positions; norms from {low:.3g} to "
            "{high:.3g}.",
            rows=rows,
            positions=seq,
            low=low,
            high=high,
        ),
        x_title=say("sequence index"),
        y_title=say("input of layer"),
    )
    _frame_layers(layout, rows, int(indices[-1]), num_deepstack)
    layout["shapes"] = [_span_bar(start, end) for start, end, _ in spans]
    layout["annotations"] = [
        span_label(*span, y=1.03, anchor="bottom") for span in spans if span[2]
    ]
    cells = heat_map(
        norms,
        say("norm %{z:.4g} at the input of layer %{y}"),
        x=indices.astype(np.int32),
        zmin=low,
        zmax=high,
        colorscale=log_colorscale(low, high),
        name=say("norm"),
    )
    return go.Figure([cells, _token_trace(indices, labels, low, high)], layout)


def _frame_layers(layout: dict[str, Any], rows: int, last: int, num_deepstack: int) -> None:
    """Set up the axes: layers upwards, the sequence to the right."""
    layout["margin"] |= LAYERS_MARGIN | {"t": 30}
    hide_lines(layout)
    # One label for both traces, so that each token's text is sent once and not for every layer.
    layout["hovermode"] = "x unified"
    position = {"text": say("position %{x}")}
    layout["xaxis"] |= {"range": [-0.5, last + 0.5], "unifiedhovertitle": position}
    layout["yaxis"] |= {"range": [-0.5, rows - 0.5]}
    layout["yaxis"] |= layer_ticks(rows, num_deepstack, every=max(1, rows // 14))
    layout["meta"]["pointer"] = pointer_meta("token")


def log_colorscale(low: float, high: float) -> ColorScale:
    """The sequential scale on a logarithmic axis, from low to high.

    The heat map keeps its real values, so that its hover text shows them.
    """
    if not 0 < low < high:
        return SEQUENTIAL
    steps = np.linspace(0, 1, COLOR_STOPS)
    values = low * (high / low) ** steps
    stops = ((values - low) / (high - low)).clip(0, 1)
    colors = color_values(steps[None], SEQUENTIAL, 0, 1)[0]
    return [
        (float(stop), f"rgb({red},{green},{blue})")
        for stop, (red, green, blue) in zip(stops, colors, strict=True)
    ]


def _token_trace(indices: np.ndarray, labels: Sequence[str], low: float, high: float) -> go.Scatter:
    """Invisible points with each position's token, and the logarithmic colour bar."""
    exponents = np.log10([low, max(high, low * 1.001)])
    ticks = _log_ticks(low, high)
    return go.Scatter(
        x=indices.astype(np.int32),
        y=np.full(len(labels), -0.5, np.float32),
        mode="markers",
        name=say("token"),
        showlegend=False,
        customdata=list(labels),
        marker={
            "opacity": 0,
            "color": np.full(len(labels), exponents[0], np.float32),
            "cmin": float(exponents[0]),
            "cmax": float(exponents[1]),
            "colorscale": SEQUENTIAL,
            "showscale": True,
            "colorbar": {
                "title": {"text": say("norm (log scale)")},
                "tickvals": np.log10(ticks).tolist(),
                "ticktext": [f"{tick:g}" for tick in ticks],
            },
        },
        hovertemplate=say("token %{customdata}") + "<extra></extra>",
    )


def _log_ticks(low: float, high: float) -> list[float]:
    """Round numbers from low to high: 1, 2, 5 times powers of ten; fewer in a wide range."""
    first, last = int(np.floor(np.log10(low))), int(np.ceil(np.log10(high)))
    factors = (1, 2, 5) if last - first <= 3 else (1,)
    ticks = [factor * 10.0**power for power in range(first, last + 1) for factor in factors]
    return [tick for tick in ticks if low <= tick <= high] or [low, high]


def _span_bar(start: int, end: int) -> dict[str, Any]:
    """A bar above the heat map that marks an image."""
    return {
        "type": "rect",
        "x0": start - 0.5,
        "x1": end - 0.5,
        "y0": 1.01,
        "y1": 1.03,
        "yref": "paper",
        "fillcolor": KIND_COLORS["image"],
        "line": {"width": 0},
    }
