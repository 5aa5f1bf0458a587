"""Sweeps: their plan, and their answers against columns written one at a time."""

from __future__ import annotations

import pytest

from playground.engine import Engine
from playground.errors import InputError
from playground.pipeline import Run
from playground.prompt import Prompt, Turn
from playground.sampling.paths import Prefix, prompt_prefix
from playground.sampling.stage import run_sampling
from playground.sampling.sweep import SWEPT, Sweep, plan_sweep, stream_sweep
from playground.sampling.trace import SamplingSettings
from tests.media_samples import make_square_image

BASE = SamplingSettings(top_k=40, seed=5)


@pytest.fixture(scope="module")
def run(shipped_engine: Engine) -> Run:
    turn = Turn("user", "Describe this image.", (make_square_image(),))
    return Run(shipped_engine, Prompt((turn,)))


@pytest.fixture(scope="module")
def prompt(run: Run) -> Prefix:
    return prompt_prefix(run.inputs, run.merged, run.decoded)


def test_values_are_even_and_the_rest_stays() -> None:
    planned = plan_sweep(BASE, "temperature", 0, 2, 5)
    assert [column.temperature for column in planned] == [0, 0.5, 1, 1.5, 2]
    assert {(column.top_k, column.seed) for column in planned} == {(40, 5)}
    assert [each.top_k for each in plan_sweep(BASE, "top_k", 1, 3, 9)] == [1, 2, 3]
    assert [each.top_p for each in plan_sweep(BASE, "top_p", 0.9, 0.9, 4)] == [0.9]
    assert [each.top_p for each in plan_sweep(BASE, "top_p", 0.4, 0.9, 1)] == [0.4]
    for name in SWEPT:
        assert plan_sweep(BASE, name, 1, 1, 1)


@pytest.mark.parametrize(
    ("parameter", "low", "high", "steps", "message"),
    [
        ("heat", 0, 1, 3, "'heat' cannot be swept"),
        ("seed", 0, 1, 3, "'seed' cannot be swept"),
        ("temperature", 0, 2, 17, "Values is out of range"),
        ("temperature", 0, 2, 0, "Values is out of range"),
        ("temperature", 0, float("nan"), 3, "temperature is out of range"),
        ("top_p", 0, 1.5, 3, "top_p is out of range"),
        ("top_p", "low", 1, 3, "top_p must be a number"),
        ("temperature", 0, 0.0005, 9, "temperature is out of range"),
    ],
)
def test_plans_that_are_refused(
    parameter: str, low: object, high: object, steps: object, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        plan_sweep(BASE, parameter, low, high, steps)


def test_answers_are_those_of_columns_alone(run: Run, prompt: Prefix) -> None:
    planned = plan_sweep(BASE, "temperature", 0, 2, 3)
    reports: list[tuple[int, int]] = []
    sweeps = list(
        stream_sweep(
            run.engine,
            prompt,
            "temperature",
            planned,
            num_samples=5,
            max_new_tokens=12,
            progress=lambda _what, done, total: reports.append((done, total)),
        )
    )
    # One greedy row and twice five others: two batches of at most eight.
    assert len(sweeps) == 2
    assert reports[0] == (0, 11)
    assert all(done <= total == 11 for done, total in reports)
    last: Sweep = sweeps[-1]
    assert [point.value for point in last.points] == [0, 1, 2]
    assert [len(point.answers) for point in last.points] == [5, 5, 5]
    for point, column in zip(last.points, planned, strict=True):
        for sample, answer in enumerate(point.answers):
            seed = 5 if point.value == 0 else 5 + sample
            settings = SamplingSettings(column.temperature, 40, seed=seed)
            (trace,) = run_sampling(
                run.engine, run.inputs, run.merged, run.decoded, [settings], max_new_tokens=12
            ).traces
            assert answer.text == trace.text
            assert answer.num_tokens == len(trace.steps)
            assert answer.entropy == pytest.approx(
                sum(step.entropy for step in trace.steps) / len(trace.steps), abs=1e-4
            )
    greedy = last.points[0]
    assert list(greedy.counts.values()) == [5]
    assert greedy.mean_entropy == 0
    assert len(last.points[2].counts) > 1


@pytest.mark.parametrize(("samples", "tokens"), [(0, 5), (17, 5), (2, 0), (2, 257), ("2", 5)])
def test_sizes_that_are_refused(run: Run, prompt: Prefix, samples: object, tokens: object) -> None:
    planned = plan_sweep(BASE, "temperature", 0, 2, 3)
    with pytest.raises(InputError):
        next(
            stream_sweep(
                run.engine,
                prompt,
                "temperature",
                planned,
                num_samples=samples,
                max_new_tokens=tokens,  # type: ignore[arg-type]
            )
        )
