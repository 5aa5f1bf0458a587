"""What a prefix store gives against the same request computed from scratch."""

from __future__ import annotations

import gc
import threading
import weakref
from typing import Any

import pytest
import torch

from playground.cache import cache_bytes, empty_cache
from playground.capture import capture_inputs
from playground.engine import Engine
from playground.errors import InputError
from playground.kv_cache.block_hash import HashRules, identify
from playground.kv_cache.partial_prefill import prefill_on
from playground.kv_cache.prefix_lookup import HitEnd
from playground.kv_cache.prefix_store import PrefixStore
from playground.kv_cache.shared_prefix import shared_prefix
from playground.kv_cache.stage import serve_rest
from playground.merge.stage import get_positions
from playground.preprocess.stage import run_preprocess
from playground.prompt import Prompt, Turn
from playground.records import ModelInputs
from playground.sampling.paths import decode_step
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


def from_scratch(engine: Engine, inputs: ModelInputs) -> torch.Tensor:
    """The plain path of transformers, with no store and no staged forward."""
    return serve_rest(engine, inputs, empty_cache(engine), 0)


def difference(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return float((ours - theirs).abs().max())


# --------------------------------------------------------------------------- hit = miss


@pytest.mark.parametrize("size", [1, 5, 16])
@pytest.mark.parametrize("name", PAIRS)
def test_a_hit_gives_what_a_miss_gives(engine: Engine, name: str, size: int) -> None:
    first, second = (run_preprocess(engine, prompt) for prompt in PAIRS[name][:2])
    store = PrefixStore(engine, HashRules(size))
    poison = torch.tensor([[-977]])
    inner: Any = engine.model.model
    before, inner.rope_deltas = inner.rope_deltas, poison
    try:
        cold = store.serve(first)
        warm = store.serve(second)
        assert inner.rope_deltas is poison
    finally:
        inner.rope_deltas = before
    assert cold.reused_tokens == 0
    assert difference(cold.logits, from_scratch(engine, first)) <= TOLERANCE
    assert difference(warm.logits, from_scratch(engine, second)) <= TOLERANCE
    shared, _ = shared_prefix(first, second)
    inside = next((s for s in second.spans if s.start < shared // size * size < s.end), None)
    if inside is None or size == 1:
        assert warm.reused_tokens == min(shared // size * size, second.num_tokens - 1)
    assert warm.cache.get_seq_length() == second.num_tokens
    again = store.serve(second)
    assert again.reused_tokens == min(second.num_tokens // size * size, second.num_tokens - 1)
    assert difference(again.logits, from_scratch(engine, second)) <= TOLERANCE


def test_a_hit_may_end_inside_an_image(engine: Engine) -> None:
    """The question after the image stands in the image's last block, so that block differs."""
    first, second = (run_preprocess(engine, one(text, RED)) for text in ("What?", "Where is it?"))
    store = PrefixStore(engine, HashRules(16))
    store.serve(first)
    (span,) = second.spans
    lookup = store.lookup(identify(second))
    assert span.start < lookup.reused_tokens < span.end
    expected = from_scratch(engine, second)
    with engine.exclusive(), capture_inputs([engine.model.model.visual]) as passes:
        warm = store.serve(second)
    assert passes == []  # the image's features were kept
    assert difference(warm.logits, expected) <= TOLERANCE
    for entry in store.blocks.entries():
        if entry.parent is None:
            store.blocks._evict(entry)  # without them the tower runs again
    third = run_preprocess(engine, one("Why is it there?", RED))
    served = store.serve(third)
    assert served.encoded_images == 1
    assert difference(served.logits, from_scratch(engine, third)) <= TOLERANCE


@pytest.mark.parametrize("start", [0, 1, 3, 5, 17, 20, -1])
def test_prefill_from_any_index(engine: Engine, start: int) -> None:
    inputs = run_preprocess(engine, one("Which is red?", WIDE, RED))
    identity, cache = identify(inputs), empty_cache(engine)
    expected, encoded = prefill_on(engine, inputs, identity, cache, 0)
    assert len(encoded) == 2
    start = start % inputs.num_tokens
    cache.crop(start - inputs.num_tokens)
    logits, again = prefill_on(engine, inputs, identity, cache, start, encoded)
    assert again == {}
    assert difference(logits, expected) <= TOLERANCE
    with pytest.raises(InputError, match="Cannot continue"):
        prefill_on(engine, inputs, identity, cache, 0)


def test_a_conversation_goes_on_from_its_own_answer(engine: Engine) -> None:
    """The answer's keys and values are kept too, and a second image comes later."""
    store, turns = PrefixStore(engine, HashRules(1)), (user("Describe it.", WIDE),)
    inputs = run_preprocess(engine, Prompt(turns))
    served = store.serve(inputs)
    end = engine.tokenizer.convert_tokens_to_ids("<|im_end|>")
    answer = engine.tokenizer("一个红色的圆。", add_special_tokens=False).input_ids
    largest = int(get_positions(engine, inputs)[0].max())
    for step, token in enumerate([*answer, end]):
        positions = torch.full((3, 1, 1), largest + 1 + step)
        decode_step(engine, served.cache, torch.tensor([[token]]), positions)
    identity = identify(inputs).extend([*answer, end])
    kept = store.keep(identity, served.cache)
    assert kept.num_tokens == inputs.num_tokens + len(answer) + 1
    turns += (Turn("assistant", "一个红色的圆。"), user("And this?", TALL))
    following = run_preprocess(engine, Prompt(turns))
    again = store.serve(following)
    assert again.reused_tokens == kept.num_tokens
    assert again.encoded_images == 1
    assert difference(again.logits, from_scratch(engine, following)) <= TOLERANCE


# --------------------------------------------------------------------------- what it must not do


def test_hashing_ids_alone_answers_for_the_wrong_image(engine: Engine) -> None:
    red, blue = (run_preprocess(engine, one("What color is it?", each)) for each in (RED, BLUE))
    store = PrefixStore(engine, HashRules(1, with_images=False))
    store.serve(red)
    wrong = store.serve(blue)
    assert wrong.reused_tokens == blue.num_tokens - 1
    assert difference(wrong.logits, from_scratch(engine, blue)) > 10 * TOLERANCE
    # It is the red square's answer, to the last bit that float32 gives twice.
    assert difference(wrong.logits, from_scratch(engine, red)) <= TOLERANCE


def test_sessions_hit_one_another_only_without_salt(tiny_random_engine: Engine) -> None:
    inputs = run_preprocess(tiny_random_engine, one("My secret is 7.", RED))
    salted = PrefixStore(tiny_random_engine, HashRules(1))
    salted.serve(inputs, salt="alice")
    other_salt = salted.serve(inputs, salt="bob")
    assert (other_salt.reused_tokens, other_salt.encoded_images) == (0, 1)
    assert other_salt.lookup.end.kind == "empty"
    assert salted.serve(inputs, salt="bob").reused_tokens == inputs.num_tokens - 1
    careless = PrefixStore(tiny_random_engine, HashRules(1, with_salt=False))
    careless.serve(inputs, salt="alice")
    assert careless.serve(inputs, salt="bob").reused_tokens == inputs.num_tokens - 1


def test_requests_share_blocks_and_leave_each_other_alone(tiny_random_engine: Engine) -> None:
    store = PrefixStore(tiny_random_engine, HashRules(4))
    first = run_preprocess(tiny_random_engine, one("Describe it.", RED))
    second = run_preprocess(tiny_random_engine, one("How many shapes are there?", RED))
    store.serve(first, label="1")
    held = {entry.key: entry.tensors[0].clone() for entry in store.blocks.entries()}
    served = store.serve(second, label="2")
    assert served.lookup.hit_keys
    for layer in served.cache.layers:  # what the caller does with its cache stays with the caller
        layer.keys.zero_()  # type: ignore[union-attr]
    for key, copy in held.items():
        entry = store.blocks.get(key)
        assert entry is not None
        assert torch.equal(entry.tensors[0], copy)
    shared = store.blocks.get(served.lookup.hit_keys[0])
    assert shared is not None
    assert (shared.made_by, shared.used_by) == ("1", ["2"])


# --------------------------------------------------------------------------- why a hit ends


def test_why_a_hit_ends(tiny_random_engine: Engine) -> None:
    engine = tiny_random_engine

    def ends(size: int, *prompts: Prompt) -> HitEnd:
        store, requests = PrefixStore(engine, HashRules(size)), []
        for prompt in prompts:
            requests.append(run_preprocess(engine, prompt))
            end = store.serve(requests[-1]).lookup.end
        return end

    hello, more = one("你好"), one("你好世界。")
    ids = run_preprocess(engine, hello).input_ids[0].tolist()
    assert ends(1, hello) == HitEnd("empty", 0)
    assert ends(1, hello, hello) == HitEnd("last token", len(ids) - 1)
    assert ends(1, hello, more) == HitEnd("tokens", 4, ids[4])
    assert ends(4, hello, hello) == HitEnd("tail", len(ids) // 4 * 4)
    assert ends(64, hello, hello) == HitEnd("short", 0)
    red, blue = one("What color?", RED), one("What color?", BLUE)
    start = run_preprocess(engine, red).spans[0].start
    assert ends(1, red, blue) == HitEnd("picture", start)
    assert ends(16, red, blue) == HitEnd("picture", start)
    both, other = one("Which?", WIDE, RED), one("Which?", WIDE, BLUE)
    assert ends(16, both, other).index == run_preprocess(engine, both).spans[1].start
    longer = Prompt((user("Hi", RED), Turn("assistant", "Yes."), user("Why?")))
    assert ends(1, one("Hi", RED), longer).kind == "goes on"


def test_an_evicted_prefix_is_named(tiny_random_engine: Engine) -> None:
    first, second = (
        run_preprocess(tiny_random_engine, one(text)) for text in ("Good morning", "描述一下这里")
    )
    per_token = tiny_random_engine.facts.kv_bytes_per_token(torch.float32)
    store = PrefixStore(tiny_random_engine, HashRules(1), max_bytes=second.num_tokens * per_token)
    store.serve(first)
    served = store.serve(second)
    assert served.kept.evicted
    assert store.serve(first).lookup.end.kind == "evicted"


# --------------------------------------------------------------------------- memory


def test_bytes_are_those_of_the_tensors(tiny_random_engine: Engine) -> None:
    store = PrefixStore(tiny_random_engine, HashRules(8))
    served = store.serve(run_preprocess(tiny_random_engine, one("Describe it.", RED)))
    entries = store.blocks.entries()
    tensors = [tensor for entry in entries for tensor in entry.tensors]
    assert all(tensor.untyped_storage().nbytes() == tensor.nbytes for tensor in tensors)
    assert store.blocks.stats.num_bytes == sum(tensor.nbytes for tensor in tensors)
    kept = served.kept.num_tokens * tiny_random_engine.facts.kv_bytes_per_token(torch.float32)
    assert kept == sum(entry.num_bytes for entry in entries if entry.parent is not None)
    assert kept <= cache_bytes(served.cache)


def test_eviction_frees_the_memory(tiny_random_engine: Engine) -> None:
    store = PrefixStore(tiny_random_engine, HashRules(4))
    for text in ("Describe it.", "How many shapes are there?"):
        store.serve(run_preprocess(tiny_random_engine, one(text, RED)))
    alive = [
        weakref.ref(tensor.untyped_storage())
        for entry in store.blocks.entries()
        for tensor in entry.tensors
    ]
    tensors = [weakref.ref(tensor) for entry in store.blocks.entries() for tensor in entry.tensors]
    assert len(alive) > 10
    store.blocks.resize(0)
    gc.collect()
    assert [reference for reference in tensors if reference() is not None] == []


def test_a_budget_that_holds_one_block_or_none(tiny_random_engine: Engine) -> None:
    engine = tiny_random_engine
    inputs = run_preprocess(engine, one("Describe it.", RED))
    expected = from_scratch(engine, inputs)
    per_block = 4 * engine.facts.kv_bytes_per_token(torch.float32)
    for budget, blocks in ((0, 0), (per_block - 1, 0), (per_block, 1)):
        store = PrefixStore(engine, HashRules(4), max_bytes=budget)
        assert store.serve(inputs).kept.num_tokens == 4 * blocks
        assert store.serve(inputs).reused_tokens == 4 * blocks
        assert difference(store.serve(inputs).logits, expected) <= TOLERANCE
        assert store.blocks.stats.peak_bytes <= budget


def test_blocks_that_go_between_lookup_and_forward(tiny_random_engine: Engine) -> None:
    """Another thread's request may evict what a lookup has promised."""
    store = PrefixStore(tiny_random_engine, HashRules(4))
    inputs = run_preprocess(tiny_random_engine, one("Describe it.", RED))
    expected = store.serve(inputs).logits
    lookup = store.lookup(identify(inputs))
    store.blocks.resize(store.blocks.stats.num_bytes // 2)
    logits, cache, _, reused = store.compute(inputs, lookup)
    assert reused < lookup.reused_tokens
    assert cache.get_seq_length() == inputs.num_tokens
    assert difference(logits, expected) <= TOLERANCE


def test_threads_share_one_store(tiny_random_engine: Engine) -> None:
    engine = tiny_random_engine
    requests = [
        run_preprocess(engine, one(text, image))
        for text in ("Describe it.", "What?")
        for image in (RED, BLUE)
    ]
    expected = [from_scratch(engine, inputs) for inputs in requests]
    per_token = engine.facts.kv_bytes_per_token(torch.float32)
    store = PrefixStore(engine, HashRules(4), max_bytes=40 * per_token)
    problems: list[object] = []

    def work(salt: str) -> None:
        for turn in range(12):
            index = (turn * 3 + len(salt)) % len(requests)
            served = store.serve(requests[index], salt=salt)
            if difference(served.logits, expected[index]) > TOLERANCE:
                problems.append((salt, turn))

    threads = [threading.Thread(target=work, args=(salt,)) for salt in ("a", "bb")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert store.blocks.stats.peak_bytes <= 40 * per_token
