"""Two checkpoints used at once, and what a comparison leaves behind."""

from __future__ import annotations

import gc
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from playground.compare.answers import compare_answers
from playground.compare.drift import measure_drift
from playground.compare.swap import measure_stages
from playground.engine import Engine
from playground.pipeline import Run
from playground.prompt import PromptImage
from playground.sampling.stage import run_sampling
from playground.sampling.trace import SamplingSettings
from tests.components.runs import make_run
from tests.playground.compare.changed_engines import changed_engine

EMBED = "model.language_model.embed_tokens.weight"


@pytest.fixture(scope="module")
def other(shipped_engine: Engine) -> Engine:
    return changed_engine(shipped_engine, [EMBED], amount=0.5)


def write(engine: Engine, image: PromptImage, seed: int) -> tuple[torch.Tensor, list[int]]:
    """A run's logits and its sampled answer."""
    run = make_run(engine, f"What is number {seed}?", image)
    (trace,) = run_sampling(
        engine,
        run.inputs,
        run.merged,
        run.decoded,
        [SamplingSettings(seed=seed)],
        max_new_tokens=6,
    ).traces
    return run.decoded.logits, [step.id for step in trace.steps]


def test_users_of_both_checkpoints_get_what_each_gets_alone(
    shipped_engine: Engine, other: Engine, image: PromptImage
) -> None:
    asked = [(engine, seed) for seed in range(4) for engine in (shipped_engine, other)]
    alone = [write(engine, image, seed) for engine, seed in asked]
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(lambda each: write(each[0], image, each[1]), asked))
    for (logits, ids), (logits_then, ids_then) in zip(alone, together, strict=True):
        assert logits.equal(logits_then)
        assert ids == ids_then


def test_a_comparison_gives_its_memory_back(
    shipped_engine: Engine, other: Engine, image: PromptImage
) -> None:
    def held() -> int:
        gc.collect()
        tensors = (each for each in gc.get_objects() if type(each) is torch.Tensor)
        storages = {each.untyped_storage().data_ptr(): each.untyped_storage() for each in tensors}
        return sum(storage.nbytes() for storage in storages.values())

    def compare() -> int:
        first = make_run(shipped_engine, "What is this?", image)
        second = Run(other, first.prompt)
        measure_drift(first, second)
        compare_answers(first, second, SamplingSettings(), max_new_tokens=4)
        *_, effects = measure_stages(first, second)
        assert effects.kl > 0
        return held()

    before = held()
    during = compare()
    assert during > before
    assert held() - before <= 0.05 * (during - before)
