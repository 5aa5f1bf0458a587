"""Decoding with candidates, entropy and filters recorded, compared with plain ``generate``.

    python -m benchmarks.decode_loop [--shape mid] [--tokens 64] [--pairs 7]

Both start from the prompt's tensors, so they include the prefill; the ratio without it is printed
too.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from statistics import median

import torch

from benchmarks.captures import plain_forward, staged
from benchmarks.models import SHAPES, load_shape
from benchmarks.pairs import cpu_ratio, machine_facts, measure, ratio, table
from benchmarks.scenes import start_run
from playground.decoder.stage import run_decoder
from playground.engine import Engine
from playground.merge.stage import run_merge
from playground.preprocess.stage import model_kwargs
from playground.records import ModelInputs
from playground.sampling.stage import run_sampling
from playground.sampling.trace import SamplingRun, SamplingSettings
from playground.vision.stage import run_vision

GREEDY = SamplingSettings(temperature=0.0)


def bare_generate(engine: Engine, inputs: ModelInputs, tokens: int) -> Callable[[], torch.Tensor]:
    """``generate(do_sample=False)``."""
    kwargs = model_kwargs(inputs, engine.device)

    def run() -> torch.Tensor:
        with engine.exclusive():
            ids: torch.Tensor = engine.model.generate(
                **kwargs, do_sample=False, max_new_tokens=tokens
            )
            return ids

    return run


def with_logits(engine: Engine, inputs: ModelInputs, tokens: int) -> Callable[[], object]:
    """transformers' own record: only the logits of every step."""
    kwargs = model_kwargs(inputs, engine.device)

    def run() -> object:
        with engine.exclusive():
            return engine.model.generate(
                **kwargs,
                do_sample=False,
                max_new_tokens=tokens,
                output_logits=True,
                return_dict_in_generate=True,
            )

    return run


def recorded(engine: Engine, inputs: ModelInputs, tokens: int) -> Callable[[], SamplingRun]:
    """Stages 2 to 5."""

    def run() -> SamplingRun:
        merged = run_merge(engine, inputs, run_vision(engine, inputs))
        decoded = run_decoder(engine, inputs, merged)
        return run_sampling(engine, inputs, merged, decoded, [GREEDY], max_new_tokens=tokens)

    return run


def main() -> None:
    """Run the benchmark and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, default="mid")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--tokens", type=int, default=64)
    options = parser.parse_args()
    engine = load_shape(options.shape, device=options.device)
    inputs = start_run(engine).inputs
    generate = bare_generate(engine, inputs, options.tokens)
    ours = recorded(engine, inputs, options.tokens)
    new_ids = generate()[0, inputs.num_tokens :].tolist()
    (trace,) = ours().traces
    same = [step.id for step in trace.steps] == new_ids
    timings = measure(
        {
            "generate": generate,
            "ours": ours,
            "with output_logits": with_logits(engine, inputs, options.tokens),
            "plain prefill": plain_forward(engine, inputs),
            "staged prefill": staged(engine, inputs),
        },
        pairs=options.pairs,
    )
    print(f"{machine_facts()}; {options.shape}, {engine.dtype}, {len(new_ids)} tokens, ", end="")
    print("identical\n" if same else "NOT identical\n")
    rows: list[tuple[object, ...]] = [
        (
            name,
            f"{timing.median_s * 1000:.0f}",
            ratio(timing, timings["generate"]),
            cpu_ratio(timing, timings["generate"]),
        )
        for name, timing in timings.items()
    ]
    print(table(("", "ms", "of generate", "CPU time"), rows))
    ours_s, staged_s, theirs_s, plain_s = (
        timings[name].cpu_s for name in ("ours", "staged prefill", "generate", "plain prefill")
    )
    alone = [
        (a - b) / (c - d) for a, b, c, d in zip(ours_s, staged_s, theirs_s, plain_s, strict=True)
    ]
    print(f"\nDecoding alone, CPU time, median: {median(alone):.3f} of generate's")


if __name__ == "__main__":
    main()
