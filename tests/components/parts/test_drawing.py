"""What the browser asks of a part, answered: drawings, refusals, failures in their own place."""

from __future__ import annotations

import json
import threading
from typing import Any

import plotly.graph_objects as go
import pytest

from components.chart_view.figures import write_json
from components.parts.controls import IndexSlider
from components.parts.drawing import Drawing
from components.parts.part import SELECTION, Part, StageParts
from components.parts.question import Question
from components.parts.stage_view import answer, part_spec
from components.parts.turns import MOST_OF_ONE_PAGE, BusyError, OvertakenError, Turns
from playground.engine import Engine
from playground.errors import InputError
from playground.pipeline import Run
from tests.components.drawings import make_drawing
from tests.components.runs import make_run
from tests.media_samples import make_image

PART = Part(
    "lab",
    "Lab",
    stage="merge",
    controls=(IndexSlider("size", "Size", last=lambda run: run.inputs.num_tokens - 1, value=1),),
    shown=lambda run: "hide" not in run.prompt.turns[0].text,
    absent="Nothing to see.",
)


@PART.experiment("Measure", needs=("size",))
def measured(run: Run, progress: Any, size: int) -> Any:
    """Counts up to a size."""
    for number in range(size + 1):
        progress("counting", number, size)
        yield number


@PART.html(needs=("size", SELECTION, "measured"), live=True)
def words(run: Run, size: int, selection: Any, measured: int | None) -> str:
    """All that it is given."""
    return f"{size} {None if selection is None else selection.index} {measured}"


@PART.chart("Chart", needs=("measured",))
def chart(run: Run, measured: int | None) -> go.Figure | None:
    """One bar."""
    return None if measured is None else go.Figure(go.Bar(y=[measured]))


@PART.code("Code")
def script(run: Run) -> str:
    """A line with a tag in it."""
    return "print('<b>')"


@PART.html()
def wrong(run: Run) -> str:
    """Fails with advice."""
    raise InputError("This is wrong.", remedy="Do it right.")


@PART.html()
def broken(run: Run) -> str:
    """Fails without."""
    words = run.prompt.turns[0].text
    raise ZeroDivisionError(words)


STAGE = StageParts(stage="merge", label="3", title="", sentence="", parts=(PART,))
NAMES = list(PART.outputs)


@pytest.fixture(scope="module")
def run(tiny_random_engine: Engine) -> Run:
    """Stages 1 to 3 of an image."""
    run = make_run(tiny_random_engine, "my own words", make_image())
    run.ensure("merge")
    return run


@pytest.fixture
def drawing() -> Drawing:
    """What draws the part above."""
    return make_drawing(STAGE)


def ask(drawing: Drawing, key: str, *names: str, **more: Any) -> dict[str, Any]:
    """A page's question, as the component's server function gets it."""
    question = {"page": "p", "number": 1, "run": key, "part": "merge.lab", "outputs": list(names)}
    found: dict[str, Any] = json.loads(write_json(answer(drawing, {**question, **more})))
    return found


def test_an_answer_holds_what_was_asked_for_and_no_more(drawing: Drawing, run: Run) -> None:
    key = drawing.runs.add(run)
    found = ask(drawing, key, "words", values={"merge.lab.size": 3}, selection={"index": 2})
    assert found == {"run": key, "outputs": {"words": {"html": "3 2 None"}}}
    with_controls = ask(drawing, key, controls=True)
    assert with_controls["outputs"] == {}
    (size,) = with_controls["controls"]
    assert (size["id"], size["high"], size["value"]) == ("size", run.inputs.num_tokens - 1, 1)


def test_what_fails_says_so_in_its_own_place(
    drawing: Drawing, run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    key = drawing.runs.add(run)
    found = ask(drawing, key, *NAMES)["outputs"]
    assert found["words"] == {"html": "1 None None"}
    assert found["chart"] == {"figure": None}
    assert found["wrong"]["error"] == "This is wrong. Do it right."
    assert "ZeroDivisionError" in found["broken"]["error"]
    assert "my own words" not in found["broken"]["error"] + caplog.text
    assert "&lt;b&gt;" in found["script"]["code"]


def test_a_wrong_value_stops_only_what_needs_it(drawing: Drawing, run: Run) -> None:
    key = drawing.runs.add(run)
    found = ask(drawing, key, *NAMES, values={"merge.lab.size": 10**6})["outputs"]
    assert "Size is 1,000,000" in found["words"]["error"]
    assert found["chart"] == {"figure": None}


def test_a_finding_is_drawn_by_its_key(drawing: Drawing, run: Run) -> None:
    key = drawing.runs.add(run)
    found = drawing.findings.add(run, "merge.lab.measured", 5)
    findings = {"merge.lab.measured": found}
    outputs = ask(drawing, key, "words", "chart", findings=findings)["outputs"]
    assert outputs["words"] == {"html": "1 None 5"}
    assert outputs["chart"]["figure"]["data"][0]["y"] == [5]
    other = drawing.findings.add(run, "merge.lab.other", 7)
    outputs = ask(drawing, key, "words", findings={"merge.lab.measured": other})["outputs"]
    assert outputs["words"] == {"html": "1 None None"}


def test_a_part_that_does_not_apply_says_why(drawing: Drawing, tiny_random_engine: Engine) -> None:
    hidden = make_run(tiny_random_engine, "hide")
    hidden.ensure("merge")
    key = drawing.runs.add(hidden)
    assert ask(drawing, key, *NAMES) == {"run": key, "outputs": {}, "absent": "Nothing to see."}


def test_a_drawing_never_starts_a_stage(drawing: Drawing, tiny_random_engine: Engine) -> None:
    fresh = make_run(tiny_random_engine, "What?")
    key = drawing.runs.add(fresh)
    assert "has not run" in ask(drawing, key, "words")["error"]
    assert not fresh.has("preprocess")


@pytest.mark.parametrize(
    "changed",
    [
        {"part": "merge.none"},
        {"part": "../secret"},
        {"part": ["merge.lab"]},
        {"outputs": ["none"]},
        {"outputs": "words"},
        {"outputs": ["words"] * 33},
        {"outputs": [1]},
        {"run": "none"},
        {"run": None},
        {"run": {"key": 1}},
        {"values": [1]},
        {"findings": "x"},
        {"page": 5},
        {"number": "1"},
        {"number": None},
    ],
)
def test_a_question_that_cannot_be_answered_is_refused_in_words(
    drawing: Drawing, run: Run, changed: dict[str, Any]
) -> None:
    key = drawing.runs.add(run)
    found = ask(drawing, key, "words", **changed)
    assert list(found) == ["error"]
    assert len(found["error"]) > 20


@pytest.mark.parametrize("question", [None, [], "words", 5, {}])
def test_what_is_no_question_is_refused(drawing: Drawing, question: Any) -> None:
    assert list(answer(drawing, question)) == ["error"]


@pytest.mark.parametrize(
    "selection", [5, {"index": -1}, {"index": 10**9}, {"span": 0}, {"index": "1"}]
)
def test_a_selection_that_is_not_there_is_refused(
    drawing: Drawing, run: Run, selection: Any
) -> None:
    key = drawing.runs.add(run)
    assert "error" in ask(drawing, key, "words", selection=selection)["outputs"]["words"]


# ------------------------------------------------------------------------------------- turns


def test_what_a_later_question_has_overtaken_is_not_computed() -> None:
    turns = Turns()
    with turns.turn("page", "part", 2):
        pass
    with pytest.raises(OvertakenError), turns.turn("page", "part", 1):
        pass
    with turns.turn("page", "another part", 1), turns.turn("another page", "part", 1):
        pass


def test_one_page_cannot_hold_all_turns() -> None:
    turns, go_on = Turns(), threading.Event()

    def wait(number: int) -> None:
        with turns.turn("greedy", f"part {number}", 1):
            go_on.wait(20)

    waiting = [threading.Thread(target=wait, args=(n,)) for n in range(MOST_OF_ONE_PAGE)]
    for thread in waiting:
        thread.start()
    while sum(turns._waiting.values()) < MOST_OF_ONE_PAGE:
        pass
    with pytest.raises(BusyError), turns.turn("greedy", "one more", 1):
        pass
    go_on.set()
    for thread in waiting:
        thread.join(20)
    with turns.turn("greedy", "one more", 1):
        pass
    assert not turns._waiting


# -------------------------------------------------------------------------------------- spec


def test_the_browser_knows_what_each_output_needs() -> None:
    spec = part_spec(PART, STAGE)
    assert spec["requires"] == "merge"
    assert spec["outputs"][0]["needs"] == ["merge.lab.size", "selection", "merge.lab.measured"]
    assert spec["experiments"][0]["label"] == "Measure"
    assert spec["items"] == [["size"], ["measured"], *NAMES]


def test_a_question_is_read_without_believing_it() -> None:
    read = Question.read({"run": "r", "part": "p", "outputs": ["a"], "controls": 1})
    assert (read.outputs, read.controls, read.selection) == (("a",), False, None)
