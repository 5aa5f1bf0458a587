"""The decoder tab's experts, for a mixture of experts only: who works on which token."""

from __future__ import annotations

from typing import Any

import gradio as gr
import numpy as np

from components.chart_view.view import PlotlyView
from components.charts.decoder_experts import MAX_CELLS, plot_expert_layer, plot_expert_path
from components.tabs.choices import fact_markup
from components.tabs.decoder.focus import choose_token, whole_number
from components.tabs.stage_tab import App, Section, skip_unless_run
from components.views.html_view import build_html_view
from playground.language import say
from playground.merge.views import spread_indices
from playground.pipeline import Run
from playground.pointer import Place


def build_experts_section(app: App) -> Section:
    """Build the part inside the tab."""
    gr.Markdown(
        say(
            "In each layer a router picks a few experts for every token, and weighs what they say. "
            "The other experts do not work on this token at all."
        )
    )
    words = build_html_view()
    path = PlotlyView(label=say("Experts of one token"))
    layer = gr.Slider(0, 1, 0, step=1, label=say("Layer with experts"), min_width=200)
    whole = PlotlyView(label=say("Experts of one layer"))
    app.on_view(layer.input, skip_unless_run("decoder", draw_layer, 1), [layer], [whole])
    app.on_point(skip_unless_run("decoder", draw_path, 2), [], [words, path])
    return Section((layer, app.pointed), (words, path, layer, whole), draw_experts)


def draw_experts(run: Run, layer: float | None, place: Place | None) -> tuple[Any, ...]:
    """Everything of the part; nothing for a dense model, whose tab hides it."""
    routes = run.decoded.experts
    if routes is None:
        return "", None, gr.skip(), None
    chosen = whole_number(layer, 0, 0, len(routes.layers) - 1)
    return (
        *draw_path(run, place),
        gr.update(maximum=max(len(routes.layers) - 1, 1), value=chosen),
        *draw_layer(run, chosen),
    )


def draw_path(run: Run, place: Place | None) -> tuple[Any, ...]:
    """The experts of the token that is looked at, in words and by layer."""
    routes = run.decoded.experts
    if routes is None:
        return "", None
    focus = choose_token(run, place)
    num_experts = run.engine.facts.num_experts
    ids, weights = routes.ids[:, focus.index], routes.weights[:, focus.index]
    per_token = routes.ids.shape[-1]
    chosen = [
        say("expert {expert} ({weight:.0%})", expert=expert, weight=weight)
        for expert, weight in zip(ids[-1].tolist(), weights[-1].tolist(), strict=True)
    ]
    text = say(
        "{chosen} of {total} experts work on each token in each of {layers} layers. In layer "
        "{last} {token} goes to {experts}.",
        chosen=per_token,
        total=num_experts,
        layers=len(routes.layers),
        last=routes.layers[-1],
        token=focus.words,
        experts=say(" and ").join(chosen),
    )
    spread = expert_weights(ids, weights, num_experts)
    return fact_markup(text, focus.hint), plot_expert_path(spread, routes.layers, focus.words)


def draw_layer(run: Run, layer: float | None) -> tuple[Any]:
    """All tokens of one layer; of a long sequence evenly spread ones."""
    routes = run.decoded.experts
    if routes is None:
        return (None,)
    chosen = whole_number(layer, 0, 0, len(routes.layers) - 1)
    num_experts = run.engine.facts.num_experts
    kept = spread_indices(run.inputs.num_tokens, max(1, MAX_CELLS // num_experts))
    weights = expert_weights(routes.ids[chosen, kept], routes.weights[chosen, kept], num_experts)
    return (plot_expert_layer(weights.T, kept, routes.layers[chosen]),)


def expert_weights(ids: Any, weights: Any, num_experts: int) -> np.ndarray:
    """``(rows, experts)`` float32, 0 where an expert was not chosen.

    Args:
        ids: ``(rows, experts per token)`` tensor.
        weights: the same shape.
        num_experts: of each layer.
    """
    spread = np.zeros((len(ids), num_experts), np.float32)
    np.put_along_axis(spread, ids.numpy(), weights.numpy(), axis=-1)
    return spread
