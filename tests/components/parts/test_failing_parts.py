"""A part that fails takes nothing else down: its place says so, and all the rest goes on."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import plotly.graph_objects as go
import pytest

from components.parts.all_parts import Parts
from components.parts.controls import Choice, IndexSlider, Toggle
from components.parts.drawing import Drawing, control_specs, write_answer
from components.parts.experiments import run_experiment
from components.parts.part import Output, Part, StageParts
from components.parts.question import Question
from components.parts.stage_view import answer
from components.share.kept_files import KeptFiles
from components.share.links import Links
from components.share.report.outline import ControlValue, part_items
from components.share.view import run_report
from components.tabs import STAGE_TABS
from playground.engine import Engine
from playground.errors import InputError
from playground.language import speaking
from playground.pipeline import STAGES, Run
from tests.components.drawings import make_drawing
from tests.components.runs import ignore_progress, make_run
from tests.components.visits import Visitor, make_events
from tests.media_samples import make_image

SECRET = "what the visitor typed"
PART_KEYS = [part.key for stage in STAGE_TABS for part in stage.all_parts]
WENT_WRONG = "Something went wrong on the server in “"


def fail(*_args: Any) -> NoReturn:
    raise ZeroDivisionError(SECRET)


def fail_later(*_args: Any) -> Iterator[Any]:
    yield from ()
    fail()


@pytest.fixture(scope="module")
def run(tiny_random_engine: Engine) -> Run:
    """A whole run on an image."""
    run = make_run(tiny_random_engine, SECRET, make_image(64, 64))
    run.ensure("decoder")
    return run


def broken_part(part: Part, name: str) -> Part:
    """The part with this output failing."""
    outputs = dict(part.outputs)
    outputs[name] = replace(outputs[name], draw=fail)
    return replace(part, outputs=outputs)


def site_with(part: Part) -> Drawing:
    """Draws the whole page, with this part in the place of its own."""
    return make_drawing(*(_stage_with(stage, part) for stage in STAGE_TABS))


def _stage_with(stage: StageParts, new: Part) -> StageParts:
    def chosen(part: Part | None) -> Any:
        return new if part is not None and part.key == new.key else part

    parts = tuple(chosen(part) for part in stage.parts)
    return replace(stage, parts=parts, head=chosen(stage.head), foot=chosen(stage.foot))


def ask(drawing: Drawing, part: Part, run: Run) -> dict[str, Any]:
    """Everything in the part, as the browser asks for it."""
    key = drawing.runs.add(run)
    question = {"page": "p", "number": 1, "run": key, "part": part.key, "controls": True}
    return answer(drawing, {**question, "outputs": list(part.outputs)})


@pytest.mark.parametrize("key", PART_KEYS)
def test_each_output_fails_alone(key: str, run: Run) -> None:
    part = Parts(STAGE_TABS).by_key[key]
    if not part.is_shown(run):
        pytest.skip("does not apply to a dense model")
    for name in part.outputs:
        broken = broken_part(part, name)
        drawing = site_with(broken)
        outputs = ask(drawing, broken, run)["outputs"]
        assert list(outputs) == list(part.outputs)
        problems = {name: drawn["error"] for name, drawn in outputs.items() if "error" in drawn}
        assert list(problems) == [name], problems
        assert problems[name].startswith(WENT_WRONG)
        state = drawing_state(key)
        assert problems[name] in repr(part_items(drawing, broken, run, state))


def drawing_state(key: str) -> Question:
    """With no control moved."""
    return Question(run="", part=key)


def test_the_message_names_the_part_and_the_log_its_model(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    part = Parts(STAGE_TABS).by_key["decoder.layers"]
    broken = broken_part(part, "lens")
    with caplog.at_level(logging.ERROR):
        message = ask(site_with(broken), broken, run)["outputs"]["lens"]["error"]
    assert message == (
        "Something went wrong on the server in “Layers › Logit lens” (ZeroDivisionError). The rest "
        "of the page still works. Please report this to the operator of the page: the server's log "
        "has the details."
    )
    assert "ZeroDivisionError in decoder.layers.lens of a model with" in caplog.text
    assert "num_layers=4" in caplog.text
    assert "mrope_section=(4, 2, 2)" in caplog.text
    assert f'{__file__}", line' in caplog.text
    assert SECRET not in caplog.text
    with speaking("zh"):
        message = ask(site_with(broken), broken, run)["outputs"]["lens"]["error"]
    assert "ZeroDivisionError" in message
    assert "Something" not in message


def part_of_a_failing_control() -> Part:
    """The decoder's layers, whose slider cannot say where it ends; two other controls."""
    part = Parts(STAGE_TABS).by_key["decoder.layers"]
    odd = IndexSlider("odd", "Odd", last=fail)
    shy = Toggle(id="shy", label="Shy", shown=lambda _run: False)
    outputs = {**part.outputs, "odd-one": Output("odd-one", "html", str, needs=("odd",))}
    return replace(
        part,
        controls=(*part.controls, odd, shy),
        outputs=outputs,
        layout=(*part.items, "odd", "shy", "odd-one"),
    )


def test_a_control_that_fails_says_so_in_its_place(
    run: Run, caplog: pytest.LogCaptureFixture
) -> None:
    part = part_of_a_failing_control()
    drawing = site_with(part)
    with caplog.at_level(logging.ERROR):
        asked = ask(drawing, part, run)
    (odd,) = [spec for spec in asked["controls"] if "error" in spec]
    assert odd == {"id": "odd", "error": odd["error"]}
    assert odd["error"].startswith(WENT_WRONG + "Layers › Odd” (ZeroDivisionError). The rest")
    whole = Parts(STAGE_TABS).by_key["decoder.layers"]
    assert [spec for spec in asked["controls"] if spec is not odd] == list(
        control_specs(whole, run)
    )
    problems = {name for name, drawn in asked["outputs"].items() if "error" in drawn}
    assert problems == {"odd-one"}
    assert "ZeroDivisionError in decoder.layers.odd of a model with" in caplog.text
    assert SECRET not in caplog.text
    with speaking("zh"):
        (odd,) = [spec for spec in ask(drawing, part, run)["controls"] if "error" in spec]
    assert "Something" not in odd["error"]
    items = part_items(drawing, part, run, drawing_state(part.key))
    (reported,) = [item for item in items if isinstance(item, ControlValue) and item.label == "Odd"]
    assert reported.value.startswith(WENT_WRONG)


def test_a_control_that_refuses_a_run_says_why(run: Run) -> None:
    def refuse(_run: Run) -> NoReturn:
        raise InputError("No number for this prompt.")

    part = Part("lab", "Lab", stage="merge", controls=(IndexSlider("odd", "Odd", last=refuse),))
    assert list(control_specs(part, run)) == [{"id": "odd", "error": "No number for this prompt."}]


def test_options_that_json_cannot_hold_fail_alone(run: Run) -> None:
    part = Parts(STAGE_TABS).by_key["decoder.layers"]
    odd = Choice(id="odd", label="Odd", options=lambda _run: [("Odd", object())])
    part = replace(part, controls=(*part.controls, odd), layout=(*part.items, "odd"))
    drawing = site_with(part)
    written = json.loads(write_answer(drawing, part.key, ask(drawing, part, run)))
    failed = {spec["id"]: spec["error"] for spec in written["controls"] if "error" in spec}
    assert list(failed) == ["odd"]
    assert "TypeError" in failed["odd"]
    assert not any("error" in drawn for drawn in written["outputs"].values())


def test_a_part_that_cannot_say_whether_it_applies(run: Run) -> None:
    part = replace(Parts(STAGE_TABS).by_key["decoder.deepstack"], shown=fail)
    drawing = site_with(part)
    assert ask(drawing, part, run)["error"].startswith(WENT_WRONG)
    (item,) = part_items(drawing, part, run, drawing_state(part.key))
    assert WENT_WRONG in repr(item)


def test_an_experiment_that_fails_says_so_in_its_part(run: Run) -> None:
    part = Parts(STAGE_TABS).by_key["decoder.what-if"]
    failing = replace(part.experiments["changed"], run=fail_later)
    part = replace(part, experiments={**part.experiments, "changed": failing})
    drawing = site_with(part)
    data = {"run": drawing.runs.add(run), "part": part.key, "experiment": "changed"}
    (last,) = run_experiment(drawing, part, data, ignore_progress)
    assert last["done"]
    assert last["error"].startswith("Something went wrong on the server in “What if”")


def test_a_figure_that_json_cannot_hold_fails_alone(run: Run) -> None:
    part = Parts(STAGE_TABS).by_key["decoder.layers"]

    def odd(*_args: Any) -> go.Figure:
        return go.Figure(layout={"meta": {"odd": object()}})

    odd_lens = replace(part.outputs["lens"], draw=odd)
    part = replace(part, outputs={**part.outputs, "lens": odd_lens})
    drawing = site_with(part)
    written = json.loads(write_answer(drawing, part.key, ask(drawing, part, run)))
    failed = {name for name, drawn in written["outputs"].items() if "error" in drawn}
    assert failed == {"lens"}
    assert "TypeError" in written["outputs"]["lens"]["error"]


def test_with_every_part_failing_the_page_loads_runs_links_and_reports(
    tiny_random_engine: Engine, tmp_path: Path
) -> None:
    events = make_events(tiny_random_engine, tuple(map(_break_everything, STAGE_TABS)))
    events.compute_opening(tiny_random_engine)
    assert events.opening is not None
    assert events.opening.findings == {}
    visitor = Visitor()
    visitor.take(events.open_page())
    visitor.take(events.run(STAGES, visitor.run_key, visitor.panel, ignore_progress))
    assert "max |Δ logits| = 0," in visitor.status
    link, _ = Links(events, KeptFiles(tmp_path)).make(visitor.state, visitor.prompt)
    assert link.startswith("?")
    report = run_report(events.drawing, visitor.run(events), visitor.state).decode()
    assert report.count("Something went wrong on the server") > 50
    assert "has not run on this prompt" not in report.split("5 Sampling")[0]


def _break_everything(stage: StageParts) -> StageParts:
    def broken(part: Part | None) -> Any:
        if part is None:
            return None
        outputs = {name: replace(out, draw=fail) for name, out in part.outputs.items()}
        experiments = {
            name: replace(experiment, run=fail_later)
            for name, experiment in part.experiments.items()
        }
        return replace(part, outputs=outputs, experiments=experiments)

    parts = tuple(broken(part) for part in stage.parts)
    return replace(stage, parts=parts, head=broken(stage.head), foot=broken(stage.foot))
