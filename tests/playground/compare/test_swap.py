"""Stages of a second checkpoint in the first: equal to a model with those weights loaded."""

from __future__ import annotations

import copy

import pytest
import torch

from playground.compare.mix import StageOfModel, list_stages, mix_engines
from playground.compare.swap import (
    answer_mixed,
    measure_stages,
    run_mixed,
    runs_at_difference,
)
from playground.engine import Engine
from playground.errors import InputError
from playground.pipeline import Run
from playground.preprocess.stage import model_kwargs
from playground.prompt import Prompt, PromptImage, Turn
from tests.components.runs import make_run
from tests.playground.compare.changed_engines import changed_engine

CHANGED = (
    "model.visual.blocks.0.mlp.linear_fc1.weight",
    "model.language_model.embed_tokens.weight",
    "model.language_model.layers.1.self_attn.q_proj.weight",
    "model.language_model.layers.1.mlp.down_proj.weight",
    "model.language_model.norm.weight",
)
EACH = (
    [StageOfModel("vision")],
    [StageOfModel("embeddings")],
    [StageOfModel("layer", 1)],
    [StageOfModel("head")],
    [StageOfModel("vision"), StageOfModel("layer", 0), StageOfModel("layer", 1)],
)


@pytest.fixture(scope="module")
def first(engine: Engine, image: PromptImage) -> Run:
    return make_run(engine, "What is this?", image)


@pytest.fixture(scope="module")
def second(first: Run) -> Run:
    return Run(changed_engine(first.engine, CHANGED), first.prompt)


@pytest.fixture(scope="module")
def loaded(first: Run) -> torch.nn.Module:
    """A model of its own, whose weights a test may set."""
    return copy.deepcopy(first.engine.model)


def load_mix(model: torch.nn.Module, first: Run, second: Run, stages: list[StageOfModel]) -> None:
    """Load the weights that a mixed model should have, by name."""
    paths = tuple(path for stage in stages for path in stage.paths)
    own, other = (run.engine.model.state_dict() for run in (first, second))
    state = {
        name: (other if name.startswith(tuple(f"{path}." for path in paths)) else own)[name]
        for name in own
    }
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.clone())  # not tied any more
    model.load_state_dict(state)


@pytest.mark.parametrize("stages", EACH)
def test_a_mixed_model_is_one_with_the_other_weights(
    first: Run, second: Run, loaded: torch.nn.Module, stages: list[StageOfModel]
) -> None:
    load_mix(loaded, first, second, stages)
    kwargs = model_kwargs(first.inputs, first.engine.device)
    with torch.no_grad():
        plain = loaded(**kwargs, logits_to_keep=1).logits[0, -1]
        written = loaded.generate(**kwargs, do_sample=False, max_new_tokens=6)
    mixed = run_mixed(first, second, stages)
    assert (mixed.decoded.logits - plain).abs().max() <= 1e-5
    answer = answer_mixed(first, mixed, max_new_tokens=6)
    assert [step.id for step in answer.steps] == written[0, first.inputs.num_tokens :].tolist()


def test_no_stage_is_the_first_and_every_stage_the_second(first: Run, second: Run) -> None:
    nothing = run_mixed(first, second, [])
    assert nothing.decoded.logits.equal(first.decoded.logits)
    everything = run_mixed(first, second, list_stages(first.engine))
    assert everything.decoded.logits.equal(second.decoded.logits)


def test_stages_cover_every_parameter_once(first: Run) -> None:
    names = {name for name, _ in first.engine.model.named_parameters(remove_duplicate=False)}
    for stage in list_stages(first.engine):
        inside = {n for n in names if n.startswith(tuple(f"{path}." for path in stage.paths))}
        assert inside
        names -= inside
    assert not names


def test_both_checkpoints_stay_as_they_were(first: Run, second: Run) -> None:
    before = first.decoded.logits.clone(), second.decoded.logits.clone()
    run_mixed(first, second, list_stages(first.engine)[:3])
    for run, logits in zip((first, second), before, strict=True):
        assert Run(run.engine, run.prompt).decoded.logits.equal(logits)


def test_a_change_in_one_stage_is_carried_by_it_alone(
    shipped_engine: Engine, image: PromptImage
) -> None:
    name = "model.language_model.layers.2.mlp.down_proj.weight"
    run = make_run(shipped_engine, "What is this?", image)
    other = Run(changed_engine(shipped_engine, [name], amount=0.8), run.prompt)
    *_, effects = measure_stages(run, other)
    assert effects.kl > 0
    for effect in effects.stages:
        carries = effect.stage == StageOfModel("layer", 2)
        assert effects.carried(effect) == (1 if carries else 0), effect.stage
        assert (effect.kl_first > 0) == carries


def test_a_mixed_engine_holds_both_locks(first: Run, second: Run) -> None:
    mixed = mix_engines(first.engine, second.engine, [StageOfModel("head")])
    with mixed.exclusive():
        assert not torch.is_grad_enabled()
        for run in (first, second):
            assert run.engine.lock._is_owned()  # type: ignore[attr-defined]
    for run in (first, second):
        assert not run.engine.lock._is_owned()  # type: ignore[attr-defined]


def test_different_inputs_are_refused(first: Run, wide_image: PromptImage) -> None:
    other = Run(first.engine, Prompt((Turn("user", "What is this?", (wide_image,)),)))
    with pytest.raises(InputError, match="different inputs"):
        run_mixed(first, other, [StageOfModel("head")])


def test_runs_are_extended_to_the_first_difference(first: Run, second: Run) -> None:
    ids = first.inputs.input_ids[0, -3:].tolist()
    one, other, shared = runs_at_difference(first, second, ([*ids, 5], [*ids, 6]))
    assert shared == 3
    for run, prompt in ((one, first), (other, second)):
        kwargs = model_kwargs(prompt.inputs, prompt.engine.device)
        kwargs["input_ids"] = torch.cat([kwargs["input_ids"], torch.tensor([ids])], dim=1)
        kwargs["attention_mask"] = torch.ones_like(kwargs["input_ids"])
        kwargs["mm_token_type_ids"] = torch.nn.functional.pad(kwargs["mm_token_type_ids"], (0, 3))
        with torch.no_grad():
            plain = run.engine.model(**kwargs, logits_to_keep=1).logits[0, -1]
        assert (run.decoded.logits - plain).abs().max() <= 1e-4
    mixed = run_mixed(one, other, list_stages(first.engine))
    assert (mixed.decoded.logits - other.decoded.logits).abs().max() <= 1e-4


def test_equal_answers_are_compared_at_the_prompt(first: Run, second: Run) -> None:
    assert runs_at_difference(first, second, ([1, 2], [1, 2])) == (first, second, 0)
    assert runs_at_difference(first, second, ([1, 2], [2, 2])) == (first, second, 0)
