"""A run with rounded weights beside the loaded ones, and whether its memory is given back.

    python -m benchmarks.rounding --shape shipped|mid|2b [--layers 28] [--pairs 5] [--check]

"One run" is a prompt with an image, recorded, and its greedy answer. "Compared" is the same and
then *What if rounded*: every part of the model rounded on a copy, the prompt run and answered with
it, and every step compared. The claim: at most 2.1 times one run and the rounding itself, and
afterwards the process holds what it held before (within 5 % of the weights).
"""

from __future__ import annotations

import argparse
import sys

from benchmarks.decoder_memory import return_freed_memory
from benchmarks.models import SHAPES, load_shape
from benchmarks.pairs import (
    machine_facts,
    measure,
    peak_memory,
    ratio,
    resident_bytes,
    table,
)
from benchmarks.scenes import start_run
from playground.compare.rounded import MODEL_PARTS, find_weights, rounded_model
from playground.compare.rounded_runs import run_rounded
from playground.compare.rounding import Format
from playground.engine import Engine
from playground.experiments.what_if_runs import greedy_answer
from playground.pipeline import Run

TARGET = 2.1
FORMATS = (Format("fp8"), Format("int8"), Format("int4"), Format("int4", 32))
LEFT = 0.05  # of the weights, afterwards


def run_once(engine: Engine, side: int, num_tokens: int) -> tuple[Run, object]:
    """One run with its answer."""
    run = start_run(engine, side=side, stage="decoder")
    answer = greedy_answer(engine, run.inputs, run.merged, run.decoded, max_new_tokens=num_tokens)
    return run, answer


def compare(engine: Engine, side: int, num_tokens: int, chosen: Format) -> None:
    """The same, and then with rounded weights."""
    run, answer = run_once(engine, side, num_tokens)
    formats = dict.fromkeys(MODEL_PARTS, chosen)
    run_rounded(run, formats, original=answer, max_new_tokens=num_tokens)  # type: ignore[arg-type]


def round_only(engine: Engine, chosen: Format) -> None:
    """The copy alone."""
    with rounded_model(engine, dict.fromkeys(MODEL_PARTS, chosen)):
        pass


def measure_time(
    engine: Engine, options: argparse.Namespace
) -> tuple[list[tuple[str, ...]], float]:
    """A row per format, and the largest ratio without the rounding itself."""
    side, tokens = options.side, options.tokens
    rows: list[tuple[str, ...]] = []
    most = 0.0
    for chosen in FORMATS:
        times = measure(
            {
                "one": lambda: run_once(engine, side, tokens),
                "compared": lambda chosen=chosen: compare(engine, side, tokens, chosen),  # type: ignore[misc]
                "rounding": lambda chosen=chosen: round_only(engine, chosen),  # type: ignore[misc]
            },
            pairs=options.pairs,
        )
        compared, rounding = (ratio(times[name], times["one"]) for name in ("compared", "rounding"))
        most = max(most, compared.middle - rounding.middle)
        name = f"{chosen.kind}, groups of {chosen.group}" if chosen.group else chosen.kind
        rows.append((name, str(compared), str(rounding)))
    return rows, most


def measure_memory(engine: Engine, options: argparse.Namespace) -> tuple[tuple[str, ...], bool]:
    """A row: the copy's weights, the peak above the start and what is left; and whether it is."""
    weights = sum(
        w.nbytes for part in MODEL_PARTS for w in find_weights(engine.model, part).values()
    )
    compare(engine, options.side, options.tokens, FORMATS[0])  # libraries allocate once
    return_freed_memory()
    start = resident_bytes()
    with peak_memory() as seen:
        for chosen in FORMATS:
            compare(engine, options.side, options.tokens, chosen)
            return_freed_memory()
    left = resident_bytes() - start
    cells = (f"{size / 1e6:,.1f} MB" for size in (weights, seen.peak_bytes, left))
    return tuple(cells), left <= LEFT * weights


def main() -> None:
    """Print both tables; with ``--check``, fail if a claim does not hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, default="shipped")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--layers", type=int)
    parser.add_argument("--side", type=int, default=448)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    engine = load_shape(options.shape, device=options.device, layers=options.layers)
    print(f"{options.shape}, {options.side} × {options.side} pixels; {machine_facts()}\n")
    rows, most = measure_time(engine, options)
    print(table(("format", "compared / one run", "rounding alone / one run"), rows))
    row, fits = measure_memory(engine, options)
    print()
    print(table(("rounded weights", "peak above the start", "left afterwards"), [row]))
    if options.check and (most > TARGET or not fits):
        sys.exit(1)


if __name__ == "__main__":
    main()
