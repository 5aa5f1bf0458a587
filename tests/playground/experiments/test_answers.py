"""An answer read again, against plain forwards over prompt and answer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from playground.engine import Engine
from playground.errors import InputError, StageCancelled
from playground.experiments.answers import (
    AnswerShift,
    answer_log_probs,
    first_dependent_token,
    read_at_once,
    without_images,
)
from playground.experiments.what_if import StatePatch, WhatIf, change_merged
from playground.experiments.what_if_runs import greedy_answer, run_changed, run_what_if
from playground.merge.extend import extend_merged
from playground.pipeline import Run
from tests.components.runs import make_run
from tests.media_samples import make_image, make_square_image
from tests.playground.experiments.plain_forward import plain_log_probs


@pytest.fixture(scope="module")
def runs(tiny_random_engine: Engine, shipped_engine: Engine) -> dict[int, Run]:
    """One run of each checkpoint."""
    started = {}
    for engine in (tiny_random_engine, shipped_engine):
        run = make_run(engine, "Describe this image.", make_square_image(), make_image())
        run.ensure("decoder")
        started[id(engine)] = run
    return started


@pytest.fixture
def run(engine: Engine, runs: dict[int, Run]) -> Run:
    """Two images and a question, on either checkpoint."""
    return runs[id(engine)]


def write_answer(run: Run, count: int = 6) -> list[int]:
    answer = greedy_answer(run.engine, run.inputs, run.merged, run.decoded, max_new_tokens=count)
    return [step.id for step in answer.steps]


def test_an_answer_is_read_as_a_plain_forward_reads_it(run: Run) -> None:
    ids = write_answer(run)
    read = answer_log_probs(run.engine, run.merged, run.decoded, ids)
    np.testing.assert_allclose(read, plain_log_probs(run, ids), atol=2e-5)
    others = [5, 9, 5]  # no greedy answer
    read = answer_log_probs(run.engine, run.merged, run.decoded, others)
    np.testing.assert_allclose(read, plain_log_probs(run, others), atol=1e-4)
    assert read.dtype == np.float32
    with pytest.raises(InputError, match="answer is empty"):
        answer_log_probs(run.engine, run.merged, run.decoded, [])


def test_a_sequence_is_extended_by_an_answer(run: Run) -> None:
    ids = write_answer(run)
    read = read_at_once(run.engine, run.merged, ids)
    np.testing.assert_allclose(read, plain_log_probs(run, ids), atol=2e-5)
    assert extend_merged(run.engine, run.merged, []) is run.merged
    extended = extend_merged(run.engine, run.merged, ids[:2])
    last = int(run.merged.position_ids.max())
    assert extended.position_ids[:, 0, -2:].tolist() == [[last + 1, last + 2]] * 3
    assert not extended.visual_pos_masks[0, -2:].any()  # type: ignore[index]


def test_without_images_every_visual_token_is_masked(run: Run) -> None:
    ids = write_answer(run)
    shift = without_images(run.engine, run.inputs, run.merged, run.decoded, ids)
    visual = tuple(i for span in run.inputs.spans for i in range(span.start, span.end))
    blind = extend_merged(run.engine, change_merged(run.merged, WhatIf(masked=visual)), ids[:-1])
    model: Any = run.engine.model
    with torch.no_grad():
        hidden = model.model.language_model(
            inputs_embeds=blind.inputs_embeds, position_ids=blind.position_ids, use_cache=False
        ).last_hidden_state[:, -len(ids) :]
        rows = model.lm_head(hidden)[0].log_softmax(-1)
    expected = rows.gather(1, torch.tensor(ids)[:, None])[:, 0]
    np.testing.assert_allclose(shift.after, expected, atol=1e-4)
    np.testing.assert_allclose(shift.drop, shift.before - shift.after)
    text = make_run(run.engine, "Hello")
    with pytest.raises(InputError, match="no image"):
        without_images(run.engine, text.inputs, text.merged, text.decoded, ids)


def test_a_changed_run_reads_with_its_own_layers(run: Run) -> None:
    """Under edits of layers, too: a greedy answer's own probabilities come back."""
    what_if = WhatIf(
        skipped_layers=(1,),
        zeroed_heads=((0, 1),),
        deepstack_gains=(0.0,),
        patches=(StatePatch(2, 5, torch.ones(run.engine.facts.hidden_size)),),
    )
    changed = run_what_if(run.engine, run.inputs, run.merged, what_if, max_new_tokens=5)
    steps = changed.answer.steps
    read = answer_log_probs(
        changed.engine, changed.merged, changed.decoded, [step.id for step in steps]
    )
    raw = [next(c.raw_prob for c in step.top if c.id == step.id) for step in steps]
    np.testing.assert_allclose(np.exp(read), raw, atol=1e-4)
    prefill = run_changed(run.engine, run.inputs, run.merged, what_if)
    assert torch.equal(prefill.logits, changed.decoded.logits)
    ids = write_answer(run)
    before = answer_log_probs(run.engine, run.merged, run.decoded, ids)
    np.testing.assert_allclose(before, plain_log_probs(run, ids), atol=2e-5)
    after = answer_log_probs(changed.engine, changed.merged, changed.decoded, ids)
    assert after.shape == before.shape
    assert np.abs(after - before).max() > 1e-3


def test_the_first_token_that_depends_on_the_image(shipped_engine: Engine) -> None:
    before = np.zeros(4, np.float32)
    end = shipped_engine.model.generation_config.eos_token_id
    end = end if isinstance(end, int) else end[0]
    ids = (5, 6, 7, end)
    telling = AnswerShift(ids, before, -np.array([0.9, 1.5, 8.0, 9.0], np.float32))
    assert first_dependent_token(shipped_engine, telling) == 1
    likely = np.log(np.array([1, 0.4, 0.6, 1], np.float32))
    unsure = AnswerShift(ids, likely, -np.array([0.9, 4.0, 8.0, 9.0], np.float32))
    assert first_dependent_token(shipped_engine, unsure) == 2
    silent = AnswerShift(ids, before, -np.array([0.1, 0.2, 0.5, 9.0], np.float32))
    assert first_dependent_token(shipped_engine, silent) == 2


def test_reading_stops_at_the_next_layer(run: Run) -> None:
    seen: list[int] = []

    def stop(what: str, done: int, _total: int) -> None:
        if what == "answer, layer":
            seen.append(done)
            if done == 1:
                raise StageCancelled

    with pytest.raises(StageCancelled):
        answer_log_probs(run.engine, run.merged, run.decoded, [5, 6], progress=stop)
    assert seen == [0, 1]
    for module in run.engine.model.modules():
        assert not module._forward_pre_hooks
