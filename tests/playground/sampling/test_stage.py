"""The decode loop against ``generate``, and columns against each alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from playground.engine import Engine
from playground.errors import InputError
from playground.preprocess.stage import model_kwargs
from playground.records import ModelInputs
from playground.sampling import columns as sampling_columns
from playground.sampling.generation_config import barred_token_ids, end_token_ids
from playground.sampling.paths import decode_states, prompt_prefix
from playground.sampling.score import score_tokens
from playground.sampling.stage import run_sampling
from playground.sampling.trace import SamplingSettings
from tests.playground.sampling_prefills import (
    COLUMNS,
    GREEDY,
    PROMPTS,
    Prefill,
    ids_of,
    poisoned_deltas,
)

# --------------------------------------------------------------------------- against generate


def greedy_reference(engine: Engine, inputs: ModelInputs, **kwargs: Any) -> list[int]:
    """What ``generate`` adds; it must leave no ``rope_deltas`` behind for other tests."""
    model: Any = engine.model
    with engine.exclusive():
        shared = model.model.rope_deltas
        try:
            ids = model.generate(
                **model_kwargs(inputs), do_sample=False, max_new_tokens=64, **kwargs
            )
        finally:
            model.model.rope_deltas = shared
    added: list[int] = ids[0, inputs.num_tokens :].tolist()
    return added


@pytest.mark.parametrize("name", PROMPTS)
@pytest.mark.parametrize("endless", [True, False], ids=["64 tokens", "to the end"])
def test_greedy_run_equals_generate(
    engine: Engine, prefill: Prefill, name: str, endless: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Token by token, with and without the ids that end an answer.

    ``generate`` may sample a vision token and we may not; where it does, the reference is
    ``generate(suppress_tokens=...)``, which is the same bar.
    """
    case = prefill(engine, name)
    ending: dict[str, Any] = {}
    if endless:
        monkeypatch.setattr(sampling_columns, "end_token_ids", lambda engine: frozenset())
        ending = {"eos_token_id": -1}
    with poisoned_deltas(engine):
        run = run_sampling(engine, *case.stages, [GREEDY], max_new_tokens=64)
    expected = greedy_reference(engine, case.inputs, **ending)
    barred = barred_token_ids(engine)
    if not set(barred).isdisjoint(expected):
        expected = greedy_reference(engine, case.inputs, suppress_tokens=list(barred), **ending)
    assert ids_of(run) == [expected]
    assert len(expected) == 64 or not endless
    stopped = expected[-1] in end_token_ids(engine) and not endless
    assert run.traces[0].finish_reason == ("stop" if stopped else "length")
    decoded = engine.tokenizer.decode(expected, skip_special_tokens=True)
    assert run.traces[0].text == decoded


def test_greedy_run_with_repetition_penalty_equals_generate(
    engine: Engine, prefill: Prefill
) -> None:
    """The penalty covers the prompt too, and greedy ``generate`` applies it."""
    case = prefill(engine, "image")
    settings = SamplingSettings(temperature=0, repetition_penalty=1.3)
    run = run_sampling(engine, *case.stages, [settings], max_new_tokens=64)
    expected = greedy_reference(
        engine,
        case.inputs,
        repetition_penalty=1.3,
        suppress_tokens=list(barred_token_ids(engine)),
    )
    assert ids_of(run) == [expected]


def test_greedy_run_of_a_mixture_of_experts(
    tiny_random_moe_engine: Engine, prefill: Prefill
) -> None:
    engine = tiny_random_moe_engine
    case = prefill(engine, "image")
    run = run_sampling(engine, *case.stages, [GREEDY], max_new_tokens=64)
    barred = list(barred_token_ids(engine))
    assert ids_of(run) == [greedy_reference(engine, case.inputs, suppress_tokens=barred)]


# --------------------------------------------------------------------------- columns


@pytest.mark.parametrize("name", ["text", "image and video"])
def test_column_in_a_batch_gives_what_it_gives_alone(
    engine: Engine, prefill: Prefill, name: str
) -> None:
    case = prefill(engine, name)
    with poisoned_deltas(engine):
        together = run_sampling(engine, *case.stages, COLUMNS, max_new_tokens=24)
        alone = [
            run_sampling(engine, *case.stages, [settings], max_new_tokens=24)
            for settings in COLUMNS
        ]
    assert ids_of(together) == [ids_of(run)[0] for run in alone]
    assert [trace.text for trace in together.traces] == [run.traces[0].text for run in alone]


def test_column_that_ends_early_leaves_the_others_alone(
    engine: Engine, prefill: Prefill, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = prefill(engine, "two images")
    monkeypatch.setattr(sampling_columns, "end_token_ids", lambda engine: frozenset())
    rows = ids_of(run_sampling(engine, *case.stages, COLUMNS, max_new_tokens=16))
    # Ends of two columns, one after the other; whichever other column says them ends as well.
    ends = {rows[2][3], rows[0][8]}
    monkeypatch.setattr(sampling_columns, "end_token_ids", lambda engine: frozenset(ends))
    run = run_sampling(engine, *case.stages, COLUMNS, max_new_tokens=16)
    expected = []
    for row in rows:
        length = next((index + 1 for index, token in enumerate(row) if token in ends), 16)
        expected.append(row[:length])
    assert ids_of(run) == expected
    assert len(expected[2]) <= 4
    reasons = ["stop" if row[-1] in ends else "length" for row in expected]
    assert [trace.finish_reason for trace in run.traces] == reasons


def test_ended_columns_cost_nothing(
    tiny_random_engine: Engine, prefill: Prefill, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = prefill(tiny_random_engine, "text")
    rows: list[int] = []

    def count(engine: Engine, cache: Any, token_ids: torch.Tensor, positions: Any) -> torch.Tensor:
        rows.append(len(token_ids))
        return decode_states(engine, cache, token_ids, positions)

    monkeypatch.setattr(sampling_columns, "decode_states", count)
    run = run_sampling(tiny_random_engine, *case.stages, [GREEDY], max_new_tokens=5)
    assert len(rows) == len(run.traces[0].steps) - 1  # the last token is not fed back
    ends = frozenset({ids_of(run)[0][2]})
    monkeypatch.setattr(sampling_columns, "end_token_ids", lambda engine: ends)
    rows.clear()
    run_sampling(tiny_random_engine, *case.stages, [GREEDY, GREEDY], max_new_tokens=5)
    assert all(count == 2 for count in rows)
    assert len(rows) <= 2


def test_seeds_reproduce_and_differ(engine: Engine, prefill: Prefill) -> None:
    case = prefill(engine, "image")
    columns = [SamplingSettings(temperature=2.0, seed=seed) for seed in (5, 6, 5)]
    torch.manual_seed(123)
    global_state = torch.random.get_rng_state()
    first = run_sampling(engine, *case.stages, columns, max_new_tokens=12)
    again = run_sampling(engine, *case.stages, columns, max_new_tokens=12)
    assert torch.equal(torch.random.get_rng_state(), global_state)
    assert ids_of(first) == ids_of(again)
    rows = ids_of(first)
    assert rows[0] == rows[2] != rows[1]
    divergence = first.first_divergence
    assert divergence is not None
    assert rows[0][:divergence] == rows[1][:divergence]
    uniforms = [[step.uniform for step in trace.steps] for trace in first.traces]
    assert uniforms[0] == uniforms[2]


def test_vision_tokens_are_never_sampled(tiny_random_engine: Engine, prefill: Prefill) -> None:
    case = prefill(tiny_random_engine, "image")
    barred = barred_token_ids(tiny_random_engine)
    names = tiny_random_engine.tokenizer.convert_ids_to_tokens(list(barred))
    assert set(names) == {
        "<|image_pad|>",
        "<|video_pad|>",
        "<|vision_start|>",
        "<|vision_end|>",
        "<|vision_pad|>",
    }
    wanted = case.output.logits.clone()
    wanted[list(barred)] += 1000
    output = replace(case.output, logits=wanted)
    columns = [GREEDY, SamplingSettings(temperature=100.0)]
    run = run_sampling(
        tiny_random_engine, case.inputs, case.merged, output, columns, max_new_tokens=1
    )
    for trace in run.traces:
        assert trace.steps[0].id not in barred
        top_candidates = trace.steps[0].top[:5]
        assert {candidate.id for candidate in top_candidates} == set(barred)
        assert {candidate.removed_by for candidate in top_candidates} == {"vision_tokens"}


# --------------------------------------------------------------------------- the context window


@pytest.mark.parametrize(("room", "asked", "reason"), [(5, 9, "window"), (5, 5, "length")])
def test_an_answer_stops_at_the_end_of_the_context_window(
    tiny_random_engine: Engine,
    prefill: Prefill,
    room: int,
    asked: int,
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sampling_columns, "end_token_ids", lambda engine: frozenset())
    case = prefill(tiny_random_engine, "image")
    facts = tiny_random_engine.facts
    small = replace(facts, max_position_embeddings=case.inputs.num_tokens + room)
    engine = replace(tiny_random_engine, facts=small)
    run = run_sampling(engine, *case.stages, COLUMNS[:2], max_new_tokens=asked)
    for trace in run.traces:
        assert (len(trace.steps), trace.finish_reason) == (room, reason)
        assert case.inputs.num_tokens + len(trace.steps) == small.max_position_embeddings


def test_a_prompt_that_fills_the_window_leaves_no_room(
    tiny_random_engine: Engine, prefill: Prefill
) -> None:
    case = prefill(tiny_random_engine, "text")
    facts = replace(tiny_random_engine.facts, max_position_embeddings=case.inputs.num_tokens)
    engine = replace(tiny_random_engine, facts=facts)
    with pytest.raises(InputError, match="context window is full"):
        run_sampling(engine, *case.stages, [GREEDY], max_new_tokens=1)
    larger = replace(facts, max_position_embeddings=case.inputs.num_tokens + 1)
    with pytest.raises(InputError, match="The text has 2 tokens") as caught:
        score_tokens(replace(engine, facts=larger), prompt_prefix(*case.stages), [5, 6])
    assert "room for 1 " in caught.value.limit
