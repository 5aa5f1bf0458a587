"""Every experiment and output of the decoder's what-ifs, as the page asks for them."""

from __future__ import annotations

import pytest

from components.parts.drawing import Drawing
from components.parts.experiments import run_experiment
from components.parts.part import Part, StageParts
from components.prompt.examples import load_examples
from components.prompt.reader import read_prompt
from components.tabs.decoder import check_port, influence, patching, what_if
from playground.engine import Engine
from playground.pipeline import Run
from tests.components.drawings import make_drawing
from tests.components.runs import ignore_progress, make_run

PARTS = (influence.PART, what_if.PART, patching.PART, check_port.PART)
STARTED = [
    (part, name)
    for part in PARTS
    for name, experiment in part.experiments.items()
    if experiment.label  # the one that compares a file starts with the file
]


@pytest.fixture(scope="module")
def drawing() -> Drawing:
    return make_drawing(StageParts("decoder", "", "", "", PARTS))


@pytest.fixture(scope="module")
def key(drawing: Drawing, shipped_engine: Engine) -> str:
    """The first example's run."""
    first = load_examples()[0]
    prompt = read_prompt(
        shipped_engine,
        images=first.images,
        video=first.video,
        text=first.text,
        system=first.system,
        max_pixels=None,
    )
    run = Run(shipped_engine, prompt)
    run.ensure("decoder")
    return drawing.runs.add(run, pinned=True)


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.id)
def test_every_output_is_drawn_before_an_experiment(part: Part, drawing: Drawing, key: str) -> None:
    asked = {"run": key, "part": part.key, "outputs": list(part.outputs), "controls": True}
    answer = drawing.answer(asked)
    assert [name for name, drawn in answer["outputs"].items() if "error" in drawn] == []
    run = drawing.runs.get(key)
    offered = {control.id for control in part.controls if control.spec(run)}
    assert {spec["id"] for spec in answer["controls"]} == offered


@pytest.mark.parametrize(
    ("part", "name"), STARTED, ids=[f"{part.id}-{name}" for part, name in STARTED]
)
def test_every_experiment_fills_its_outputs(
    part: Part, name: str, drawing: Drawing, key: str
) -> None:
    asked = {"run": key, "part": part.key, "experiment": name}
    *_, last = run_experiment(drawing, part, asked, ignore_progress)
    assert last["done"]
    assert "error" not in last
    outputs = [each.name for each in part.outputs.values() if name in each.needs]
    assert set(last["outputs"]) == set(outputs)
    for drawn in last["outputs"].values():
        assert any(drawn.values())
        assert "error" not in drawn
    # The same when it is asked for once more, by the finding's key.
    finding = {last["finding"]["name"]: last["finding"]["key"]}
    again = drawing.answer({"run": key, "part": part.key, "outputs": outputs, "findings": finding})
    assert again["outputs"].keys() == last["outputs"].keys()
    assert all(any(drawn.values()) for drawn in again["outputs"].values())


def test_the_first_object_is_a_preset_where_there_is_one(drawing: Drawing, key: str) -> None:
    """The circle of the first example, and the answer without it."""
    run = drawing.runs.get(key)
    values = dict(what_if.list_presets(run))["Mask the first object"]
    raw = {f"decoder.what-if.{name}": value for name, value in values.items()}
    asked = {"run": key, "part": "decoder.what-if", "experiment": "changed", "values": raw}
    *_, last = run_experiment(drawing, what_if.PART, asked, ignore_progress)
    verdict = last["outputs"]["verdict"]["html"]
    original, changed = verdict.split("Changed", 1)
    assert "circle" in original
    assert "circle" not in changed
    assert "square" in changed


def test_a_prompt_without_an_image(drawing: Drawing, shipped_engine: Engine) -> None:
    run = make_run(shipped_engine, "Hello")
    run.ensure("decoder")
    key = drawing.runs.add(run)
    assert "absent" in drawing.answer({"run": key, "part": "decoder.influence"})
    asked = {"run": key, "part": "decoder.what-if", "experiment": "changed"}
    *_, last = run_experiment(drawing, what_if.PART, asked, ignore_progress)
    assert "layers 3 skipped" in last["outputs"]["settings"]["html"]
