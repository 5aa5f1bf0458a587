"""The experts that a prefill records, against transformers' own router logits."""

from __future__ import annotations

import copy
from typing import Any

import torch

from playground.engine import Engine
from playground.preprocess.stage import model_kwargs
from tests.components.runs import make_run
from tests.media_samples import make_image


def test_routes_are_those_of_the_routers(tiny_random_moe_engine: Engine) -> None:
    engine = tiny_random_moe_engine
    hooks = [len(module._forward_hooks) for module in engine.model.modules()]
    run = make_run(engine, "Which experts?", make_image())
    routes = run.decoded.experts
    assert routes is not None
    assert [len(module._forward_hooks) for module in engine.model.modules()] == hooks
    model: Any = copy.deepcopy(engine.model)  # transformers leaves hooks of its own on it
    with torch.no_grad():
        plain = model(**model_kwargs(run.inputs), output_router_logits=True)
    layers, per_token = engine.facts.num_layers, engine.facts.num_experts_per_tok
    assert routes.layers == tuple(range(layers))
    assert routes.ids.shape == (layers, run.inputs.num_tokens, per_token)
    for layer, logits in enumerate(plain.router_logits):
        probs, ids = logits.float().softmax(-1).topk(per_token, dim=-1)
        assert torch.equal(routes.ids[layer], ids)
        weights = probs / probs.sum(-1, keepdim=True)
        torch.testing.assert_close(routes.weights[layer], weights, rtol=0, atol=1e-6)
    assert (routes.weights[..., 0] >= routes.weights[..., 1]).all()


def test_a_dense_model_has_none(tiny_random_engine: Engine) -> None:
    assert make_run(tiny_random_engine, "Hello").decoded.experts is None


def test_layers_without_a_router_are_left_out(tiny_random_moe_engine: Engine) -> None:
    """As with ``mlp_only_layers``: one layer gets a dense MLP in the place of its experts."""
    engine = tiny_random_moe_engine
    layers: Any = engine.model.model.language_model.layers
    sparse = layers[1].mlp
    layers[1].mlp = torch.nn.Identity()
    try:
        routes = make_run(engine, "Hello").decoded.experts
    finally:
        layers[1].mlp = sparse
    assert routes is not None
    assert routes.layers == (0, 2, 3)
    assert routes.ids.shape[0] == 3
