"""A second checkpoint beside the first: the cost of a comparison.

    python -m benchmarks.compare --shape shipped|mid|2b [--layers 28] [--pairs 5] [--check]

"One run" is a prompt with an image through one checkpoint, recorded, and its greedy answer.
"Compared" is the same through two of the same shape, every step compared and each answer scored by
the other. The claims: at most 2.1 times one run; the weights of two checkpoints of the 2B shape
compared in 30 s; memory of both checkpoints and 10 % more.
"""

from __future__ import annotations

import argparse
import copy
import sys
import threading
import time
from dataclasses import replace

import torch

from benchmarks.models import SHAPES, load_shape
from benchmarks.pairs import machine_facts, measure, peak_memory, ratio, table
from benchmarks.scenes import start_run
from playground.compare.answers import compare_answers
from playground.compare.drift import measure_drift, run_beside
from playground.compare.weights import compare_weights
from playground.engine import Engine
from playground.experiments.what_if_runs import GREEDY, greedy_answer

TARGET, WEIGHTS_S, ROOM = 2.1, 30.0, 0.1


def twin_of(engine: Engine) -> Engine:
    """A second checkpoint: every weight differs a little, so that all of them are compared."""
    model = copy.deepcopy(engine.model)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(1.01)
    return replace(engine, model=model, lock=threading.RLock())


def run_once(engine: Engine, side: int, num_tokens: int) -> None:
    """One run with its answer."""
    run = start_run(engine, side=side, stage="decoder")
    greedy_answer(engine, run.inputs, run.merged, run.decoded, max_new_tokens=num_tokens)


def compare(engine: Engine, other: Engine, side: int, num_tokens: int) -> None:
    """Both runs, their drift, and both answers."""
    first = start_run(engine, side=side, stage="decoder")
    second = run_beside(first, other)
    measure_drift(first, second)
    compare_answers(first, second, GREEDY, max_new_tokens=num_tokens)


def main() -> None:
    """Print the figures; with ``--check``, fail if a claim does not hold."""
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
    other = twin_of(engine)
    print(f"{options.shape}, {options.side} × {options.side} pixels; {machine_facts()}\n")
    compared = 0.0
    if options.pairs:
        times = measure(
            {
                "one": lambda: run_once(engine, options.side, options.tokens),
                "compared": lambda: compare(engine, other, options.side, options.tokens),
            },
            pairs=options.pairs,
        )
        found = ratio(times["compared"], times["one"])
        compared = found.middle
        print(table(("compared / one run",), [(str(found),)]))
    weights = sum(weight.nbytes for weight in engine.model.parameters())
    with peak_memory() as seen:
        start = time.perf_counter()
        compare_weights(engine.model, other.model)
        took = time.perf_counter() - start
    print()
    headers = ("weights of each", "compared in", "peak above both checkpoints")
    sizes = (f"{size / 1e6:,.1f} MB" for size in (weights, seen.peak_bytes))
    print(table(headers, [(next(sizes), f"{took:.2f} s", next(sizes))]))
    is_kept = compared <= TARGET and took <= WEIGHTS_S and seen.peak_bytes <= ROOM * 2 * weights
    if options.check and not is_kept:
        sys.exit(1)


if __name__ == "__main__":
    main()
