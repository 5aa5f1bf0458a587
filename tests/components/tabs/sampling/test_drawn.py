"""Every output of the tab as a page gets it, with its controls where they stand at first."""

from __future__ import annotations

from typing import Any

import pytest

from components.parts.all_parts import Parts
from components.parts.drawing import Drawing
from components.parts.experiments import run_experiment
from components.parts.findings import Findings
from components.parts.part import Part
from components.parts.question import Question
from components.tabs.sampling.tab import TAB
from playground.engine import Engine
from playground.pipeline import Run
from playground.run_store import RunStore
from tests.components.runs import ignore_progress, make_run
from tests.media_samples import make_square_image

COLUMNS = "sampling.side.columns"


class Visit:
    """A page: a run, and what was found and set on it."""

    def __init__(self, run: Run) -> None:
        self.drawing = Drawing(Parts((TAB,)), RunStore(), Findings())
        self.run_key = self.drawing.runs.add(run)
        self.findings: dict[str, str] = {}
        self.values: dict[str, Any] = {}

    def start(self, part: Part, experiment: str) -> list[dict[str, Any]]:
        """All answers of an experiment; what it has found is known afterwards."""
        data = {
            "run": self.run_key,
            "part": part.key,
            "experiment": experiment,
            "values": self.values,
            "findings": self.findings,
        }
        answers = list(run_experiment(self.drawing, part, data, ignore_progress))
        if finding := answers[-1].get("finding"):
            self.findings[finding["name"]] = finding["key"]
            self.values |= answers[-1]["values"]
        return answers

    def draw(self, part: Part, name: str) -> dict[str, Any]:
        question = Question(
            self.run_key, part.key, (name,), values=self.values, findings=self.findings
        )
        run = self.drawing.runs.get(self.run_key)
        return self.drawing.draw(part, part.outputs[name], run, question)


@pytest.fixture(scope="module")
def visit(shipped_engine: Engine) -> Visit:
    run = make_run(shipped_engine, "Describe this image.", make_square_image())
    run.ensure("decoder")
    visit = Visit(run)
    visit.start(TAB.parts[0], "columns")
    return visit


OUTPUTS = [(part, name) for part in TAB.parts for name in part.outputs]


@pytest.mark.parametrize(
    ("part", "name"), OUTPUTS, ids=[f"{part.id}.{name}" for part, name in OUTPUTS]
)
def test_every_output_is_drawn(visit: Visit, part: Part, name: str) -> None:
    drawn = visit.draw(part, name)
    assert "error" not in drawn
    if part.id in ("side", "step", "branch") and name != "own":  # nothing is odd about its settings
        assert drawn != {"html": ""}
        assert drawn.get("figure", True)


@pytest.mark.parametrize("part", TAB.parts, ids=lambda part: part.id)
def test_nothing_goes_wrong_before_the_columns(shipped_engine: Engine, part: Part) -> None:
    run = make_run(shipped_engine)
    run.ensure("decoder")
    visit = Visit(run)
    for name in part.outputs:
        assert "error" not in visit.draw(part, name)


def test_a_branch_is_seen_by_all_parts(visit: Visit) -> None:
    side, step, sweep, branch, score, *_ = TAB.parts
    visit.values |= {"sampling.side.branch": "B", "sampling.side.step": 1}
    before = visit.findings[COLUMNS]
    *_, last = visit.start(branch, "grow")
    assert last["finding"]["name"] == COLUMNS
    assert visit.findings[COLUMNS] != before
    # The new branch is chosen: nothing that was clicked before stands in its way.
    assert visit.values["sampling.side.branch"] is None
    assert "Token 2 of B.1" in last["outputs"]["chosen"]["html"]
    assert "token 2 of column B.1" in visit.draw(side, "chosen")["html"]
    assert "B.1" in visit.draw(step, "picker")["html"]
    assert "B.1" in visit.draw(sweep, "plan")["html"]
    *_, last = visit.start(score, "score")
    assert "log-probability" in last["outputs"]["words"]["html"]
    assert "T1" in visit.draw(branch, "tree")["html"]


def test_columns_written_anew_begin_a_new_tree(visit: Visit) -> None:
    side, _, _, branch, *_ = TAB.parts
    visit.start(branch, "first_words")
    visit.values["sampling.side.step"] = 3
    *_, last = visit.start(side, "columns")
    assert last["done"]
    assert visit.values["sampling.side.step"] is None
    assert "W1" not in visit.draw(branch, "tree")["html"]
