"""Runs over prompt and answer, on every kind of checkpoint and prompt."""

from __future__ import annotations

from typing import Any

import pytest

from playground.answer.stage import run_with_answer
from playground.engine import Engine
from playground.experiments.what_if_runs import greedy_answer
from playground.pipeline import Run
from tests.playground.sampling_prefills import PROMPTS

ENGINES = ("shipped_engine", "tiny_random_engine", "tiny_random_moe_engine")
KINDS = ("text", "image", "two images", "video")
NEW_TOKENS = 6
# One forward over several tokens multiplies other shapes than one forward per token: float32 then
# rounds differently. Measured: 2e-5 on logits of up to 30.
LOGITS_ATOL = 5e-5


def write_answer(run: Run, count: int = NEW_TOKENS) -> list[int]:
    """The ids of the greedy answer."""
    trace = greedy_answer(run.engine, run.inputs, run.merged, run.decoded, max_new_tokens=count)
    return [step.id for step in trace.steps]


@pytest.fixture(scope="package")
def started() -> dict[tuple[str, str], Run]:
    """The runs so far, by checkpoint and prompt."""
    return {}


@pytest.fixture(params=[(name, kind) for name in ENGINES for kind in KINDS], ids=" ".join)
def run(request: pytest.FixtureRequest, started: dict[tuple[str, str], Run]) -> Run:
    """The run of a prompt, without an answer."""
    key: Any = request.param
    if key not in started:
        engine: Engine = request.getfixturevalue(key[0])
        started[key] = Run(engine, PROMPTS[key[1]])
        started[key].ensure("decoder")
    return started[key]


@pytest.fixture
def answered(run: Run) -> Run:
    """The same with the greedy answer."""
    return run_with_answer(run, write_answer(run))


@pytest.fixture
def image_run(shipped_engine: Engine) -> Run:
    """An image and a question, on the shipped checkpoint; nothing has run."""
    return Run(shipped_engine, PROMPTS["image"])
