"""The script that rounds: the same weights and answer as the playground's rounded copy."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
from transformers import AutoModelForImageTextToText

from components.snippets.scripts import write_snippet
from playground.compare.rounded import WEIGHTS, rounded_model
from playground.compare.rounding import Format
from playground.engine import Engine
from playground.experiments.what_if_runs import greedy_answer
from playground.pipeline import Run
from tests.components.runs import make_run

FORMATS = {"vision": ("int8", 0), "merger": ("fp8", 0), "mlp": ("int4", 32)}


@pytest.fixture
def rounding_play(play: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """``play``, with a model that the script may change."""
    load: Any = AutoModelForImageTextToText.from_pretrained  # one model for all snippets
    monkeypatch.setattr(
        AutoModelForImageTextToText,
        "from_pretrained",
        lambda *args, **options: copy.deepcopy(load(*args, **options)),
    )
    run_code: Callable[..., dict[str, Any]] = play
    return run_code


@pytest.mark.parametrize("kind", ["text", "image"])
def test_the_script_rounds_as_the_playground(
    kind: str, runs: dict[str, Run], rounding_play: Any
) -> None:
    run = runs[kind]
    found = rounding_play(write_snippet("rounding", run, formats=FORMATS, max_new_tokens=8), run)
    chosen = {part: Format(*pair) for part, pair in FORMATS.items()}  # type: ignore[arg-type]
    with rounded_model(run.engine, chosen) as made:  # type: ignore[arg-type]
        weights = dict(made.engine.model.named_parameters())
        for name, weight in found["model"].named_parameters():
            assert weight.equal(weights[name]), name
        other = Run(made.engine, run.prompt)
        answer = greedy_answer(
            made.engine, other.inputs, other.merged, other.decoded, max_new_tokens=8
        )
    assert found["answer_ids"] == [step.id for step in answer.steps]
    errors = {part.part: part.error for part in made.parts}
    for part in FORMATS:
        error = found["errors"][WEIGHTS[part].pattern]  # type: ignore[index]
        assert error == pytest.approx(errors[part], rel=1e-4)  # type: ignore[index]


def test_a_mixture_of_experts(tiny_random_moe_engine: Engine, rounding_play: Any) -> None:
    run = make_run(tiny_random_moe_engine, "Hello")
    found = rounding_play(write_snippet("rounding", run, max_new_tokens=4), run)
    formats = {part: Format("fp8") for part in WEIGHTS}
    with rounded_model(run.engine, formats) as made:
        weights = dict(made.engine.model.named_parameters())
        assert all(w.equal(weights[name]) for name, w in found["model"].named_parameters())


def test_nothing_to_round(runs: dict[str, Run], rounding_play: Any) -> None:
    run = runs["text"]
    found = rounding_play(write_snippet("rounding", run, formats={}, max_new_tokens=4), run)
    assert found["errors"] == {}
