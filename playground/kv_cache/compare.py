"""Serve requests in order, each with the store and from scratch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from playground.cache import empty_cache
from playground.engine import Engine
from playground.errors import InputError
from playground.kv_cache.block_hash import HashRules, RequestIdentity, identify
from playground.kv_cache.costs import Flops, kv_bytes, request_flops
from playground.kv_cache.partial_prefill import answer_greedily, answer_text, prefill_on
from playground.kv_cache.prefix_lookup import Lookup
from playground.kv_cache.prefix_store import Kept, PrefixStore
from playground.kv_cache.stage import MAX_REPEATS
from playground.language import say
from playground.logits import next_token_probs
from playground.records import ModelInputs, Progress, TokenProb
from playground.timing import time_ms

MAX_REQUESTS = 8

# The largest |Δ logit| of a hit against a miss that counts as rounding: other lengths use other
# kernels, which sum in another order. Measured with the shipped checkpoint on the CPU, for every
# kind of request and start in tests/playground/kv_cache/test_stage.py: 8e-6 in float32; 0.125 in
# bfloat16, one step of a logit between 16 and 32, where bfloat16 itself moves the logits by 0.15.
# Twice that is allowed. Steps in float16 are eight times finer. With the blocks of another image,
# as in the policy lab, the logits differ by 0.6 and more.
SAME_LOGITS = {torch.float32: 1e-4, torch.float16: 2**-5, torch.bfloat16: 0.25}


@dataclass(frozen=True, slots=True, eq=False)
class Compared:
    """One request, served with the store and from scratch."""

    inputs: ModelInputs
    lookup: Lookup
    kept: Kept
    miss_ms: tuple[float, ...]  # from the pixels to the logits, one per repeat
    hit_ms: tuple[float, ...]  # the same with the store, including joining the blocks
    miss_flops: Flops
    hit_flops: Flops
    encoded_images: int  # images that the hit still sends through the vision tower
    kv_bytes: int  # of the reused tokens
    max_abs_diff: float  # of the last position's logits
    next_token: TokenProb
    answer: str  # greedy, with the store's keys and values
    logits: torch.Tensor  # (vocab,) with the store

    @property
    def reused_tokens(self) -> int:
        """Tokens taken from the store."""
        return self.lookup.reused_tokens

    @property
    def computed_tokens(self) -> int:
        """Tokens that went through the decoder."""
        return self.inputs.num_tokens - self.lookup.reused_tokens

    @property
    def hit(self) -> bool:
        """Whether at least one token was reused."""
        return self.lookup.reused_tokens > 0


def compare_requests(
    engine: Engine,
    requests: Sequence[ModelInputs],
    rules: HashRules,
    *,
    repeats: int = 3,
    max_new_tokens: int = 32,
    progress: Progress | None = None,
) -> Iterator[Compared]:
    """Serve requests in order from one new store, and each one also from scratch.

    Both times cover everything from the pixels to the next token's logits. Neither includes
    hashing, which a server does in both cases. After an untimed run of each, hits and misses are
    interleaved.

    Args:
        engine: the loaded checkpoint; its lock is held per forward pass.
        requests: records from ``run_preprocess``, at most ``MAX_REQUESTS``.
        rules: block size and what the keys cover.
        repeats: timed runs per variant, 1 to ``MAX_REPEATS``.
        max_new_tokens: limit of each answer.
        progress: called before every forward pass.

    Raises:
        InputError: too many requests or repeats.
    """
    if not 1 <= repeats <= MAX_REPEATS or not 1 <= len(requests) <= MAX_REQUESTS:
        raise InputError(
            say(
                "There are {count} requests and {repeats} repeats.",
                count=len(requests),
                repeats=repeats,
            ),
            limit=say(
                "Use 1 to {requests} requests and 1 to {repeats} repeats.",
                requests=MAX_REQUESTS,
                repeats=MAX_REPEATS,
            ),
        )
    store = PrefixStore(engine, rules)
    for number, inputs in enumerate(requests, 1):
        name = say("request {number}", number=number)
        report = _report_on(name, progress, 2 + 2 * repeats)
        yield _compare(store, inputs, f"{number}", repeats, max_new_tokens, report)


def _report_on(name: str, progress: Progress | None, total: int) -> Callable[[int], None]:
    return lambda done: None if progress is None else progress(name, done, total)


def _compare(
    store: PrefixStore,
    inputs: ModelInputs,
    label: str,
    repeats: int,
    max_new_tokens: int,
    report: Callable[[int], None],
) -> Compared:
    engine, identity = store.engine, identify(inputs)
    lookup = store.lookup(identity)

    def miss() -> torch.Tensor:
        return prefill_on(engine, inputs, identity, empty_cache(engine), 0)[0]

    def hit() -> torch.Tensor:
        return store.compute(inputs, lookup)[0]

    variants = {"miss": miss, "hit": hit}
    times: dict[str, list[float]] = {"miss": [], "hit": []}
    logits: dict[str, torch.Tensor] = {}
    for turn in range(repeats + 1):
        for index, name in enumerate(("miss", "hit") if turn % 2 else ("hit", "miss")):
            report(2 * turn + index)
            logits[name], elapsed_ms = time_ms(engine, variants[name])
            times[name] += [elapsed_ms] if turn else []  # the first run of each is a warm-up
    served = store.serve(inputs, label=label, identity=identity)
    answer = answer_greedily(engine, inputs, served.logits, served.cache, max_new_tokens)
    return Compared(
        inputs=inputs,
        lookup=lookup,
        kept=served.kept,
        miss_ms=tuple(times["miss"]),
        hit_ms=tuple(times["hit"]),
        miss_flops=request_flops(engine.facts, inputs.num_tokens, 0, _patches(inputs, identity)),
        hit_flops=request_flops(
            engine.facts, inputs.num_tokens, lookup.reused_tokens, served.encoded_patches
        ),
        encoded_images=served.encoded_images,
        kv_bytes=kv_bytes(engine.facts, lookup.reused_tokens, engine.dtype),
        max_abs_diff=float((logits["hit"].float() - logits["miss"].float()).abs().max()),
        next_token=next_token_probs(engine, logits["hit"], 1)[0],
        answer=answer_text(engine, answer),
        logits=logits["hit"],
    )


def _patches(inputs: ModelInputs, identity: RequestIdentity) -> tuple[int, ...]:
    """Patches of each distinct image; a repeated image is encoded only once."""
    spans = zip(identity.images, inputs.spans, strict=True)
    return tuple({image.digest: span.num_patches for image, span in spans}.values())
