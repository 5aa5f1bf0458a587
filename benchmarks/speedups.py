"""Each optimisation compared with the earlier implementation, interleaved.

    python -m benchmarks.speedups [--shape mid] [--dtype bfloat16] [--pairs 7]

The earlier implementations are kept here: the patch embedding as transformers' Conv3d, the logit
lens with ``topk`` and ``logsumexp`` over the whole vocabulary, and one token with ``nn.Linear``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from benchmarks.captures import plain_forward
from benchmarks.models import SHAPES, load_shape
from benchmarks.pairs import cpu_ratio, machine_facts, measure, peak_memory, ratio, table
from benchmarks.scenes import start_run
from playground.cache import fork_cache
from playground.decoder.stage import logit_lens
from playground.engine import Engine
from playground.loading.one_row import OneRowLinear
from playground.loading.patch_projection import PatchProjection
from playground.pipeline import Run
from playground.sampling.paths import decode_step, prompt_prefix

EARLIER_LENS_ROWS = 64
LENS_POSITIONS = 32
TOP_K = 5


def by_kind(
    modules: Sequence[nn.Module], kind: type[nn.Module], run: Callable[[], object]
) -> Callable[[], object]:
    """The same call with these modules of another class over the same weights."""

    def run_with_it() -> object:
        usual = [type(module) for module in modules]
        for module in modules:
            module.__class__ = kind
        try:
            return run()
        finally:
            for module, own in zip(modules, usual, strict=True):
                module.__class__ = own

    return run_with_it


def one_token(engine: Engine, run: Run) -> Callable[[], object]:
    """One token decoded after the prompt, with its logits."""
    prefix = prompt_prefix(run.inputs, run.merged, run.decoded)
    ids, positions = torch.zeros((1, 1), dtype=torch.int64), torch.full((3, 1, 1), prefix.start)

    def decode() -> object:
        return decode_step(engine, fork_cache(prefix.cache), ids, positions)

    return decode


def embed(engine: Engine, run: Run) -> Callable[[], object]:
    """Only the patch embedding."""
    pixels, visual = run.inputs.pixel_values, engine.model.model.visual
    assert pixels is not None
    on_device = pixels.to(engine.device)

    def run_embedding() -> object:
        with engine.exclusive():
            return visual.patch_embed(on_device)

    return run_embedding


def earlier_lens(run: Run, positions: tuple[int, ...]) -> Callable[[], object]:
    """Chunks of 64 rows, each in newly allocated memory, with ``topk`` over all tokens."""
    model = run.engine.model

    def run_lens() -> None:
        states = [state[list(positions)] for state in run.decoded.hidden_states]
        for chunk in torch.stack(states).flatten(0, 1).split(EARLIER_LENS_ROWS):
            with run.engine.exclusive():
                normed = model.model.language_model.norm(chunk.to(run.engine.device))
                logits = model.lm_head(normed).float()
                top = logits.topk(TOP_K)
                (top.values - logits.logsumexp(-1, keepdim=True)).exp().cpu()

    return run_lens


def main() -> None:
    """Run the benchmark and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", choices=SHAPES, default="mid")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype")
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--side", type=int, default=448, help="image side in pixels")
    options = parser.parse_args()
    engine = load_shape(options.shape, device=options.device, dtype=options.dtype)
    run = start_run(engine, side=options.side, stage="decoder")
    forward, embedding = plain_forward(engine, run.inputs), embed(engine, run)
    step = max(1, run.inputs.num_tokens // LENS_POSITIONS)
    positions = tuple(range(0, run.inputs.num_tokens, step))
    model: Any = engine.model
    patches, kinds = [model.model.visual.patch_embed.proj], (nn.Conv3d, PatchProjection)
    rows_of_one = [each for each in model.modules() if type(each) is OneRowLinear]
    pairs: dict[str, tuple[Callable[[], object], ...]] = {
        "patch embedding": tuple(by_kind(patches, kind, embedding) for kind in kinds),
        "the whole prefill": tuple(by_kind(patches, kind, forward) for kind in kinds),
        f"logit lens at {len(positions)} positions": (
            earlier_lens(run, positions),
            lambda: logit_lens(engine, run.decoded, positions, TOP_K),
        ),
    }
    if rows_of_one:  # in bfloat16
        token = one_token(engine, run)
        pairs["one token"] = tuple(
            by_kind(rows_of_one, kind, token) for kind in (nn.Linear, OneRowLinear)
        )
    print(f"{machine_facts()}; {options.shape}, {engine.dtype}, {run.inputs.num_tokens:,} tokens\n")
    rows: list[tuple[object, ...]] = []
    for name, (before, after) in pairs.items():
        times = measure({"before": before, "after": after}, pairs=options.pairs)
        peaks = []
        for side in (before, after):
            with peak_memory() as seen:
                side()
            peaks.append(f"{seen.peak_bytes / 1e6:.0f}")
        milliseconds = [f"{times[side].median_s * 1e3:,.1f}" for side in ("before", "after")]
        rows.append(
            (
                name,
                " → ".join(milliseconds) + " ms",
                ratio(times["after"], times["before"]),
                cpu_ratio(times["after"], times["before"]),
                " → ".join(peaks) + " MB",
            )
        )
    print(table(("", "before → after", "after / before", "CPU time", "peak"), rows))


if __name__ == "__main__":
    main()
