"""Requests in a row and replayed logs against plain computation."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from playground.cache import empty_cache
from playground.engine import Engine
from playground.errors import InputError
from playground.kv_cache.block_hash import HashRules
from playground.kv_cache.block_store import POLICIES
from playground.kv_cache.compare import compare_requests
from playground.kv_cache.costs import request_flops
from playground.kv_cache.log import (
    LoggedRequest,
    compare_policies,
    log_bytes,
    rehearse_log,
    replay_log,
)
from playground.kv_cache.partial_prefill import answer_greedily, answer_text
from playground.kv_cache.prefix_store import PrefixStore
from playground.kv_cache.stage import serve_rest
from playground.preprocess.stage import model_kwargs, run_preprocess
from playground.prompt import Prompt, Turn
from playground.sampling.generation_config import barred_token_ids
from tests.playground.kv_cache.request_pairs import (
    BLUE,
    PAIRS,
    RED,
    TALL,
    TOLERANCE,
    WIDE,
    one,
    user,
)

# --------------------------------------------------------------------------- the greedy answer


@pytest.mark.parametrize("prompt", [one("你好"), one("Describe this image.", RED)])
def test_greedy_answer_is_that_of_generate(engine: Engine, prompt: Prompt) -> None:
    inputs = run_preprocess(engine, prompt)
    cache = empty_cache(engine)
    logits = serve_rest(engine, inputs, cache, 0)
    ids = answer_greedily(engine, inputs, logits, cache, 12)
    with engine.exclusive():
        before = engine.model.model.rope_deltas
        output = engine.model.generate(
            **model_kwargs(inputs),
            do_sample=False,
            max_new_tokens=12,
            suppress_tokens=list(barred_token_ids(engine)),
        )
        engine.model.model.rope_deltas = before
    assert list(ids) == output[0, inputs.num_tokens :].tolist()
    assert cache.get_seq_length() == inputs.num_tokens + len(ids) - 1
    assert "<|im_end|>" not in answer_text(engine, ids)


# --------------------------------------------------------------------------- in a row


def test_requests_in_a_row(engine: Engine) -> None:
    prompts = [*PAIRS["same image, other question"][:2], PAIRS["same request"][0]]
    inputs = [run_preprocess(engine, prompt) for prompt in prompts]
    rows = list(compare_requests(engine, inputs, HashRules(1), repeats=2, max_new_tokens=3))
    assert [row.hit for row in rows] == [False, True, True]
    assert rows[0].lookup.end.kind == "empty"
    for row, request in zip(rows, inputs, strict=True):
        assert row.reused_tokens + row.computed_tokens == request.num_tokens
        assert row.max_abs_diff <= TOLERANCE
        expected = serve_rest(engine, request, empty_cache(engine), 0)
        assert row.next_token.id == int(expected.argmax())
        assert len(row.miss_ms) == len(row.hit_ms) == 2
        assert min(row.miss_ms + row.hit_ms) > 0
        patches = [span.num_patches for span in request.spans]
        assert row.miss_flops == request_flops(engine.facts, request.num_tokens, 0, patches)
        assert row.kept.num_tokens == request.num_tokens
    hit = rows[1]
    assert hit.hit_flops == request_flops(engine.facts, inputs[1].num_tokens, hit.reused_tokens)
    assert hit.encoded_images == 0
    assert hit.kv_bytes == hit.reused_tokens * engine.facts.kv_bytes_per_token(engine.dtype)
    assert rows[0].hit_flops == rows[0].miss_flops


@pytest.mark.parametrize(("count", "repeats"), [(0, 1), (9, 1), (1, 0), (1, 51)])
def test_limits_of_a_comparison(tiny_random_engine: Engine, count: int, repeats: int) -> None:
    inputs = run_preprocess(tiny_random_engine, one("Hi"))
    with pytest.raises(InputError, match="1 to 8 requests"):
        next(compare_requests(tiny_random_engine, [inputs] * count, HashRules(1), repeats=repeats))


# --------------------------------------------------------------------------- a log


def make_log(engine: Engine) -> list[LoggedRequest]:
    prompts = [
        ("a", one("What color is it?", RED)),
        ("a", one("What color is it?", BLUE)),
        ("b", one("What color is it?", RED)),
        ("a", one("Where is it?", RED)),
        ("b", Prompt((user("Which?", WIDE, TALL), Turn("assistant", "红"), user("Why?")))),
        ("a", one("What color is it?", RED)),
    ]
    return [LoggedRequest.of(session, run_preprocess(engine, each)) for session, each in prompts]


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(("size", "tokens"), [(1, 10_000), (4, 60), (16, 0)])
def test_a_rehearsal_counts_what_the_model_would_reuse(
    tiny_random_engine: Engine, size: int, tokens: int, policy: Any
) -> None:
    engine, log = tiny_random_engine, make_log(tiny_random_engine)
    budget = tokens * engine.facts.kv_bytes_per_token(torch.float32)
    store = PrefixStore(engine, HashRules(size), max_bytes=budget, policy=policy)
    rows = list(replay_log(store, log, secret="x", max_new_tokens=2))
    assert all(row.is_right for row in rows)
    assert all(row.answer == row.right_answer for row in rows)
    counted = rehearse_log(engine, log, store.rules, max_bytes=budget, policy=policy, secret="x")
    assert counted.reused_tokens == tuple(row.lookup.reused_tokens for row in rows)
    assert counted.num_evicted == store.blocks.stats.num_evicted
    assert counted.num_tokens == sum(request.inputs.num_tokens for request in log)
    assert 0 <= counted.hit_rate <= 1
    assert counted.saved_share == sum(counted.reused_tokens) / counted.num_tokens
    if tokens == 10_000:
        assert store.blocks.stats.num_bytes == log_bytes(engine, log, store.rules)
        assert counted.num_evicted == 0


def test_ids_alone_give_the_wrong_image_s_answer(shipped_engine: Engine) -> None:
    """On trained weights: the blue square is called red, and the log says so."""
    log = make_log(shipped_engine)[:2]
    wrong = PrefixStore(shipped_engine, HashRules(1, with_images=False))
    first, second = replay_log(wrong, log)
    assert first.is_right
    assert not second.is_right
    assert second.lookup.reused_tokens == second.request.inputs.num_tokens - 1
    assert second.answer == first.answer
    assert second.answer != second.right_answer
    right = PrefixStore(shipped_engine, HashRules(1))
    assert [row.answer for row in replay_log(right, log)] == [
        first.answer,
        second.right_answer,
    ]


def test_sessions_of_a_log(tiny_random_engine: Engine) -> None:
    log = make_log(tiny_random_engine)
    salted, careless = (
        list(replay_log(PrefixStore(tiny_random_engine, HashRules(1, with_salt=salt)), log))
        for salt in (True, False)
    )
    assert salted[2].lookup.reused_tokens == 0
    assert careless[2].lookup.reused_tokens == log[2].inputs.num_tokens - 1
    assert all(row.is_right for row in careless)  # a privacy leak, not a wrong answer


def test_policies_at_several_budgets(tiny_random_engine: Engine) -> None:
    engine, log = tiny_random_engine, make_log(tiny_random_engine)
    enough = log_bytes(engine, log, HashRules(4))
    compared = compare_policies(engine, log, HashRules(4), (0, enough // 3, enough))
    assert set(compared) == set(POLICIES)
    for rows in compared.values():
        assert [row.max_bytes for row in rows] == [0, enough // 3, enough]
        assert rows[0].saved_share == 0
        assert rows[-1].num_evicted == 0
        assert rows[-1].saved_share == max(row.saved_share for row in rows) > 0


@pytest.mark.parametrize("count", [0, 61])
def test_length_of_a_log_is_limited(tiny_random_engine: Engine, count: int) -> None:
    log = make_log(tiny_random_engine)[:1] * count
    with pytest.raises(InputError, match="1 to 60"):
        next(replay_log(PrefixStore(tiny_random_engine), log))
