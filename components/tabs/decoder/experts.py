"""The decoder tab's experts, for a mixture of experts only: the router's choices per token."""

from __future__ import annotations

from typing import Any

import numpy as np
import plotly.graph_objects as go

from components.charts.decoder_experts import MAX_CELLS, plot_expert_layer, plot_expert_path
from components.parts.controls import IndexSlider
from components.parts.part import SELECTION, Part
from components.tabs.decoder.focus import choose_token
from components.views.facts import fact_markup
from playground.language import mark, say
from playground.merge.views import spread_indices
from playground.pipeline import Run
from playground.pointer import Selection
from playground.records import ExpertRoutes

LAYER = IndexSlider("layer", mark("MoE layer"), last=lambda run: len(read_routes(run).layers) - 1)
PART = Part(
    "experts",
    mark("Experts"),
    stage="decoder",
    controls=(LAYER,),
    intro=mark(
        "In each layer, a router selects a few experts for every token and sums their outputs by "
        "weight. The other experts do not process this token."
    ),
    layout=("words", "path", "layer", "whole"),
    shown=lambda run: run.decoded.experts is not None,
    absent=mark(
        "This checkpoint is not a mixture of experts: each layer has a single MLP, which "
        "processes every token."
    ),
)


def read_routes(run: Run) -> ExpertRoutes:
    """The routers' choices; ``PART.shown`` makes sure that there are any."""
    assert run.decoded.experts is not None
    return run.decoded.experts


@PART.html(needs=(SELECTION,))
def words(run: Run, selection: Selection | None) -> str:
    """The experts that the last layer's router selects for the selected token."""
    routes, focus = read_routes(run), choose_token(run, selection)
    ids, weights = routes.ids[-1, focus.index], routes.weights[-1, focus.index]
    chosen = [
        say("expert {expert} ({weight:.0%})", expert=expert, weight=weight)
        for expert, weight in zip(ids.tolist(), weights.tolist(), strict=True)
    ]
    text = say(
        "In each of {layers} layers, {chosen} of {total} experts process each token. In layer "
        "{last}, {token} is routed to {experts}.",
        chosen=routes.ids.shape[-1],
        total=run.engine.facts.num_experts,
        layers=len(routes.layers),
        last=routes.layers[-1],
        token=focus.words,
        experts=say(" and ").join(chosen),
    )
    return fact_markup(text, focus.hint)


@PART.chart(mark("Experts for one token"), needs=(SELECTION,))
def path(run: Run, selection: Selection | None) -> go.Figure:
    """The experts for the selected token, layer by layer."""
    routes, focus = read_routes(run), choose_token(run, selection)
    spread = spread_weights(
        routes.ids[:, focus.index], routes.weights[:, focus.index], run.engine.facts.num_experts
    )
    return plot_expert_path(spread, routes.layers, focus.words)


@PART.chart(mark("Experts in one layer"), needs=("layer",))
def whole(run: Run, layer: int) -> go.Figure:
    """All tokens in one layer, or evenly spaced ones of a long sequence."""
    routes, num_experts = read_routes(run), run.engine.facts.num_experts
    kept = spread_indices(run.inputs.num_tokens, max(1, MAX_CELLS // num_experts))
    weights = spread_weights(routes.ids[layer, kept], routes.weights[layer, kept], num_experts)
    return plot_expert_layer(weights.T, kept, routes.layers[layer])


def spread_weights(ids: Any, weights: Any, num_experts: int) -> np.ndarray:
    """``(rows, experts)`` float32, 0 where an expert was not selected.

    Args:
        ids: ``(rows, experts per token)`` tensor.
        weights: the same shape.
        num_experts: of each layer.
    """
    spread = np.zeros((len(ids), num_experts), np.float32)
    np.put_along_axis(spread, ids.numpy(), weights.numpy(), axis=-1)
    return spread
