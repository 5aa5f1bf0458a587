"""Drift: zero against itself, and from a changed module on."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch

from playground.compare.drift import measure_drift, run_beside, token_drift
from playground.dump import dump_tensors
from playground.engine import Engine
from playground.pipeline import Run
from playground.prompt import Prompt, PromptImage, Turn
from tests.components.runs import make_run
from tests.playground.compare.changed_engines import changed_engine


@pytest.fixture(scope="module")
def run(engine: Engine, image: PromptImage) -> Run:
    return make_run(engine, "What is this?", image)


def test_no_drift_against_itself(run: Run) -> None:
    drift = measure_drift(run, Run(changed_engine(run.engine), run.prompt))
    assert [check.name for check in drift.checks] == list(dump_tensors(run))
    assert drift.first_moved is None
    assert all(check.relative == 0 == check.max_abs for check in drift.checks)
    assert drift.only_first == drift.only_second == ()


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("model.visual.patch_embed.proj.weight", "vision.image.patch_embeds"),
        ("model.visual.pos_embed.weight", "vision.image.pos_embeds"),
        ("model.visual.blocks.1.attn.qkv.weight", "vision.image.hidden_states.2"),
        ("model.visual.merger.linear_fc1.weight", "vision.image.pooler_output"),
        ("model.language_model.embed_tokens.weight", "merge.token_embeds"),
        ("model.language_model.layers.0.mlp.up_proj.weight", "decoder.hidden_states.1"),
        ("model.language_model.norm.weight", "decoder.last_hidden_state"),
    ],
)
def test_the_drift_begins_at_the_changed_module(run: Run, name: str, step: str) -> None:
    drift = measure_drift(run, Run(changed_engine(run.engine, [name]), run.prompt))
    assert drift.first_moved is not None
    assert drift.first_moved.name == step
    moved = next(c for c in drift.checks if c.name == "decoder.logits")
    assert moved.relative is not None
    assert moved.relative > 0
    assert moved.cosine is not None
    assert moved.cosine < 1


def test_inputs_of_one_processor_are_made_once(run: Run) -> None:
    twin = changed_engine(run.engine)
    assert run_beside(run, twin).inputs is run.inputs
    assert measure_drift(run, run_beside(run, twin)).first_moved is None
    own = replace(twin, processor=copy.copy(twin.processor))
    assert run_beside(run, own).inputs is not run.inputs


def test_steps_that_one_run_lacks_are_named(run: Run) -> None:
    without = Run(run.engine, Prompt((Turn("user", "What is this?"),)))
    drift = measure_drift(run, without)
    assert "vision.image.patch_embeds" in drift.only_first
    assert drift.only_second == ()


def test_token_drift_by_hand() -> None:
    first = torch.tensor([[3.0, 4.0], [0.0, 2.0], [0.0, 0.0]])
    second = torch.tensor([[3.0, 4.0], [0.0, 3.0], [0.0, 0.0]])
    assert token_drift(first, second).tolist() == [0, 0.5, 0]
