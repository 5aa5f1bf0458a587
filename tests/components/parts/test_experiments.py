"""Experiments: what is drawn while one runs, what is kept, and how it ends."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from components.parts.drawing import Drawing
from components.parts.experiments import run_experiment
from playground.engine import Engine
from playground.errors import InputError, StageCancelled
from playground.pipeline import Run
from tests.components.drawings import make_drawing
from tests.components.parts.test_drawing import PART, STAGE
from tests.components.runs import ignore_progress, make_run


@pytest.fixture
def run(tiny_random_engine: Engine) -> Run:
    """A run that nothing has been computed of."""
    return make_run(tiny_random_engine, "What?")


@pytest.fixture
def drawing() -> Drawing:
    """What draws the part."""
    return make_drawing(STAGE)


def start(drawing: Drawing, key: str, progress: Any = ignore_progress, **more: Any) -> list[Any]:
    """Answers of the part's experiment."""
    data = {"run": key, "part": PART.key, "experiment": "measured", **more}
    return list(run_experiment(drawing, PART, data, progress))


def test_live_outputs_follow_and_the_rest_comes_at_the_end(drawing: Drawing, run: Run) -> None:
    key = drawing.runs.add(run)
    *live, last = start(drawing, key, values={"merge.lab.size": 2})
    assert [each["outputs"] for each in live] == [
        {"words": {"html": f"2 None {number}"}} for number in range(3)
    ]
    assert set(last["outputs"]) == {"words", "chart"}
    assert last["done"]
    found = drawing.findings.find(last["finding"]["key"], run, "merge.lab.measured")
    assert (last["finding"]["name"], found) == ("merge.lab.measured", 2)


def test_every_finding_is_drawn_once(
    drawing: Drawing, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple[int, int | None]] = []

    def note(_run: Run, size: int, _selection: Any, measured: int | None) -> str:
        drawn.append((size, measured))
        return ""

    monkeypatch.setitem(PART.outputs, "words", replace(PART.outputs["words"], draw=note))
    key, moved = drawing.runs.add(run), {"merge.lab.size": 2}
    start(drawing, key, values=moved)
    assert drawn == [(2, 0), (2, 1), (2, 2)]
    # Once more only where the experiment sets a control afterwards: here back to its default.
    experiment = replace(PART.experiments["measured"], afterwards={"size": None})
    monkeypatch.setitem(PART.experiments, "measured", experiment)
    drawn.clear()
    *_, last = start(drawing, key, values=moved)
    assert drawn == [(2, 0), (2, 1), (2, 2), (1, 2)]
    assert last["values"] == {"merge.lab.size": None}


def test_a_drawing_that_fails_says_so_in_its_own_place(
    drawing: Drawing, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_given: Any) -> str:
        raise ZeroDivisionError("secret")

    monkeypatch.setitem(PART.outputs, "words", replace(PART.outputs["words"], draw=fail))
    *_, last = start(drawing, drawing.runs.add(run))
    assert "ZeroDivisionError" in last["outputs"]["words"]["error"]
    assert "secret" not in last["outputs"]["words"]["error"]
    assert last["outputs"]["chart"]["figure"]["data"][0]["y"] == [1]
    assert "finding" in last


def test_a_part_that_does_not_apply_runs_nothing(
    drawing: Drawing, tiny_random_engine: Engine
) -> None:
    key = drawing.runs.add(make_run(tiny_random_engine, "hide"))
    (refused,) = start(drawing, key)
    assert refused["error"] == "Nothing to see."
    assert refused["done"]
    assert len(drawing.findings) == 0


def test_it_computes_the_stages_that_it_needs(drawing: Drawing, run: Run) -> None:
    start(drawing, drawing.runs.add(run))
    assert run.has("merge")
    assert not run.has("decoder")


def test_what_was_found_until_a_stop_is_kept(drawing: Drawing, run: Run) -> None:
    def stop(what: str, done: int, _total: int) -> None:
        if (what, done) == ("counting", 2):
            raise StageCancelled

    answers = start(drawing, drawing.runs.add(run), stop, values={"merge.lab.size": 5})
    kept = next(each for each in answers if "finding" in each)
    assert drawing.findings.find(kept["finding"]["key"], run, "merge.lab.measured") == 1
    assert answers[-1]["done"]


def test_what_goes_wrong_is_said_in_the_part(
    drawing: Drawing, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = drawing.runs.add(run)
    (refused,) = start(drawing, key, values={"merge.lab.size": -1})
    assert "Size is -1" in refused["error"]
    assert refused["done"]

    def fail(*_given: Any) -> Any:
        yield 1
        raise ZeroDivisionError("secret")

    experiment = PART.experiments["measured"]
    monkeypatch.setitem(PART.experiments, "measured", replace(experiment, run=fail))
    *_, failed = start(drawing, key)
    assert "ZeroDivisionError" in failed["error"]
    assert "secret" not in failed["error"]


@pytest.mark.parametrize(
    "changed", [{"experiment": "none"}, {"experiment": None}, {"run": "none"}, {"values": 5}]
)
def test_what_is_not_there_is_refused(drawing: Drawing, run: Run, changed: dict[str, Any]) -> None:
    key = drawing.runs.add(run)
    (refused,) = start(drawing, key, **changed)
    assert refused["done"]
    assert refused["error"]


def test_an_error_with_advice_keeps_it(
    drawing: Drawing, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_given: Any) -> Any:
        raise InputError("Too large.", remedy="Choose less.")
        yield

    experiment = PART.experiments["measured"]
    monkeypatch.setitem(PART.experiments, "measured", replace(experiment, run=refuse))
    (refused,) = start(drawing, drawing.runs.add(run))
    assert refused["error"] == "Too large. Choose less."
