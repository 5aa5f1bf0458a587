"""Operations by formula against those that PyTorch counts, and against a sum written out."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from playground.engine import Engine
from playground.kv_cache.block_hash import HashRules, identify
from playground.kv_cache.costs import image_flops, kv_bytes, request_flops
from playground.kv_cache.prefix_store import PrefixStore
from playground.model_facts import describe_config, load_config
from playground.preprocess.stage import run_preprocess
from playground.prompt import Prompt, Turn
from playground.records import ModelInputs
from tests.media_samples import make_image

FIRST, SECOND = make_image(128, 96), make_image(192, 64, seed=1)


def two_images(engine: Engine, *images: object) -> ModelInputs:
    return run_preprocess(engine, Prompt((Turn("user", "Which?", images),)))  # type: ignore[arg-type]


def matrix_products(inputs: ModelInputs, facts: object, start: int) -> int:
    """The formula less what PyTorch's counter leaves out: scaled dot product attention on a CPU."""
    patches = [span.num_patches for span in inputs.spans if span.end > start]
    flops = request_flops(facts, inputs.num_tokens, start, patches)  # type: ignore[arg-type]
    depth, hidden = facts.vision_depth, facts.vision_hidden_size  # type: ignore[attr-defined]
    in_tower = sum(4 * depth * hidden * count**2 for count in patches)
    return flops.total - flops.attention - in_tower


@pytest.mark.parametrize("with_hit", [False, True])
def test_matrix_products_are_those_that_pytorch_counts(engine: Engine, with_hit: bool) -> None:
    inputs = two_images(engine, FIRST, SECOND)
    store = PrefixStore(engine, HashRules(1))
    if with_hit:
        store.serve(two_images(engine, FIRST, FIRST))
    lookup = store.lookup(identify(inputs))
    assert bool(lookup.reused_tokens) is with_hit
    with FlopCounterMode(display=False) as counter:
        store.compute(inputs, lookup)
    expected = matrix_products(inputs, engine.facts, lookup.reused_tokens)
    assert counter.get_total_flops() == expected


def test_a_mixture_counts_the_chosen_experts(tiny_random_moe_engine: Engine) -> None:
    facts = tiny_random_moe_engine.facts
    # 2 of 4 experts of 3 × 64 × 32 weights, and the router's 64 × 4; 4 layers, one token.
    assert request_flops(facts, 1).mlp == 2 * 4 * (2 * 3 * 64 * 32 + 64 * 4)


def test_attention_counts_the_keys_that_each_token_sees(tiny_random_engine: Engine) -> None:
    facts = tiny_random_engine.facts  # 4 layers, 4 heads of 16
    for length, start in ((1, 0), (5, 0), (5, 3), (40, 39)):
        keys = sum(position + 1 for position in range(start, length))
        flops = request_flops(facts, length, start)
        assert flops.attention == 4 * (2 * 4 * 16 * keys) * 2
    whole, first, rest = (request_flops(facts, *span) for span in ((9, 0), (4, 0), (9, 4)))
    assert whole.total == first.total + rest.total - first.lm_head
    assert image_flops(facts, 0) == 0


def test_bytes_of_the_2b_model() -> None:
    facts = describe_config(load_config())
    assert kv_bytes(facts, 1, torch.bfloat16) == 114_688
    assert kv_bytes(facts, 1000, torch.bfloat16) == 114_688_000
    # 1.7 billion weights of the decoder's layers and head, twice each, less the embeddings.
    assert request_flops(facts, 1).total == pytest.approx(2 * 1.72e9, rel=0.01)
