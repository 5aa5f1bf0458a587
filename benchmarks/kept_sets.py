"""Check that the fast filters keep exactly the same tokens as transformers.

    python -m benchmarks.kept_sets [--rows 10000] [--vocab 151936]

Random rows of every kind (peaked, flat, with ties) under random settings: ids and numbers of the
kept tokens must be equal. The share of rows that fall back to the reference is printed too.
"""

from __future__ import annotations

import argparse
import random
import sys
import time

import numpy as np
import torch

from benchmarks.pairs import machine_facts
from playground.sampling import candidates as sampling_candidates
from playground.sampling.candidates import keep_tokens
from playground.sampling.filter_chain import FilterContext, filter_logits
from playground.sampling.logits_filters import REMOVED
from playground.sampling.trace import SamplingSettings

SCALES = (3.0, 30.0, 1e-3)  # typical, peaked, flat


def random_settings(rng: random.Random) -> SamplingSettings:
    """Random but plausible settings of a column."""
    return SamplingSettings(
        temperature=rng.choice((0.0, 0.3, 0.7, 1.0, 1.7)),
        top_k=rng.choice((0, 0, 1, 20, 50, 500)),
        top_p=rng.choice((0.5, 0.8, 0.95, 1.0)),
        min_p=rng.choice((0.0, 0.0, 0.02, 0.3)),
        typical_p=rng.choice((0.5, 0.9, 1.0, 1.0)),
        repetition_penalty=rng.choice((1.0, 1.0, 1.1)),
    )


def differs(logits: torch.Tensor, context: FilterContext) -> bool:
    """Whether one row's kept ids or logits differ from the reference."""
    kept = keep_tokens(logits, context)
    steps = filter_logits(logits[None], context)
    expected = steps[-1].logits[0] if steps else logits
    ids = (expected != REMOVED).nonzero()[:, 0]
    same = kept.ids.tolist() == ids.tolist()
    return not (same and np.array_equal(kept.logits, expected[ids].numpy()))


def main() -> None:
    """Compare and print; the exit status is 1 if a row differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--vocab", type=int, default=151_936)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng, generator = random.Random(options.seed), torch.Generator().manual_seed(options.seed)
    prompt, none = torch.arange(20), torch.zeros((1, 0), dtype=torch.int64)
    wrong = left = 0
    started = time.perf_counter()
    for _ in range(options.rows):
        logits = torch.randn(options.vocab, generator=generator) * rng.choice(SCALES)
        if rng.random() < 0.2:
            logits = logits.round()  # ties
        context = FilterContext(random_settings(rng), prompt, none, prompt[:4])
        wrong += differs(logits, context)
        left += sampling_candidates._keep_candidates(logits.numpy(), context) is None
    print(f"{machine_facts()}; {time.perf_counter() - started:.0f} s")
    print(f"{options.rows:,} rows of {options.vocab:,} tokens: {wrong} differ; ", end="")
    print(f"{left / options.rows:.1%} fell back to the reference")
    if wrong:
        sys.exit(1)


if __name__ == "__main__":
    main()
