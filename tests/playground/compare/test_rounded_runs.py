"""Runs with rounded weights: nothing moves where nothing is rounded, and drift begins there."""

from __future__ import annotations

import copy
import threading
from dataclasses import replace

import pytest
import torch

from playground.compare.rounded import MODEL_PARTS, ModelPart, find_weights, rounded_model
from playground.compare.rounded_runs import run_rounded, try_prompts
from playground.compare.rounding import Format
from playground.dump import dump_tensors
from playground.engine import Engine
from playground.errors import StageCancelled
from playground.experiments.what_if_runs import greedy_answer
from playground.pipeline import Run
from playground.prompt import PromptImage
from playground.sampling.trace import SamplingTrace
from tests.components.runs import ignore_progress, make_run

NEW_TOKENS = 6


def answer(run: Run) -> SamplingTrace:
    return greedy_answer(run.engine, run.inputs, run.merged, run.decoded, max_new_tokens=NEW_TOKENS)


def representable(engine: Engine) -> Engine:
    """A copy whose matrices are int8 already: integers up to 127, which each row reaches, times a
    power of two."""
    model = copy.deepcopy(engine.model)
    generator = torch.Generator().manual_seed(3)
    for part in MODEL_PARTS:
        for weight in find_weights(model, part).values():
            whole = torch.randint(-127, 128, weight.shape, generator=generator)
            whole[..., 0] = 127
            weight.copy_(whole * 2.0**-11)
    return replace(engine, model=model, lock=threading.RLock())


def test_int8_of_int8_changes_nothing(tiny_random_engine: Engine, image: PromptImage) -> None:
    run = make_run(representable(tiny_random_engine), "What is this?", image)
    formats = {part: Format("int8") for part in MODEL_PARTS}
    found = run_rounded(run, formats, original=answer(run), max_new_tokens=NEW_TOKENS)
    assert [check.name for check in found.drift.checks] == list(dump_tensors(run))
    assert found.drift.first_moved is None
    assert {(check.max_abs, check.relative) for check in found.drift.checks} == {(0, 0)}
    assert [part.error for part in found.parts] == [0] * 5
    assert (found.shift.kl, found.shift.same_top, found.first_difference) == (0, True, None)
    assert [step.id for step in found.rounded.steps] == [step.id for step in found.original.steps]


@pytest.mark.parametrize(
    ("part", "step"),
    [
        ("vision", "vision.image.patch_embeds"),
        ("merger", "vision.image.deepstack_features.0"),
        ("embeddings", "merge.token_embeds"),
        ("attention", "decoder.hidden_states.1"),
        ("mlp", "decoder.hidden_states.1"),
    ],
)
def test_the_drift_begins_where_it_is_rounded(
    engine: Engine, image: PromptImage, part: ModelPart, step: str
) -> None:
    run = make_run(engine, "What is this?", image)
    found = run_rounded(
        run, {part: Format("int4")}, original=answer(run), max_new_tokens=NEW_TOKENS
    )
    assert found.drift.first_moved is not None
    assert found.drift.first_moved.name == step
    assert found.drift.checks[-1].name == "decoder.logits"
    assert found.drift.checks[-1].relative
    assert found.shift.kl > 0


def test_it_is_the_run_of_the_copy(tiny_random_engine: Engine, image: PromptImage) -> None:
    run = make_run(tiny_random_engine, "What is this?", image)
    formats = {"mlp": Format("int4"), "embeddings": Format("int4")}
    found = run_rounded(run, formats, original=answer(run), max_new_tokens=NEW_TOKENS)
    with rounded_model(run.engine, formats) as made:
        other = Run(made.engine, run.prompt)
        assert answer(other) == found.rounded
        tensors = dump_tensors(other)
    for name, tensor in dump_tensors(run).items():
        check = next(each for each in found.drift.checks if each.name == name)
        assert check.max_abs == float((tensor.double() - tensors[name].double()).abs().max())


def test_several_prompts_are_answered_with_both(
    tiny_random_engine: Engine, image: PromptImage
) -> None:
    runs = [
        make_run(tiny_random_engine, "What is this?", image),
        make_run(tiny_random_engine, "Hello"),
    ]
    prompts, formats = [run.prompt for run in runs], {"embeddings": Format("int4")}
    *_, first, found = try_prompts(tiny_random_engine, prompts, formats, max_new_tokens=NEW_TOKENS)
    assert len(first) == 1
    assert first[0] is found[0]
    for run, each in zip(runs, found, strict=True):
        alone = run_rounded(run, formats, original=answer(run), max_new_tokens=NEW_TOKENS)
        assert (each.kl, each.original, each.rounded) == (
            alone.shift.kl,
            alone.original,
            alone.rounded,
        )
        assert each.first_difference == alone.first_difference


def test_trying_is_stopped_between_prompts_and_makes_room(tiny_random_engine: Engine) -> None:
    prompts = [make_run(tiny_random_engine, text).prompt for text in ("One", "Two", "Three")]
    steps: list[tuple[str, int, int]] = []

    def stop_at_the_second(what: str, done: int, total: int) -> None:
        steps.append((what, done, total))
        if done == 1 and what.startswith("prompt"):
            raise StageCancelled

    tried = try_prompts(
        tiny_random_engine, prompts, {}, max_new_tokens=2, progress=stop_at_the_second
    )
    assert len(next(tried)) == 1
    with pytest.raises(StageCancelled):
        next(tried)
    assert steps[0] == ("prompt 1 of 3", 0, 3)
    assert steps[-1] == ("prompt 2 of 3", 1, 3)
    left = try_prompts(tiny_random_engine, prompts, {}, max_new_tokens=2, progress=ignore_progress)
    assert len(next(left)) == 1
    left.close()  # as when the page is left
    with rounded_model(tiny_random_engine, {}) as made:
        assert made.parts
