"""Faithful first: the staged run gives exactly what one plain ``model(**inputs)`` gives."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from playground.engine import Engine
from playground.pipeline import Run
from playground.preprocess.stage import model_kwargs
from tests.playground.prompt_samples import PROMPTS


@pytest.fixture(scope="module", params=sorted(PROMPTS))
def run(request: pytest.FixtureRequest, engine: Engine) -> Run:
    return Run(engine, PROMPTS[request.param])


@torch.no_grad()
def plain(run: Run, **options: Any) -> Any:
    """One forward of transformers, with nothing of ours in it."""
    model: Any = run.engine.model
    model.model.rope_deltas = None
    return model(**model_kwargs(run.inputs), **options)


def test_the_last_logits_are_bit_equal(run: Run) -> None:
    # Like with like: both sides multiply one row by lm_head. A product of many rows at once may
    # split its sums in another way, see below.
    reference = plain(run, logits_to_keep=1).logits[0, -1]
    assert (run.decoded.logits - reference).abs().max().item() == 0.0
    assert run.parity.max_abs_diff == 0.0
    assert run.parity.ok
    assert run.parity.same_argmax


@torch.no_grad()
def test_the_logits_of_all_positions_are_bit_equal(run: Run) -> None:
    model: Any = run.engine.model
    reference = plain(run).logits
    staged = model.lm_head(run.decoded.last_hidden_state[None])
    assert (staged - reference).abs().max().item() == 0.0
    # The same row from the product of all rows.
    assert (run.decoded.logits - reference[0, -1]).abs().max().item() <= 1e-4


def test_the_cache_is_bit_equal(run: Run) -> None:
    reference = plain(run, use_cache=True).cache
    staged = run.decoded.cache
    assert staged.get_seq_length() == run.inputs.num_tokens
    for mine, theirs in zip(staged.layers, reference.layers, strict=True):
        assert torch.equal(mine.keys, theirs.keys)
        assert torch.equal(mine.values, theirs.values)


def test_rope_deltas_are_those_of_the_plain_run(run: Run) -> None:
    plain(run)
    model: Any = run.engine.model
    deltas = model.model.rope_deltas
    assert int(run.merged.rope_deltas) == (0 if deltas is None else int(deltas))
    model.model.rope_deltas = None


def test_no_stage_touches_the_shared_rope_deltas(run: Run) -> None:
    model: Any = run.engine.model
    poison = torch.tensor([[12345]])
    model.model.rope_deltas = poison
    try:
        fresh = Run(run.engine, run.prompt)
        fresh.ensure("decoder")
        assert model.model.rope_deltas is poison
        assert fresh.parity.max_abs_diff == 0.0
        assert model.model.rope_deltas is poison
        assert torch.equal(fresh.decoded.logits, run.decoded.logits)
    finally:
        model.model.rope_deltas = None


def test_another_run_in_between_changes_nothing(engine: Engine) -> None:
    image, text = PROMPTS["two_images"], PROMPTS["text"]
    alone = Run(engine, image).decoded.logits
    one, other = Run(engine, image), Run(engine, text)
    for stage in ("preprocess", "vision", "merge", "decoder"):
        one.ensure(stage)
        other.ensure(stage)
    assert torch.equal(one.decoded.logits, alone)
