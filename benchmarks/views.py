"""What a tab computes after a run, as a share of a prefill: a map, a lens.

python -m benchmarks.views [--shape mid] [--pairs 7]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch

from benchmarks.captures import plain_forward
from benchmarks.models import SHAPES, load_shape
from benchmarks.pairs import machine_facts, measure, peak_memory, ratio, table
from benchmarks.scenes import start_run
from playground.decoder import logit_lens
from playground.decoder_attention import attention_rows, layer_queries_keys
from playground.pipeline import Run
from playground.vision_attention import patch_attention

LENS_TOKENS = 64  # positions of the lens: the full table of a long prompt is these many times more


def text_map(run: Run) -> Callable[[], object]:
    """One decoder layer: all heads, the last token's row and the whole matrix's queries."""
    layer = run.decoded.num_layers // 2
    rows = list(range(run.inputs.num_tokens))[-16:]
    return lambda: attention_rows(layer_queries_keys(run.engine, run.decoded, layer), rows)


def vision_map(run: Run) -> Callable[[], object]:
    """One vision block: the map of one patch, all heads."""
    span, tower = run.inputs.spans[0], run.vision.image
    assert tower is not None
    block = run.engine.facts.vision_depth // 2
    return lambda: patch_attention(
        run.engine, tower, span, block, row=span.grid_h // 2, column=span.grid_w // 2
    )


def lens(run: Run, positions: tuple[int, ...]) -> Callable[[], object]:
    """Top 5 of every layer at some positions."""
    return lambda: logit_lens(run.engine, run.decoded, positions, 5)


def lens_gemm(run: Run, positions: tuple[int, ...]) -> Callable[[], object]:
    """The matrix product alone that the lens cannot do without, in chunks of the same size."""
    model = run.engine.model
    rows = torch.stack([state[list(positions)] for state in run.decoded.hidden_states])
    rows = rows.flatten(0, 1).to(run.engine.device)
    buffer = torch.empty(128, model.lm_head.weight.shape[0], dtype=rows.dtype, device=rows.device)

    def run_gemm() -> None:
        with run.engine.exclusive():
            for chunk in rows.split(128):
                torch.mm(chunk, model.lm_head.weight.T, out=buffer[: len(chunk)])

    return run_gemm


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, default="mid")
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--side", type=int, default=448)
    options = parser.parse_args()
    run = start_run(load_shape(options.shape), side=options.side, stage="decoder")
    last = (run.inputs.num_tokens - 1,)
    spread = tuple(range(0, run.inputs.num_tokens, max(1, run.inputs.num_tokens // LENS_TOKENS)))
    sides = {
        "prefill": plain_forward(run.engine, run.inputs),
        "attention of a text layer": text_map(run),
        "attention of a vision block": vision_map(run),
        "lens, last position": lens(run, last),
        f"lens, {len(spread)} positions": lens(run, spread),
        "its GEMM": lens_gemm(run, spread),
    }
    timings = measure(sides, pairs=options.pairs)
    with peak_memory() as seen:
        sides[f"lens, {len(spread)} positions"]()
    engine = run.engine
    print(f"{machine_facts()}; {options.shape}, {engine.dtype}, {run.inputs.num_tokens} tokens\n")
    rows: list[tuple[object, ...]] = [
        (name, f"{timing.median_s * 1000:.1f}", ratio(timing, timings["prefill"]))
        for name, timing in timings.items()
    ]
    print(table(("", "ms", "of a prefill"), rows))
    against = ratio(timings[f"lens, {len(spread)} positions"], timings["its GEMM"])
    print(f"\nThe lens against its GEMM: {against}; its peak: {seen.peak_bytes / 2**20:.0f} MB")


if __name__ == "__main__":
    main()
