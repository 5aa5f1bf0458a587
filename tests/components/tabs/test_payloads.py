"""A photo's run must reach the page without stutter: no part sends more than 400 kB at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from components.chart_view.figures import write_json
from components.parts.all_parts import Parts
from components.parts.drawing import Drawing
from components.parts.experiments import run_experiment
from components.parts.part import Part
from components.tabs import STAGE_TABS
from playground.engine import Engine
from playground.pipeline import Run
from tests.components.drawings import make_drawing
from tests.components.runs import ignore_progress, make_run
from tests.media_samples import make_image
from tests.playground.compare.changed_engines import changed_engine

MAX_UPDATE_BYTES = 400_000
MAX_SVG_POINTS = 5_000
PHOTO = (1280, 960)
PARTS = Parts(STAGE_TABS).by_key
# What starts by itself, and so may reach every page; the others are asked for.
AUTOMATIC = {
    part.full_name(each.name): (part, each.name)
    for part in PARTS.values()
    for each in part.experiments.values()
    if each.auto
}


@pytest.fixture(scope="module")
def drawing() -> Drawing:
    return make_drawing(*STAGE_TABS)


@pytest.fixture(scope="module")
def photo(tiny_random_engine: Engine, drawing: Drawing) -> str:
    """The key of a run with 1,200 visual tokens, as the 2B model makes of the same photo."""
    other = changed_engine(tiny_random_engine, ["model.language_model.norm.weight"])
    run = make_run(
        replace(tiny_random_engine, other=other),
        "Describe this picture in every detail. " * 10,
        make_image(*PHOTO),
        max_pixels=PHOTO[0] * PHOTO[1],
    )
    assert run.inputs.spans[0].num_patches == 80 * 60
    return add(drawing, run)


@pytest.fixture(scope="module")
def long_text(tiny_random_engine: Engine, drawing: Drawing) -> str:
    """The key of a run of more than 800 words."""
    run = make_run(tiny_random_engine, "one two three " * 280)
    assert run.inputs.num_tokens > 800
    return add(drawing, run)


def add(drawing: Drawing, run: Run) -> str:
    run.ensure("decoder")
    return drawing.runs.add(run, pinned=True)


def check(outputs: dict[str, Any]) -> None:
    """One answer's drawings, as they travel."""
    sizes = {name: len(write_json(drawn)) for name, drawn in outputs.items()}
    assert sum(sizes.values()) <= MAX_UPDATE_BYTES, sizes
    for name, drawn in outputs.items():
        assert "error" not in drawn, name
        traces = (drawn.get("figure") or {}).get("data", ())
        points = [len(each["x"]) for each in traces if each.get("type") == "scatter"]
        assert sum(points) <= MAX_SVG_POINTS, (name, points)


def ask(drawing: Drawing, part: Part, key: str, **more: Any) -> dict[str, Any]:
    names = list(part.outputs)
    asked = {"run": key, "part": part.key, "outputs": names, "controls": True}
    outputs: dict[str, Any] = drawing.answer({**asked, **more})["outputs"]
    return outputs


@pytest.mark.parametrize("name", PARTS)
def test_a_photo(drawing: Drawing, photo: str, name: str) -> None:
    check(ask(drawing, PARTS[name], photo))
    # As where a patch is pointed at.
    check(ask(drawing, PARTS[name], photo, selection={"span": 0, "row": 30, "column": 41}))


@pytest.mark.parametrize("name", [name for name, part in PARTS.items() if part.stage == "merge"])
def test_a_long_text(drawing: Drawing, long_text: str, name: str) -> None:
    check(ask(drawing, PARTS[name], long_text))


@pytest.mark.parametrize("name", AUTOMATIC)
def test_an_experiment_s_every_answer(drawing: Drawing, photo: str, name: str) -> None:
    """What is drawn while it runs and at its end, and what other parts draw of its finding."""
    for answer in _answers(drawing, photo, name):
        check(answer.get("outputs", {}))
        assert "error" not in answer
        if "finding" not in answer:
            continue
        given = {"findings": {name: answer["finding"]["key"]}, "values": _started_by(name)}
        for part in PARTS.values():
            needs = {need for each in part.outputs.values() for need in each.needs}
            if name in {part.full_name(need) for need in needs}:
                check(ask(drawing, part, photo, **given))


def _started_by(name: str) -> dict[str, Any]:
    """The values of the controls that start an experiment, by full name."""
    part, experiment = AUTOMATIC[name]
    when = part.experiments[experiment].when
    return {part.full_name(control): values[0] for control, values in when.items()}


def _answers(drawing: Drawing, key: str, name: str) -> Iterator[dict[str, Any]]:
    part, experiment = AUTOMATIC[name]
    data = {"run": key, "part": part.key, "experiment": experiment, "values": _started_by(name)}
    yield from run_experiment(drawing, part, data, ignore_progress)
