"""Charts of what the decoder's layers add, and of one token's probability by layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import plotly.graph_objects as go

from components.charts.heat_map import heat_map, hide_lines
from components.charts.style import HEIGHT_MEDIUM, base_layout, pointer_meta, vertical_line
from components.look.colors import BLUE, GREEN, GREY, ORANGE
from playground.language import say

if TYPE_CHECKING:
    from playground.decoder.updates import LayerUpdates

LEAST_PROB = 1e-9  # lower end of the log axis of a probability
MAX_TEXT_CELLS = 400  # more texts than this cannot be read on an image


def plot_layer_updates(updates: LayerUpdates, token: str) -> go.Figure:
    """The norm that each module adds, relative to the layer's input.

    Args:
        updates: norms at one position.
        token: the name of the token, such as ``token 12 "red"``, escaped.
    """
    layers = np.arange(len(updates.residual), dtype=np.int32)
    residual = np.maximum(updates.residual, 1e-12)
    parts = (
        (say("attention"), updates.attention, BLUE, "circle", "solid"),
        ("MLP", updates.mlp, GREEN, "square", "dash"),
        ("DeepStack", updates.deepstack, ORANGE, "diamond", "dot"),
    )
    largest = max(parts, key=lambda part: float((part[1] / residual).max()))
    layout = base_layout(
        say("What each layer adds at {token}", token=token),
        height=HEIGHT_MEDIUM,
        alt=say(
            "Lines for the norms that attention, MLP and DeepStack add in {layers} layers; the "
            "largest is {share:.0%} of the residual stream, added by {module}.",
            layers=len(layers),
            module=largest[0],
            share=float((largest[1] / residual).max()),
        ),
        x_title=say("layer"),
        y_title=say("norm added ÷ norm of the layer's input (log scale)"),
    )
    layout["xaxis"] |= {"dtick": max(1, len(layers) // 14), "zeroline": False}
    # The first layer adds many times the norm of an embedding, later ones a small share.
    layout["yaxis"] |= {"type": "log", "tickformat": "~%", "dtick": 1}
    traces = [
        go.Scatter(
            x=layers[norms > 0],
            y=(norms / residual).astype(np.float32)[norms > 0],
            name=name,
            mode="lines+markers",
            line={"color": color, "dash": dash},
            marker={"symbol": symbol, "size": 7},
            customdata=norms.astype(np.float32)[norms > 0],
            hovertemplate=say(
                "layer %{{x}}, {module}<br>norm added %{{customdata:.4g}}<br>%{{y:.1%}} of the "
                "norm of the layer's input",
                module=name,
            )
            + "<extra></extra>",
        )
        for name, norms, color, symbol, dash in parts
        if (norms > 0).any()
    ]
    layout["meta"]["columns"] = {"customdata": say("norm")}
    return go.Figure(traces, layout)


def plot_token_track(
    probs: np.ndarray, ranks: np.ndarray, token: str, position: int, num_deepstack: int
) -> go.Figure:
    """One token's probability through the layers, by the logit lens.

    Args:
        probs: (layers + 1,) float32.
        ranks: (layers + 1,), 1 is the most likely token.
        token: the token's text, escaped.
        position: sequence index.
        num_deepstack: layers 0 .. num_deepstack - 1 are followed by a DeepStack addition.
    """
    states = np.arange(len(probs), dtype=np.int32)
    first = np.flatnonzero(ranks == 1)
    settled = say("it is never the most likely token")
    if len(first):
        settled = say(
            "it first becomes the most likely token at the input of layer {layer}", layer=first[0]
        )
    layout = base_layout(
        say(
            "Probability of “{token}” through the layers, at position {position}",
            token=token,
            position=position,
        ),
        height=HEIGHT_MEDIUM,
        alt=say(
            "Line of the token's probability at {states} layers; {settled}; the final probability "
            "is {prob:.3g}.",
            states=len(states),
            settled=settled,
            prob=float(probs[-1]),
        ),
        x_title=say("input of layer (last: final norm)"),
        y_title=say("probability (log scale)"),
    )
    layout["xaxis"] |= {"dtick": max(1, len(states) // 14), "zeroline": False}
    layout["yaxis"] |= {"type": "log", "range": [np.log10(LEAST_PROB), 0.15], "dtick": 2}
    layout["shapes"] = [
        vertical_line(layer + 1, color=GREY, dash="dot", width=1) | {"layer": "below"}
        for layer in range(num_deepstack)
    ]
    line = go.Scatter(
        x=states,
        y=np.maximum(probs, LEAST_PROB).astype(np.float32),
        mode="lines+markers",
        line={"color": BLUE},
        customdata=np.stack([ranks, probs], -1).astype(np.float64).tolist(),
        hovertemplate=say(
            "input of layer %{x}<br>probability %{customdata[1]:.3g}<br>rank %{customdata[0]:,}"
        )
        + "<extra></extra>",
    )
    layout["meta"]["columns"] = {"customdata": [say("rank"), say("probability")]}
    return go.Figure(line, layout)


def plot_image_lens(
    tokens: list[list[str]], probs: np.ndarray, hovers: list[list[str]], name: str, span: int
) -> go.Figure:
    """The logit lens's most likely token at each image token, on the image's grid.

    Args:
        tokens: escaped token texts, by row and column of image tokens.
        probs: (rows, columns) of these tokens.
        hovers: escaped top-k of each token.
        name: of the hidden state.
        span: index into ``ModelInputs.spans``.
    """
    rows, columns = probs.shape
    layout = base_layout(
        say(
            "Logit lens on the image, {state} (image tokens are not trained to predict text)",
            state=name,
        ),
        height=int(np.clip(90 + 34 * rows, 240, 460)),
        alt=say(
            "Grid of {rows} by {columns} image tokens, each with its most likely token.",
            rows=rows,
            columns=columns,
        ),
        x_title=say("token column"),
        y_title=say("token row"),
    )
    layout["margin"] |= {
        "l": 40,
        "b": 48,
    }  # what the axes need: otherwise Plotly draws everything twice
    hide_lines(layout)
    layout["xaxis"] |= {"constrain": "domain"}
    layout["yaxis"] |= {"autorange": "reversed"}
    layout["meta"]["pointer"] = pointer_meta("merged", span=span)
    layout["meta"]["columns"] = {
        "text": "top 1",
        "customdata": say("top tokens"),
        "z": say("probability"),
    }
    grid = heat_map(
        probs,
        "%{customdata}",
        bar=say("probability"),
        percent=True,
        zmin=0,
        zmax=1,
        text=tokens,
        texttemplate="%{text}" if rows * columns <= MAX_TEXT_CELLS else None,
        customdata=hovers,
        colorscale=[(0, "#2b4a8b"), (1, "#8fc75a")],
        xgap=1,
        ygap=1,
    )
    return go.Figure(grid, layout)
