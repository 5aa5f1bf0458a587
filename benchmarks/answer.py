"""An answer appended to a recorded prompt, compared with a prefill of the prompt.

    python -m benchmarks.answer --shape shipped|mid|2b [--layers 28] [--pairs 5] [--check]

"Prefill" is the plain forward pass over the prompt. The claim: with the prompt's record at hand, a
record of prompt and answer, for 20 tokens after about 1,000, costs at most 0.15 of it. Then the
whole decoder tab is drawn for the prompt, and again for prompt and answer while the prompt's record
is held: the peak must stay within the tab's bound (``decoder_memory``).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from benchmarks.captures import plain_forward as prefill
from benchmarks.decoder_memory import (
    EXTRA_BYTES,
    FACTOR,
    PIXELS,
    measure_peak,
    plain_forward,
    return_freed_memory,
    whole_tab,
)
from benchmarks.growth import WORDS
from benchmarks.models import SHAPES, load_shape
from benchmarks.pairs import cpu_ratio, machine_facts, measure, ratio, table
from benchmarks.scenes import start_run
from playground.answer.stage import MEMO, run_with_answer
from playground.answer.summary import describe_answer
from playground.decoder.stage import run_decoder
from playground.engine import Engine
from playground.pipeline import Run

TARGET = 0.15
ANSWER_IDS = tuple(range(5, 25))  # which tokens does not affect the cost


def append_answer(run: Run) -> Run:
    """What ``run_with_answer`` computes, without its memo."""
    run.memo(MEMO, lambda: None, of="nothing")
    return run_with_answer(run, ANSWER_IDS)


def fastest_summary(run: Run) -> Callable[[], object]:
    """The summary of the answer's tokens from the record alone, with a new answer each time."""
    return lambda: describe_answer(append_answer(run), measure_images=False)


def measure_memory(engine: Engine, shape: str) -> tuple[tuple[object, ...], bool]:
    """A row of the second table, and whether the tab stays within its bound."""
    warm = start_run(engine, side=128, stage="merge")
    plain_forward(warm)  # libraries and thread pools allocate their memory once
    warm.ensure("decoder")
    run = start_run(engine, side=PIXELS[shape], stage="merge")
    plain = measure_peak(lambda: plain_forward(run))
    before = run.num_bytes

    def both_tabs() -> None:
        whole_tab(run, shape)
        return_freed_memory()  # the claim is about what is held, not what the allocator keeps
        whole_tab(run_with_answer(run, ANSWER_IDS), shape)

    peak = measure_peak(both_tabs)
    bound = round(FACTOR * plain) + EXTRA_BYTES
    sizes = (plain, peak, run.num_bytes - before, bound)
    cells = (f"{size / 10**6:,.0f} MB" for size in sizes)
    fits = peak <= bound
    return (f"{run.inputs.num_tokens:,}", *cells, "yes" if fits else "NO"), fits


def measure_time(engine: Engine, num_tokens: int, pairs: int) -> tuple[str, float]:
    """The first table, and the answer's share of a prefill."""
    words = (WORDS * num_tokens).split()[:num_tokens]
    run = start_run(engine, side=0, text=" ".join(words), stage="decoder")
    name = f"{len(ANSWER_IDS)} answer tokens"
    timings = measure(
        {
            "prefill": prefill(engine, run.inputs),
            "prefill, recorded": lambda: run_decoder(engine, run.inputs, run.merged),
            name: lambda: append_answer(run),
            "… and their summary": fastest_summary(run),
        },
        pairs=pairs,
    )
    plain = timings["prefill"]
    rows = [
        (label, f"{each.median_s * 1000:.0f}", str(ratio(each, plain)), str(cpu_ratio(each, plain)))
        for label, each in timings.items()
    ]
    head = f"after {run.inputs.num_tokens:,} tokens"
    shown = table((head, "ms", "wall ratio", "CPU ratio"), rows)
    return shown, ratio(timings[name], plain).middle


def main() -> None:
    """Run the benchmark and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, default="shipped")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--pairs", type=int, default=5, help="0: the memory alone")
    parser.add_argument("--tokens", type=int, default=1_000, help="of the prompt")
    parser.add_argument("--layers", type=int, help="of the decoder, instead of the shape's own")
    parser.add_argument("--check", action="store_true", help="fail if a claim does not hold")
    options = parser.parse_args()
    engine = load_shape(options.shape, device=options.device, layers=options.layers)
    print(f"{machine_facts()}; {options.shape}, {engine.dtype}\n")
    share = 0.0
    if options.pairs:
        times, share = measure_time(engine, options.tokens, options.pairs)
        print(times, flush=True)
    memory, fits = measure_memory(engine, options.shape)
    header = ("image prompt, tokens", "plain forward", "both tabs", "records", "bound", "kept")
    print("\n" + table(header, [memory]))
    if options.check and (share > TARGET or not fits):
        sys.exit("An answer costs more than claimed.")


if __name__ == "__main__":
    main()
