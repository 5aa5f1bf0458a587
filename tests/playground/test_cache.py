"""Forks and crops leave the original alone; sizes are those of the shapes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import DynamicCache

from playground.cache import cache_bytes, crop_cache, describe_cache, expand_cache, fork_cache
from playground.engine import Engine
from playground.errors import InputError
from playground.pipeline import Run
from playground.sampling.paths import decode_step
from tests.playground.kv_cache.request_pairs import one
from tests.playground.kv_cache.test_stage import Prefilled, unchanged


@pytest.fixture(scope="module")
def case(tiny_random_engine: Engine) -> Prefilled:
    run = Run(tiny_random_engine, one("你好"))
    return Prefilled(run.inputs, run.merged, run.decoded)


def test_fork_grows_without_the_original(tiny_random_engine: Engine, case: Prefilled) -> None:
    length = case.cache.get_seq_length()
    with unchanged(tiny_random_engine, case):
        fork = fork_cache(case.cache)
        original: Any = case.cache.layers[0]
        shared: Any = fork.layers[0]
        assert shared.keys.data_ptr() == original.keys.data_ptr()
        decode_step(tiny_random_engine, fork, torch.tensor([[5]]), torch.full((3, 1, 1), length))
        assert fork.get_seq_length() == length + 1
        assert crop_cache(fork, 3).get_seq_length() == 3
        wide = expand_cache(case.cache, 4)
        wide.batch_select_indices(torch.tensor([0, 2]))
        assert describe_cache(wide)[0].key_shape[0] == 2
    assert case.cache.get_seq_length() == length


def test_cache_sizes(tiny_random_engine: Engine, case: Prefilled) -> None:
    facts = tiny_random_engine.facts
    tokens = case.inputs.num_tokens
    layers = describe_cache(case.cache)
    assert [layer.layer for layer in layers] == list(range(facts.num_layers))
    shape = (1, facts.num_key_value_heads, tokens, facts.head_dim)
    assert {layer.key_shape for layer in layers} == {layer.value_shape for layer in layers}
    assert layers[0].key_shape == shape
    assert layers[0].dtype == "float32"
    per_token = facts.kv_bytes_per_token(torch.float32)
    assert cache_bytes(case.cache) == sum(layer.num_bytes for layer in layers)
    assert cache_bytes(case.cache) == tokens * per_token
    assert cache_bytes(crop_cache(case.cache, 5)) == 5 * per_token
    assert cache_bytes(DynamicCache()) == 0


@pytest.mark.parametrize("keep", [-1, 10_000])
def test_crop_refuses_what_is_not_there(case: Prefilled, keep: int) -> None:
    with pytest.raises(InputError, match=rf"Cannot keep {keep} tokens"):
        crop_cache(case.cache, keep)
