"""Cost of a prefix hit compared with a miss, and whether eviction frees the memory.

    python -m benchmarks.prefix_hit --shape shipped --tokens 1000 --pairs 7

A request of ``--tokens`` tokens shares 50, 90 or 99 % of them with a stored one. The ideal cost is
the share of tokens left to compute. A hit cannot be cheaper than a forward pass over the remaining
tokens alone, which is measured too, with an empty cache. Looking up all blocks and joining the
stored ones are timed separately, in milliseconds of CPU time.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import gc
from collections.abc import Callable
from dataclasses import replace
from statistics import median

import torch

from benchmarks.models import SHAPES, load_shape
from benchmarks.pairs import machine_facts, measure, ratio, resident_bytes, table
from playground.cache import empty_cache
from playground.engine import Engine
from playground.kv_cache.block_hash import HashRules, identify
from playground.kv_cache.costs import request_flops
from playground.kv_cache.partial_prefill import prefill_on
from playground.kv_cache.prefix_store import PrefixStore
from playground.preprocess.stage import run_preprocess
from playground.prompt import Prompt, Turn
from playground.records import ModelInputs

SHARES = (0.5, 0.9, 0.99)
BLOCK_SIZE = 16


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, default="shipped")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--tokens", type=int, default=1000)
    parser.add_argument("--pairs", type=int, default=7)
    options = parser.parse_args()
    engine = load_shape(options.shape, device=options.device)
    whole = _text_of(engine, options.tokens)
    rows = [_measure_share(engine, whole, share, options.pairs) for share in SHARES]
    print(
        f"{options.shape}, {options.tokens:,} tokens, blocks of {BLOCK_SIZE}; {machine_facts()}\n"
    )
    header = (
        "shared",
        "computed",
        "hit / miss",
        "computed / all tokens",
        "FLOPs, hit / miss",
        "rest alone / miss",
        "max Δ logits",
        "lookup, ms",
        "lookup and join, ms",
    )
    print(table(header, rows))
    print()
    print(table(("state", "store", "memory above the start"), _measure_memory(engine, whole)))


def _text_of(engine: Engine, num_tokens: int) -> ModelInputs:
    """A request of exactly ``num_tokens`` tokens."""
    text = "What color is the circle left of the square? " * (num_tokens // 4)
    inputs = run_preprocess(engine, Prompt((Turn("user", text[:19_000]),)))
    if inputs.num_tokens < num_tokens:
        raise SystemExit(f"At most {inputs.num_tokens} tokens.")
    return _cut(inputs, num_tokens)


def _cut(inputs: ModelInputs, num_tokens: int) -> ModelInputs:
    names = ("input_ids", "attention_mask", "mm_token_type_ids")
    parts = {name: getattr(inputs, name)[:, :num_tokens] for name in names}
    return replace(inputs, tokens=inputs.tokens[:num_tokens], **parts)


def _with_other_end(inputs: ModelInputs, shared: int) -> ModelInputs:
    """The same request with other tokens from ``shared`` on."""
    ids = inputs.input_ids.clone()
    ids[0, shared:] = ids[0, shared:].flip(0) + 1
    return replace(inputs, input_ids=ids)


def _measure_share(
    engine: Engine, whole: ModelInputs, share: float, pairs: int
) -> tuple[object, ...]:
    """One row: a request with this share of its tokens stored."""
    shared = round(share * whole.num_tokens)
    store = PrefixStore(engine, HashRules(BLOCK_SIZE), max_bytes=1 << 40)
    store.serve(_with_other_end(whole, shared))
    identity = identify(whole)
    lookup = store.lookup(identity)
    rest = _cut(whole, whole.num_tokens - lookup.reused_tokens)

    def from_scratch(inputs: ModelInputs) -> Callable[[], torch.Tensor]:
        known = identify(inputs)
        return lambda: prefill_on(engine, inputs, known, empty_cache(engine), 0)[0]

    def hit() -> torch.Tensor:
        return store.compute(whole, lookup)[0]

    miss = from_scratch(whole)
    sides = {
        "miss": miss,
        "hit": hit,
        "rest": from_scratch(rest),
        "lookup": lambda: store.lookup(identity),
        "join": lambda: store.gather(store.lookup(identity)),
    }
    times = measure(sides, pairs=pairs)
    costs = [
        request_flops(engine.facts, whole.num_tokens, start).total
        for start in (lookup.reused_tokens, 0)
    ]
    computed = whole.num_tokens - lookup.reused_tokens
    return (
        f"{share:.0%}",
        f"{computed:,}",
        ratio(times["hit"], times["miss"]),
        f"{computed / whole.num_tokens:.3f}",
        f"{costs[0] / costs[1]:.3f}",
        ratio(times["rest"], times["miss"]),
        f"{float((hit().float() - miss().float()).abs().max()):.1e}",
        *(f"{median(times[name].cpu_s) * 1e3:.2f}" for name in ("lookup", "join")),
    )


def _measure_memory(engine: Engine, whole: ModelInputs) -> list[tuple[object, ...]]:
    """Fill a store with different requests, then empty it."""
    prefill_on(
        engine, whole, identify(whole), empty_cache(engine), 0
    )  # allocate torch's own buffers
    start = _memory(engine)
    store = PrefixStore(engine, HashRules(BLOCK_SIZE), max_bytes=1 << 40)
    rows: list[tuple[object, ...]] = []

    def note(state: str) -> None:
        held = store.blocks.stats.num_bytes / 1e6
        rows.append((state, f"{held:.1f} MB", f"{(_memory(engine) - start) / 1e6:.1f} MB"))

    note("empty")
    for number in range(6):
        store.serve(whole, salt=str(number))
    note("6 sessions, one request each")
    store.blocks.resize(store.blocks.stats.num_bytes // 2)
    note("half the budget")
    store.blocks.resize(0)
    note("all evicted")
    return rows


def _memory(engine: Engine) -> int:
    """Bytes in use: torch's on a GPU, the process's otherwise."""
    if engine.device.type == "cuda":
        gc.collect()
        torch.cuda.synchronize()
        return torch.cuda.memory_allocated()
    return settled_bytes()


def settled_bytes() -> int:
    """The process's memory after freed memory was returned to the system."""
    gc.collect()
    with contextlib.suppress(
        OSError
    ):  # glibc keeps the memory of small tensors; ask it to return it
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    return resident_bytes()


if __name__ == "__main__":
    main()
