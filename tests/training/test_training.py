"""Optimisers, schedule, and a run that is stopped and resumed."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer

from training.joint_stage import build_joint_batch, run_joint_batch
from training.loop import Budget, Run, run_stage
from training.optim import Muon, is_block_matrix, orthogonalize, schedule
from training.train import (
    Options,
    build_joint_run,
    load_tokenizer,
    parse_options,
    train_vision,
)


def make_options(folder: Path, **more: Any) -> Options:
    arguments = ["--run-dir", str(folder), "--ranks", "1", "--float32"]
    options = parse_options([*arguments, "--vision-steps", "3", "--vision-images", "2"])
    return replace(options, joint_steps=3, joint_rows=1, **more)


def test_orthogonalize_evens_out_singular_values() -> None:
    torch.manual_seed(0)
    for shape in ((2, 24, 64), (1, 64, 24)):
        values = torch.linalg.svdvals(orthogonalize(torch.randn(shape)))
        assert values.min() > 0.3
        assert values.max() < 1.3


def test_muon_steps_against_the_gradient() -> None:
    weight = torch.nn.Parameter(torch.zeros(4, 8))
    weight.grad = torch.ones(4, 8)
    Muon([weight], lr=0.1, weight_decay=0.0).step()
    assert (weight < 0).all()


def test_which_parameters_muon_takes() -> None:
    matrix, vector = torch.zeros(2, 2), torch.zeros(2)
    assert is_block_matrix("model.language_model.layers.0.mlp.up_proj.weight", matrix)
    assert is_block_matrix("model.visual.blocks.0.attn.qkv.weight", matrix)
    assert not is_block_matrix("model.visual.merger.linear_fc1.weight", matrix)
    assert not is_block_matrix("model.language_model.embed_tokens.weight", matrix)
    assert not is_block_matrix("model.language_model.layers.0.input_layernorm.weight", vector)


def test_schedule_warms_up_and_ends_at_zero() -> None:
    assert 0 < schedule(0.0) < 0.1
    assert schedule(0.02) == pytest.approx(1.0)
    assert schedule(1.0) == pytest.approx(0.0)
    assert schedule(0.3) > schedule(0.6)


def test_budget_follows_whichever_runs_out_first() -> None:
    budget = Budget(steps=100, minutes=1.0)
    assert budget.progress(50, 6.0) == 0.5
    assert budget.progress(10, 30.0) == 0.5
    assert budget.progress(10, 90.0) == 1.0
    assert Budget(steps=100).progress(10, 1e9) == 0.1


def test_training_on_from_a_checkpoint(tmp_path: Path, random_checkpoint: Path) -> None:
    options = make_options(tmp_path, init_from=random_checkpoint, seed=5)
    tokenizer = load_tokenizer(options)
    run, model, _ = build_joint_run(options, tokenizer)
    assert run.step == 0
    expected = load_file(random_checkpoint / "model.safetensors")
    state = model.state_dict()
    assert all(torch.equal(state[name], value) for name, value in expected.items())


def run_joint(options: Options, tokenizer: Tokenizer, max_steps: int | None = None) -> Run:
    path = options.run_dir / "tokenizer.json"
    run, model, heads = build_joint_run(options, tokenizer)
    build = partial(build_joint_batch, path, options.seed, options.joint_rows)
    run_stage(run, build, partial(run_joint_batch, model, heads), max_steps=max_steps)
    return run


def test_resumed_run_equals_an_uninterrupted_one(tmp_path: Path, tokenizer: Tokenizer) -> None:
    options = make_options(tmp_path)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    train_vision(replace(options, vision_steps=1))
    whole = run_joint(options, tokenizer)
    (tmp_path / "joint.pt").unlink()
    run_joint(options, tokenizer, max_steps=1)
    resumed = run_joint(replace(options, resume=True), tokenizer)
    assert (whole.step, resumed.step) == (3, 3)
    expected = whole.modules["model"].state_dict()
    for name, value in resumed.modules["model"].state_dict().items():
        assert torch.equal(value, expected[name]), name
    lines = (tmp_path / "joint.jsonl").read_text().splitlines()
    assert '"step": 3' in lines[-1]
