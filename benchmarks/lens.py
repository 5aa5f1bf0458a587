"""The logit lens (nostalgebraist 2020), compared with its matrix product and with a prefill.

    python -m benchmarks.lens [--shape mid] [--positions 64] [--pairs 7]

Its matrix product is the same rows times ``lm_head``, in chunks of the same size into one buffer.
The naive lens computes the logits of all rows at once and then the top tokens with ``topk``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch

from benchmarks.captures import plain_forward
from benchmarks.models import SHAPES, load_shape
from benchmarks.pairs import cpu_ratio, machine_facts, measure, peak_memory, ratio, table
from benchmarks.scenes import start_run
from playground.decoder.stage import LENS_ROWS, logit_lens
from playground.pipeline import Run

TOP_K = 5


def lens(run: Run, positions: tuple[int, ...]) -> Callable[[], object]:
    """The most likely tokens of every layer at some positions."""
    return lambda: logit_lens(run.engine, run.decoded, positions, TOP_K)


def _rows(run: Run, positions: tuple[int, ...]) -> torch.Tensor:
    states = torch.stack([state[list(positions)] for state in run.decoded.hidden_states])
    return states.flatten(0, 1).to(run.engine.device)


def lens_gemm(run: Run, positions: tuple[int, ...]) -> Callable[[], object]:
    """Only the matrix product."""
    weight, rows = run.engine.model.lm_head.weight, _rows(run, positions)
    buffer = torch.empty(LENS_ROWS, len(weight), dtype=rows.dtype, device=rows.device)

    def run_gemm() -> None:
        with run.engine.exclusive():
            for chunk in rows.split(LENS_ROWS):
                torch.mm(chunk, weight.T, out=buffer[: len(chunk)])

    return run_gemm


def naive_lens(run: Run, positions: tuple[int, ...]) -> Callable[[], object]:
    """The naive lens: all logits at once."""
    model, rows = run.engine.model, _rows(run, positions)

    def run_naive() -> object:
        with run.engine.exclusive():
            logits = model.lm_head(model.model.language_model.norm(rows)).float()
            return logits.softmax(-1).topk(TOP_K)

    return run_naive


def main() -> None:
    """Run the benchmark and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, default="mid")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype")
    parser.add_argument("--positions", type=int, default=64)
    parser.add_argument("--side", type=int, default=448, help="image side in pixels")
    parser.add_argument("--pairs", type=int, default=7)
    options = parser.parse_args()
    engine = load_shape(options.shape, device=options.device, dtype=options.dtype)
    run = start_run(engine, side=options.side, stage="decoder")
    length = run.inputs.num_tokens
    spread = tuple(range(0, length, max(1, length // options.positions)))[: options.positions]
    sides = {
        "its own product": lens_gemm(run, spread),
        "lens": lens(run, spread),
        "naive": naive_lens(run, spread),
        "lens, last position": lens(run, (length - 1,)),
        "prefill": plain_forward(engine, run.inputs),
    }
    timings = measure(sides, pairs=options.pairs)
    memory = {}
    for name, side in sides.items():
        with peak_memory() as seen:
            side()
        memory[name] = f"{seen.peak_bytes / 1e6:.0f} MB"
    print(
        f"{machine_facts()}; {options.shape}, {engine.dtype}, {engine.facts.num_layers + 1} layers "
        f"at {len(spread)} of {length:,} positions, {engine.facts.vocab_size:,} tokens\n"
    )
    rows: list[tuple[object, ...]] = [
        (
            name,
            f"{timing.median_s * 1e3:.1f} ms",
            ratio(timing, timings["its own product"]),
            cpu_ratio(timing, timings["its own product"]),
            ratio(timing, timings["prefill"]),
            memory[name],
        )
        for name, timing in timings.items()
    ]
    print(table(("", "time", "of its product", "CPU time", "of a prefill", "peak"), rows))


if __name__ == "__main__":
    main()
