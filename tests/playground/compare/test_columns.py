"""Columns of two checkpoints at once: each as if it were alone."""

from __future__ import annotations

import pytest

from playground.compare.columns import JoinedSamplers
from playground.engine import Engine
from playground.pipeline import Run
from playground.prompt import PromptImage
from playground.sampling.columns import Sampler
from playground.sampling.paths import prompt_prefix
from playground.sampling.trace import SamplingSettings
from tests.components.runs import make_run
from tests.playground.compare.changed_engines import changed_engine

EMBED = "model.language_model.embed_tokens.weight"
SETTINGS = [SamplingSettings(seed=seed, temperature=1.2) for seed in (3, 4, 5)]
PLACES = [[0, 2], [1]]


def make_sampler(run: Run, settings: list[SamplingSettings]) -> Sampler:
    prefix = prompt_prefix(run.inputs, run.merged, run.decoded)
    return Sampler(run.engine, prefix, settings, max_new_tokens=6, keep_paths=True)


@pytest.fixture(scope="module")
def runs(tiny_random_engine: Engine, image: PromptImage) -> tuple[Run, Run]:
    first = make_run(tiny_random_engine, "What is this?", image)
    return first, Run(changed_engine(tiny_random_engine, [EMBED], amount=0.5), first.prompt)


def test_each_column_is_what_it_is_alone(runs: tuple[Run, Run]) -> None:
    samplers = [
        make_sampler(run, [SETTINGS[place] for place in places])
        for run, places in zip(runs, PLACES, strict=True)
    ]
    joined = JoinedSamplers(samplers, PLACES)
    *_, last = joined.stream()
    owners = (0, 1, 0)
    for place, (owner, trace) in enumerate(zip(owners, last.traces, strict=True)):
        alone = make_sampler(runs[owner], [SETTINGS[place]])
        *_, expected = alone.stream()
        assert [step.id for step in trace.steps] == [step.id for step in expected.traces[0].steps]
        assert trace.settings == SETTINGS[place]
        path = joined.paths()[place]
        assert path.token_ids == tuple(step.id for step in trace.steps)
    assert len(joined.seconds) == len(joined.token_seconds) == 3
    assert all(list(times) == sorted(times) for times in joined.token_seconds)


def test_the_checkpoints_take_turns(runs: tuple[Run, Run]) -> None:
    samplers = [make_sampler(run, [SETTINGS[0]]) for run in runs]
    counts = [
        [len(trace.steps) for trace in so_far.traces]
        for so_far in JoinedSamplers(samplers, [[0], [1]]).stream()
    ]
    assert counts[:4] == [[1, 0], [1, 1], [2, 1], [2, 2]]
