"""Prefill and decode compared with the machine's roofline, measured in the same run.

    python -m benchmarks.roofline [--shape 2b] [--tokens 16] [--pairs 3]

The roof of the prefill is its FLOPs at the rate of a large matrix product of the same dtype. The
roof of decoding is the bytes that a token must read (all weights of the decoder and the head, keys
and values) at the memory bandwidth. Peak memory is given relative to the weights.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.models import SHAPES, load_shape
from benchmarks.pairs import Timing, machine_facts, measure, peak_memory, table
from benchmarks.scenes import start_run
from playground.cache import cache_bytes, fork_cache
from playground.engine import Engine
from playground.merge.stage import run_merge
from playground.pipeline import Run
from playground.records import MergedInputs
from playground.sampling.paths import decode_states, last_logits
from playground.vision.stage import run_vision

GEMM_SIDE = 2048
READ_BYTES = 1 << 30


def prefill_of(run: Run) -> Callable[[], object]:
    """Stages 2 to 4, with recording."""
    from playground.decoder.stage import run_decoder

    def prefill() -> object:
        merged = run_merge(run.engine, run.inputs, run_vision(run.engine, run.inputs))
        return run_decoder(run.engine, run.inputs, merged)

    return prefill


def decode_of(run: Run, tokens: int) -> Callable[[], object]:
    """Forward passes of one token each on a fork of the run's cache, up to the logits."""
    engine, merged = run.engine, run.merged
    first = next_position(merged)

    def decode() -> object:
        cache = fork_cache(run.decoded.cache)
        logits = run.decoded.logits[None]
        for step in range(tokens):
            ids = logits.argmax(-1)[:, None].cpu()
            positions = torch.full((3, 1, 1), first + step)
            logits = last_logits(engine, decode_states(engine, cache, ids, positions))
        return logits

    return decode


def next_position(merged: MergedInputs) -> int:
    """Position of the first token after the prompt."""
    return int(merged.position_ids.max()) + 1


def gemm(engine: Engine, side: int) -> tuple[Callable[[], object], float]:
    """A square matrix product as large as the model's own, and its FLOPs."""
    left, right, out = (
        torch.randn(side, side, dtype=engine.dtype, device=engine.device) for _ in range(3)
    )
    return lambda: torch.mm(left, right, out=out), 2.0 * side**3


def read(engine: Engine, num_bytes: int = READ_BYTES) -> Callable[[], object]:
    """One read of more memory than the CPU caches hold."""
    block = torch.ones(num_bytes // 4, dtype=torch.float32, device=engine.device)
    return lambda: block.sum()


def count_flops(prefill: Callable[[], object]) -> float:
    """FLOPs of all matrix products as torch counts them, with unmasked attention."""
    with FlopCounterMode(display=False) as counter:
        prefill()
    return float(counter.get_total_flops())


def token_bytes(run: Run) -> int:
    """Bytes that one decoded token must read: decoder, head, cached keys and values."""
    model: Any = run.engine.model
    modules: tuple[nn.Module, ...] = (
        *model.model.language_model.layers,
        model.model.language_model.norm,
        model.lm_head,
    )
    weights = {id(p): p.nbytes for module in modules for p in module.parameters()}
    return sum(weights.values()) + cache_bytes(run.decoded.cache)


def compare(of: Timing, roofs: Timing, scale: float) -> str:
    """Ratio to the roof per pair; ``scale`` adjusts the roof's run to the same work."""
    each = [a / (b * scale) for a, b in zip(of.wall_s, roofs.wall_s, strict=True)]
    return f"{median(each):.2f} ({min(each):.2f}–{max(each):.2f})"


def main() -> None:
    """Run the benchmark and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, default="2b")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype")
    parser.add_argument("--tokens", type=int, default=16, help="tokens decoded per repeat")
    parser.add_argument("--side", type=int, default=448, help="image side in pixels")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--gemm", type=int, default=GEMM_SIDE, help="side of the matrices")
    parser.add_argument("--read-mb", type=int, default=READ_BYTES >> 20)
    options = parser.parse_args()
    engine = load_shape(options.shape, device=options.device, dtype=options.dtype)
    run = start_run(engine, side=options.side, stage="decoder")
    prefill, decode = prefill_of(run), decode_of(run, options.tokens)
    product, product_flops = gemm(engine, options.gemm)
    num_read = options.read_mb << 20
    timings = measure(
        {"gemm": product, "prefill": prefill, "read": read(engine, num_read), "decode": decode},
        pairs=options.pairs,
    )
    with peak_memory() as seen:
        prefill()
    weights = sum(p.nbytes for p in engine.model.parameters())
    flops, read_bytes = count_flops(prefill), token_bytes(run)
    seconds = {name: timing.median_s for name, timing in timings.items()}
    print(f"{machine_facts()}; {options.shape}, {engine.dtype}, {run.inputs.num_tokens:,} tokens\n")
    rows: list[tuple[object, ...]] = [
        (
            "prefill",
            f"{seconds['prefill'] * 1e3:,.0f} ms",
            f"{flops / 1e9:,.0f} GFLOP at {product_flops / seconds['gemm'] / 1e9:,.0f} GFLOP/s",
            compare(timings["prefill"], timings["gemm"], flops / product_flops),
        ),
        (
            "one token",
            f"{seconds['decode'] / options.tokens * 1e3:,.1f} ms",
            f"{read_bytes / 1e9:,.2f} GB at {num_read / seconds['read'] / 1e9:,.1f} GB/s",
            compare(timings["decode"], timings["read"], options.tokens * read_bytes / num_read),
        ),
    ]
    print(table(("", "time", "roof", "times the roof"), rows))
    print(
        f"\nMemory at the peak of the prefill: {(weights + seen.peak_bytes) / weights:.2f} times "
        f"the weights ({weights / 1e9:.2f} GB)"
    )


if __name__ == "__main__":
    main()
