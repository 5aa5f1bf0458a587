"""Decoding on a GPU: recorded loop, ``generate``, a compiled step, and the memory roofline.

    python -m benchmarks.generate_gpu [--shape 2b] [--device cuda] [--tokens 64] [--eager]

The eager loop waits for Python to launch its kernels; a static cache and ``torch.compile`` (CUDA
graphs) show the limit of the GPU. ``--eager`` skips the compiled variant, which on a CPU
takes over a minute to compile and is not faster.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from statistics import median

import torch

from benchmarks.decode_loop import GREEDY, bare_generate
from benchmarks.models import SHAPES, load_shape
from benchmarks.pairs import machine_facts, measure, peak_memory, ratio, table
from benchmarks.roofline import READ_BYTES, decode_of, prefill_of, read, token_bytes
from benchmarks.scenes import start_run
from playground.pipeline import Run
from playground.preprocess.stage import model_kwargs
from playground.sampling.columns import Sampler
from playground.sampling.paths import prompt_prefix
from playground.sampling.trace import SamplingSettings

COLUMNS = 8
LARGEST = (1_024, 2_048, 3_072, 4_096)  # image sides in pixels


def compiled_generate(run: Run, tokens: int) -> Callable[[], object]:
    """``generate`` with a static cache, whose step transformers compiles."""
    engine = run.engine
    kwargs = model_kwargs(run.inputs, engine.device)

    def generate() -> object:
        with engine.exclusive():
            return engine.model.generate(
                **kwargs,
                do_sample=False,
                min_new_tokens=tokens,
                max_new_tokens=tokens,
                cache_implementation="static",
            )

    return generate


def columns(run: Run, count: int, tokens: int) -> Callable[[], object]:
    """The recorded loop over several columns, from the run's prefill on."""
    prefix = prompt_prefix(run.inputs, run.merged, run.decoded)
    settings: list[SamplingSettings] = [GREEDY] * count

    def write() -> object:
        sampler = Sampler(run.engine, prefix, settings, max_new_tokens=tokens)
        for _ in sampler.stream():
            pass
        return sampler.run

    return write


def largest_image(run: Run) -> str:
    """The largest square image whose recorded prefill fits on the GPU."""
    fits = "none"
    for side in LARGEST:
        try:
            larger = start_run(run.engine, side=side, stage="decoder")
        except torch.OutOfMemoryError:
            break
        fits = f"{side:,} x {side:,} pixels, {larger.inputs.num_tokens:,} tokens"
        del larger
        torch.cuda.empty_cache()
    return fits


def main() -> None:
    """Run the benchmark and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, default="2b")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--side", type=int, default=448, help="image side in pixels")
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--eager", action="store_true", help="skip the compiled variant")
    options = parser.parse_args()
    engine = load_shape(options.shape, device=options.device)
    run = start_run(engine, side=options.side, stage="decoder")
    sides = {
        "generate": bare_generate(engine, run.inputs, options.tokens),
        "eager": decode_of(run, options.tokens),
        "recorded, one column": columns(run, 1, options.tokens),
        f"recorded, {COLUMNS} columns": columns(run, COLUMNS, options.tokens),
        "prefill": prefill_of(run),
        "read": read(engine, READ_BYTES if engine.device.type == "cuda" else 1 << 20),
    }
    if not options.eager:
        sides["static cache, compiled"] = compiled_generate(run, options.tokens)
    num_read = READ_BYTES if engine.device.type == "cuda" else 1 << 20
    timings = measure(sides, pairs=options.pairs)
    rate = num_read / median(timings["read"].wall_s)
    limit_s = options.tokens * token_bytes(run) / rate
    print(f"{machine_facts()}; {options.shape}, {engine.dtype}, {run.inputs.num_tokens:,} tokens\n")
    rows: list[tuple[object, ...]] = [
        (
            name,
            f"{timing.median_s * 1e3:.1f} ms",
            ratio(timing, timings["generate"]),
            f"{limit_s / timing.median_s:.0%}",
        )
        for name, timing in timings.items()
        if name != "read"
    ]
    print(table(("", "time", "of generate", "of the bandwidth limit"), rows))
    with peak_memory() as seen:
        sides["prefill"]()
    print(f"\nMemory of the recorded prefill above the weights: {seen.peak_bytes / 1e6:,.0f} MB")
    if engine.device.type == "cuda":
        print(f"The largest image that fits: {largest_image(run)}")


if __name__ == "__main__":
    main()
