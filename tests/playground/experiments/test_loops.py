"""A loop of the shipped checkpoint, broken by one setting at a time."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from transformers.generation.logits_process import NoRepeatNGramLogitsProcessor

from playground.engine import Engine
from playground.errors import InputError, StageCancelled
from playground.experiments.loops import (
    MAX_REFERENCE,
    REMEDIES,
    BrokenLoop,
    plan_remedies,
    reference_costs,
    stream_broken_loops,
)
from playground.pipeline import Run
from playground.sampling.branches import start_from_text
from playground.sampling.loops import Loop, find_loop, split_rounds
from playground.sampling.paths import prompt_prefix
from playground.sampling.score import read_answer, score_tokens
from playground.sampling.trace import SamplingSettings, TokenStep
from tests.components.runs import make_run
from tests.media_samples import make_square_image

GREEDY = SamplingSettings(temperature=0.0)
SEED = "red " * 30  # the shipped checkpoint goes on repeating itself
REFERENCE = "red, blue, red, blue, red, blue"


@pytest.fixture(scope="module")
def run(shipped_engine: Engine) -> Run:
    run = make_run(shipped_engine, "Describe this image.", make_square_image())
    run.ensure("decoder")
    return run


@pytest.fixture(scope="module")
def steps(run: Run) -> tuple[TokenStep, ...]:
    """Greedy tokens after the seeded ones, which the loop starts from."""
    prompt = prompt_prefix(run.inputs, run.merged, run.decoded)
    sampler = start_from_text(run.engine, prompt, SEED, GREEDY, max_new_tokens=100)
    *_, done = sampler.stream()
    return done.traces[0].steps


@pytest.fixture(scope="module")
def loop(run: Run, steps: tuple[TokenStep, ...]) -> Loop:
    seeded = len(read_answer(run.engine, SEED))
    found = find_loop([step.id for step in steps[seeded:]])
    assert found is not None
    return replace(found, start=found.start + seeded)


def break_it(run: Run, steps: tuple[TokenStep, ...], loop: Loop, **others: object) -> list:
    records = (run.engine, run.inputs, run.merged, run.decoded)
    options = {"planned": plan_remedies(), "max_new_tokens": 20} | others
    return list(stream_broken_loops(*records, steps=steps, loop=loop, **options))


@pytest.fixture(scope="module")
def rows(run: Run, steps: tuple[TokenStep, ...], loop: Loop) -> list[tuple[BrokenLoop, ...]]:
    reference = read_answer(run.engine, REFERENCE)
    return break_it(run, steps, loop, reference_ids=reference)


def test_seeded_tokens_come_first(run: Run, steps: tuple[TokenStep, ...]) -> None:
    ids = read_answer(run.engine, SEED)
    assert [step.id for step in steps[: len(ids)]] == ids
    assert all(step.forced for step in steps[: len(ids)])
    assert not any(step.forced for step in steps[len(ids) :])


def test_loop_locks_in(steps: tuple[TokenStep, ...], loop: Loop) -> None:
    rounds = split_rounds(loop, [step.raw_log_prob for step in steps])
    assert len(rounds) >= 3
    assert rounds[2].mean_log_prob > rounds[0].mean_log_prob


def test_unchanged_settings_repeat_the_column(
    rows: list[tuple[BrokenLoop, ...]], steps: tuple[TokenStep, ...], loop: Loop
) -> None:
    """Bit for bit the same tokens, from a forked cache."""
    row = rows[-1][0]
    assert row.changed is None
    assert row.with_image is not None
    fork = loop.start + loop.period
    ids = [step.id for step in row.with_image.trace.steps]
    assert row.with_image.fork == fork
    assert ids == [step.id for step in steps[: fork + 20]]
    assert row.with_image.num_followed == min(20, loop.end - fork)
    assert row.with_image.loop is not None
    assert not row.with_image.has_stopped


def test_ngram_ban_stops_it(rows: list[tuple[BrokenLoop, ...]]) -> None:
    found = {row.changed: row for row in rows[-1]}
    assert list(found) == [None, *(name for name, _ in REMEDIES)]
    banned = found["no_repeat_ngram_size"].with_image
    assert banned is not None
    assert banned.has_stopped
    ids = [step.id for step in banned.trace.steps]
    fours = [tuple(ids[index : index + 4]) for index in range(banned.fork - 3, len(ids) - 3)]
    assert len(set(fours)) == len(fours)


def test_loop_that_the_model_ends_has_not_been_stopped(
    run: Run, steps: tuple[TokenStep, ...], loop: Loop
) -> None:
    planned = plan_remedies(GREEDY, [("frequency_penalty", 0.5)])
    (unchanged, penalised) = break_it(run, steps, loop, planned=planned, max_new_tokens=96)[0]
    assert unchanged.with_image is not None
    assert penalised.with_image is not None
    assert unchanged.with_image.trace.finish_reason == "stop"
    assert not unchanged.with_image.has_stopped
    assert penalised.with_image.has_stopped
    assert penalised.with_image.num_followed < unchanged.with_image.num_followed


def test_rows_fill_up(rows: list[tuple[BrokenLoop, ...]]) -> None:
    for row in rows[0]:
        assert row.with_image is not None
        assert row.without_image is None
    for row in rows[1]:
        assert row.without_image is not None
        assert row.cost is None
    assert all(row.cost is not None for row in rows[2])
    with_image, without = rows[2][0].with_image, rows[2][0].without_image
    assert with_image is not None
    assert without is not None
    assert without.fork == with_image.fork


def test_cost_of_a_text_that_should_repeat(run: Run, rows: list[tuple[BrokenLoop, ...]]) -> None:
    ids = read_answer(run.engine, REFERENCE)
    prompt = prompt_prefix(run.inputs, run.merged, run.decoded)
    scored = score_tokens(run.engine, prompt, ids)
    expected = sum(step.raw_log_prob for step in scored.trace.steps)
    costs = {row.changed: row.cost for row in rows[-1]}
    unchanged, banned = costs[None], costs["no_repeat_ngram_size"]
    assert unchanged is not None
    assert banned is not None
    assert unchanged.raw_log_prob == pytest.approx(expected, abs=1e-3)
    assert unchanged.log_prob == pytest.approx(expected, abs=0.05)  # vision tokens are masked
    assert unchanged.first_removed is None
    assert unchanged.num_tokens == len(ids)
    assert unchanged.num_best == sum(rank == 1 for rank in scored.ranks)
    # The token that transformers' own processor would remove first.
    processor = NoRepeatNGramLogitsProcessor(4)
    seen = run.inputs.input_ids[0].tolist()
    logits = torch.zeros(1, run.engine.facts.vocab_size)
    removed = [
        index
        for index, token_id in enumerate(ids)
        if processor(torch.tensor([seen + ids[:index]]), logits)[0, token_id] == -math.inf
    ]
    assert banned.first_removed == removed[0]
    assert banned.log_prob == -math.inf


def test_text_prompt_has_no_second_half(shipped_engine: Engine) -> None:
    run = make_run(shipped_engine, "Hello")
    prompt = prompt_prefix(run.inputs, run.merged, run.decoded)
    scored = score_tokens(run.engine, prompt, read_answer(run.engine, "ha" * 12))
    found = find_loop([step.id for step in scored.trace.steps])
    assert found is not None
    (only,) = break_it(run, scored.trace.steps, found, planned=plan_remedies(GREEDY, []))
    assert only[0].without_image is None


def test_can_be_stopped(run: Run, steps: tuple[TokenStep, ...], loop: Loop) -> None:
    def stop(_what: str, done: int, _total: int) -> None:
        if done == 3:
            raise StageCancelled

    with pytest.raises(StageCancelled):
        break_it(run, steps, loop, progress=stop)


def test_what_is_refused(run: Run, steps: tuple[TokenStep, ...], loop: Loop) -> None:
    with pytest.raises(InputError, match="no such loop"):
        break_it(run, steps[:2], loop)
    with pytest.raises(InputError, match="The limit is"):
        break_it(run, steps, loop, reference_ids=[5] * (MAX_REFERENCE + 1))
    with pytest.raises(InputError, match="out of range"):
        plan_remedies(GREEDY, [("top_p", 2.0)])
    with pytest.raises(InputError, match="columns"):
        plan_remedies(GREEDY, [("temperature", 1.0)] * 8)


def test_costs_take_temperature_0_as_1(run: Run) -> None:
    prompt = prompt_prefix(run.inputs, run.merged, run.decoded)
    ids = read_answer(run.engine, REFERENCE)
    greedy, sampled = reference_costs(run.engine, prompt, [GREEDY, SamplingSettings()], ids)
    assert greedy == sampled
