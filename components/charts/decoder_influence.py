"""Charts of occlusion (Zeiler and Fergus 2014), and of its agreement with attention."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from components.charts.heat_map import hide_lines, signed_map
from components.charts.patch_map import patch_layout
from components.charts.style import base_layout
from playground.language import say


def plot_influence(drop: np.ndarray, block: int, token: str, span: int) -> go.Figure:
    """The drop in an answer token's log-probability when a part of the image is masked.

    Args:
        drop: (rows, columns) nats: log p with the part - log p with the part masked.
        block: tokens along each side of the block in the middle of a part.
        token: the answer token, escaped.
        span: index into ``ModelInputs.spans``.
    """
    largest = max(float(np.abs(drop).max()), 1e-6)
    row, column = np.unravel_index(int(drop.argmax()), drop.shape)
    layout = patch_layout(
        say(
            "What “{token}” depends on: drop in log-probability when a part is masked", token=token
        ),
        say(
            "Map of {rows} by {columns} parts of the image; the largest drop, {nats:.3g} nats, is "
            "at row {row}, column {column}.",
            rows=drop.shape[0],
            columns=drop.shape[1],
            nats=float(drop.max()),
            row=row,
            column=column,
        ),
        "merged",
        span,
        height=380,
    )
    middles = [
        (np.arange(size) * block + (block - 1) / 2).astype(np.float32) for size in drop.shape
    ]
    layout["meta"]["columns"] = {
        "x": say("column"),
        "y": say("row"),
        "z": say("log-probability drop (nats)"),
    }
    hover = say("row %{y}, column %{x}<br>drop of %{z:.3g} nats when masked")
    parts = signed_map(
        drop,
        hover,
        largest,
        bar=say("log-probability drop (nats)"),
        x=middles[1],
        y=middles[0],
        zmid=0,
    )
    return go.Figure(parts, layout)


def plot_agreement(agreement: np.ndarray) -> go.Figure:
    """The rank correlation of each head's attention with the occlusion drops.

    Args:
        agreement: (layers, heads) rank correlation; NaN where a head's attention is uniform.
    """
    layers, heads = agreement.shape
    words = say("attention is uniform in every head")
    if not np.isnan(agreement).all():
        layer, head = np.unravel_index(int(np.nanargmax(agreement)), agreement.shape)
        words = say(
            "layer {layer}, head {head} agrees most, {correlation:.2f}",
            layer=layer,
            head=head,
            correlation=float(agreement[layer, head]),
        )
    layout = base_layout(
        say("Rank correlation between attention and occlusion: {found}", found=words),
        height=int(np.clip(120 + 22 * layers, 260, 520)),
        alt=say(
            "Map of {layers} layers by {heads} heads; {found}.",
            layers=layers,
            heads=heads,
            found=words,
        ),
        x_title=say("head"),
        y_title=say("decoder layer"),
    )
    hide_lines(layout)
    layout["xaxis"] |= {"dtick": 1 if heads <= 16 else 4}
    layout["yaxis"] |= {"dtick": max(1, layers // 14)}
    name = say("rank correlation")
    layout["meta"]["columns"] = {"x": say("head"), "y": say("layer"), "z": name}
    hover = say("layer %{y}, head %{x}<br>rank correlation %{z:.2f}")
    return go.Figure(signed_map(agreement, hover, 1, bar=name, zmid=0, hoverongaps=False), layout)
