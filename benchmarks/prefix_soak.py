"""Soak test: thousands of random requests to a prefix store, each checked against no cache.

    python -m benchmarks.prefix_soak --requests 10000

The requests, sessions, block sizes, policies and changing budgets are those of
``tests/playground/kv_cache/test_prefix_store_random.py``, on a random checkpoint of 170,000
parameters.
"""

from __future__ import annotations

import argparse
import itertools
import random
import tempfile
import time

import torch

from benchmarks.pairs import machine_facts, table
from benchmarks.prefix_hit import settled_bytes
from playground.kv_cache.block_hash import HashRules
from playground.kv_cache.block_store import POLICIES
from playground.kv_cache.prefix_store import PrefixStore
from playground.loading.load import load_engine
from playground.records import ModelInputs
from tests.playground.kv_cache.test_prefix_store_random import (
    FOLLOW_UPS,
    IMAGES,
    SYSTEMS,
    TEXTS,
    Reference,
)
from tests.tiny_random import make_tiny_random_checkpoint

REQUESTS_PER_STORE = 500


def main() -> None:
    """Print one row per store."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    draw = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as folder:
        engine = load_engine(make_tiny_random_checkpoint(folder), device="cpu", dtype="float32")
        reference = Reference(engine)
        prompts = -settled_bytes()
        for choice in itertools.product(SYSTEMS, [*IMAGES, "video"], TEXTS, FOLLOW_UPS):
            _ask(reference, *choice)  # reference logits, kept outside the store
        prompts += settled_bytes()
        rows = []
        started, before = time.perf_counter(), settled_bytes()
        for first in range(0, options.requests, REQUESTS_PER_STORE):
            rows.append(_soak(draw, reference, min(REQUESTS_PER_STORE, options.requests - first)))
        seconds = time.perf_counter() - started
    print(machine_facts())
    print(table(("block", "policy", "requests", "hits", "evicted", "max Δ", "over budget"), rows))
    grown = (settled_bytes() - before) / 1e6
    print(
        f"{options.requests:,} requests in {seconds:.0f} s; memory grew by {grown:.1f} MB "
        f"(plus {prompts / 1e6:.0f} MB for the different prompts and their logits)."
    )
    if any(row[-1] or row[-2] > 1e-4 for row in rows):
        raise SystemExit("The logits of a request differ, or the budget was exceeded.")


def _soak(
    draw: random.Random, reference: Reference, num_requests: int
) -> tuple[int, str, int, int, int, float, int]:
    """Send random requests to one new store."""
    engine = reference.engine
    per_token = engine.facts.kv_bytes_per_token(torch.float32)
    size, policy = draw.choice((1, 3, 8, 16)), draw.choice(POLICIES)
    store = PrefixStore(engine, HashRules(size), max_bytes=100 * per_token, policy=policy)
    hits, over, largest = 0, 0, 0.0
    for _ in range(num_requests):
        if draw.random() < 0.05:
            store.blocks.resize(draw.randrange(300) * per_token)
        inputs, expected = _ask(
            reference,
            draw.choice(SYSTEMS),
            draw.choice([*IMAGES, "video"]),
            draw.choice(TEXTS),
            draw.choice(FOLLOW_UPS),
        )
        served = store.serve(inputs, salt=draw.choice("ab"))
        largest = max(largest, float((served.logits - expected).abs().max()))
        hits += served.reused_tokens > 0
        held = sum(t.nbytes for entry in store.blocks.entries() for t in entry.tensors)
        over += held > store.blocks.max_bytes or held != store.blocks.stats.num_bytes
    return size, policy, num_requests, hits, store.blocks.stats.num_evicted, largest, over


def _ask(
    reference: Reference, system: str, image: str, text: str, follow_up: str | None
) -> tuple[ModelInputs, torch.Tensor]:
    return reference.get(system=system, image=image, text=text, follow_up=follow_up)


if __name__ == "__main__":
    main()
