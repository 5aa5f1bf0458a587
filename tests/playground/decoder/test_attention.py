"""Attention recomputed from recorded states, against eager attention's own weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from playground.decoder.attention import (
    QueryKey,
    attention_rows,
    layer_queries_keys,
    summarise_heads,
    without_sink,
)
from playground.decoder.updates import layer_updates
from playground.engine import Engine
from playground.errors import InputError
from playground.loading.load import load_engine
from playground.pipeline import Run
from playground.preprocess.stage import model_kwargs
from tests.components.runs import make_run
from tests.media_samples import make_image


@pytest.fixture(scope="module", params=["random", "shipped"])
def pair(request: pytest.FixtureRequest, tiny_random_folder: Path) -> tuple[Run, list[Any]]:
    """A run on sdpa, and every layer's weights of the same checkpoint on eager attention."""
    source = tiny_random_folder if request.param == "random" else "tiny"
    run = make_run(
        load_engine(source, device="cpu", dtype="float32"), "左边是什么？", make_image(192, 64)
    )
    run.ensure("decoder")
    eager = load_engine(source, device="cpu", dtype="float32", attn="eager")
    weights: list[Any] = []
    hooks = [
        layer.self_attn.register_forward_hook(lambda _m, _a, output: weights.append(output[1]))
        for layer in eager.model.model.language_model.layers
    ]
    with torch.no_grad():
        eager.model(**model_kwargs(run.inputs))
    for hook in hooks:
        hook.remove()
    return run, weights


def test_rows_equal_eager_attention(pair: tuple[Run, list[Any]]) -> None:
    run, weights = pair
    seq = run.inputs.num_tokens
    for layer, expected in enumerate(weights):
        vectors = layer_queries_keys(run.engine, run.decoded, layer)
        rows = attention_rows(vectors, range(seq))
        torch.testing.assert_close(rows, expected[0], rtol=0, atol=2e-6)
        assert rows.triu(1).abs().max() == 0
    some = attention_rows(vectors, (seq - 1, 3))
    torch.testing.assert_close(some, expected[0][:, [seq - 1, 3]], rtol=0, atol=2e-6)


def test_chunks_change_nothing(
    pair: tuple[Run, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _ = pair
    vectors = layer_queries_keys(run.engine, run.decoded, 0)
    whole = attention_rows(vectors, range(20))
    monkeypatch.setattr("playground.decoder.attention.SCORE_BYTES", 1)
    torch.testing.assert_close(attention_rows(vectors, range(20)), whole, rtol=0, atol=1e-6)


def test_a_heads_shares_by_hand(pair: tuple[Run, list[Any]]) -> None:
    run, weights = pair
    summary = summarise_heads(
        layer_queries_keys(run.engine, run.decoded, 1), run.inputs, num_queries=3
    )
    span = run.inputs.spans[0]
    last = weights[1][0][:, -3:].double()
    np.testing.assert_allclose(
        summary.on_visual, last[..., span.start : span.end].sum(-1).mean(-1), atol=1e-5
    )
    np.testing.assert_allclose(summary.on_first, last[..., 0].mean(-1), atol=1e-5)
    np.testing.assert_allclose(summary.on_visual + summary.on_first + summary.on_text, 1, atol=1e-5)
    entropy = -(last * last.clamp_min(1e-30).log()).sum(-1).mean(-1)
    np.testing.assert_allclose(summary.entropy, entropy, atol=1e-4)
    assert summary.num_queries == 3


def test_uniform_attention_by_hand() -> None:
    """Without scores each query spreads evenly over what came before."""
    zeros = torch.zeros(2, 4, 8)
    rows = attention_rows(QueryKey(zeros, zeros[:1], zeros, zeros[:1], 1.0), (0, 3))
    torch.testing.assert_close(
        rows[0], torch.tensor([[1.0, 0, 0, 0], [0.25, 0.25, 0.25, 0.25]]), rtol=0, atol=0
    )


def test_there_is_no_layer_outside(pair: tuple[Run, list[Any]]) -> None:
    run, _ = pair
    with pytest.raises(InputError, match="no layer 99"):
        layer_queries_keys(run.engine, run.decoded, 99)


def test_the_sink_is_taken_off() -> None:
    rest = without_sink(np.array([0.5, 0.25]), np.array([0.5, 0.0]))
    assert rest.tolist() == [0.0, 0.25]
    assert rest.dtype == np.float32


@pytest.mark.parametrize("kind", ["dense", "moe"])
def test_updates_equal_what_the_forward_adds(
    kind: str, tiny_random_engine: Engine, tiny_random_moe_engine: Engine
) -> None:
    engine = tiny_random_engine if kind == "dense" else tiny_random_moe_engine
    run = make_run(engine, "Which?", make_image())
    run.ensure("decoder")
    added: dict[str, list[torch.Tensor]] = {"attention": [], "mlp": []}
    hooks = []
    for layer in engine.model.model.language_model.layers:
        for name, module in (("attention", layer.self_attn), ("mlp", layer.mlp)):

            def keep(_m: Any, _a: Any, output: Any, name: str = name) -> None:
                added[name].append((output[0] if isinstance(output, tuple) else output)[0])

            hooks.append(module.register_forward_hook(keep))
    with torch.no_grad():
        engine.model(**model_kwargs(run.inputs))
    for hook in hooks:
        hook.remove()
    states, position = run.decoded.hidden_states, run.inputs.spans[0].start + 1
    updates = layer_updates(run.decoded, run.merged, position)
    for name in added:
        expected = torch.stack(added[name])[:, position].norm(dim=-1).numpy()
        np.testing.assert_allclose(getattr(updates, name), expected, rtol=1e-5, atol=1e-6)
    residual = torch.stack(states[:-1])[:, position].norm(dim=-1).numpy()
    np.testing.assert_allclose(updates.residual, residual, rtol=1e-6)
    # What is left of the way from one layer's input to the next is DeepStack's.
    for layer in range(run.decoded.num_layers):
        rest = states[layer + 1] - states[layer] - added["attention"][layer] - added["mlp"][layer]
        assert float(rest[position].norm()) == pytest.approx(updates.deepstack[layer], abs=1e-4)
    text = layer_updates(run.decoded, run.merged, run.inputs.num_tokens - 1)
    assert not text.deepstack.any()
