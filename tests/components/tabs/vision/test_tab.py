"""The vision tab as a whole: its header, the image menu, and every part drawn."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from components.chart_view.figures import write_json
from components.parts.drawing import Drawing
from components.parts.experiments import run_experiment
from components.parts.part import Part
from components.tabs.vision import blocks
from components.tabs.vision.focus import SPAN
from components.tabs.vision.tab import TAB, facts
from playground.engine import Engine
from playground.pipeline import Run
from playground.prompt import PromptImage, PromptVideo
from tests.components.drawings import make_drawing
from tests.components.runs import ignore_progress, make_run
from tests.media_samples import make_image

MAX_ANSWER_CHARS = 400_000  # a photo's run must reach the page without stutter


@pytest.fixture(scope="module")
def drawing() -> Drawing:
    return make_drawing(TAB)


def _outputs() -> Iterator[tuple[Part, str]]:
    for part in TAB.all_parts:
        for name in part.outputs:
            yield part, name


EVERY_OUTPUT = pytest.mark.parametrize(
    ("part", "name"), [pytest.param(*each, id=f"{each[0].id}.{each[1]}") for each in _outputs()]
)


@pytest.fixture(scope="module")
def shipped_run(shipped_engine: Engine) -> Run:
    run = make_run(shipped_engine, "What is this?", make_image())
    run.ensure("vision")
    return run


@EVERY_OUTPUT
def test_every_output_is_drawn(drawing: Drawing, shipped_run: Run, part: Part, name: str) -> None:
    key = drawing.runs.add(shipped_run)
    answer = drawing.answer({"run": key, "part": part.key, "outputs": [name], "controls": True})
    drawn = answer["outputs"][name]
    assert "error" not in drawn
    waits = (part.key, name) == ("vision.position-grid", "likeliest")  # for its button
    assert waits or any(drawn.values())


@EVERY_OUTPUT
def test_every_output_is_drawn_of_a_frame(
    drawing: Drawing, tiny_random_engine: Engine, video: PromptVideo, part: Part, name: str
) -> None:
    run = make_run(tiny_random_engine, "Where does it go?", video=video)
    run.ensure("vision")
    question = {"run": drawing.runs.add(run), "part": part.key, "outputs": [name]}
    selection = {"span": 1, "row": 3, "column": 5, "image": 1}
    values = {"vision.head.span": 1}
    answer = drawing.answer(question | {"values": values, "selection": selection})
    assert "error" not in answer["outputs"][name]


def test_an_experiment_s_drawings_are_those_of_its_finding(
    drawing: Drawing, tiny_random_engine: Engine, image: PromptImage
) -> None:
    run = make_run(tiny_random_engine, "What is this?", image)
    part = drawing.find_part("vision.position-grid")
    data = {"run": drawing.runs.add(run), "part": part.key, "experiment": "nearest"}
    *_, last = run_experiment(drawing, part, data, ignore_progress)
    assert last["done"]
    assert set(last["outputs"]) == {"change", "likeliest"}
    assert not any("error" in drawn for drawn in last["outputs"].values())
    findings = {last["finding"]["name"]: last["finding"]["key"]}
    question = {**data, "outputs": ["likeliest"], "findings": findings}
    assert drawing.answer(question)["outputs"]["likeliest"]["figure"]["data"]


def test_a_photo_s_answers_are_small(drawing: Drawing, tiny_random_engine: Engine) -> None:
    """1,200 visual tokens, as for the same photo in the 2B model."""
    width, height = 1280, 960
    photo = make_image(width, height)
    run = make_run(tiny_random_engine, "What is this?", photo, max_pixels=width * height)
    run.ensure("vision")
    assert run.inputs.spans[0].num_patches == 80 * 60
    key = drawing.runs.add(run)
    for part in TAB.all_parts:
        names = [name for name, output in part.outputs.items() if output.kind != "code"]
        answer = drawing.answer({"run": key, "part": part.key, "outputs": names, "controls": True})
        assert len(write_json(answer)) <= MAX_ANSWER_CHARS, part.key


# ------------------------------------------------------------------------------------ the head


def test_one_image_needs_no_menu(image_run: Run) -> None:
    assert SPAN.spec(image_run) is None
    assert SPAN.parse(None, image_run) == 0


def test_each_image_can_be_chosen(pair_run: Run) -> None:
    spec = SPAN.spec(pair_run)
    assert spec is not None
    assert spec["options"] == [["image 1", 0], ["image 2", 1]]
    assert spec["follows"] == "image", "a click on an image selects it"
    assert [SPAN.parse(raw, pair_run) for raw in (None, 0, 1)] == [0, 0, 1]
    # A choice left over from a run with more images falls back to one that is there.
    assert SPAN.parse(7, pair_run) == 0


def test_the_frames_of_a_video_can_be_chosen(
    tiny_random_engine: Engine, video: PromptVideo
) -> None:
    run = make_run(tiny_random_engine, "Where does it go?", video=video)
    spec = SPAN.spec(run)
    assert spec is not None
    times = run.inputs.media[0].timestamps
    assert [name for name, _ in spec["options"]] == [f"video 1, {time:.1f} s" for time in times]
    assert len(spec["options"]) == 2  # four frames, two to a temporal patch
    assert "get_video_features" in blocks.code(run, 0, 1)


def test_facts_are_this_runs_numbers(image_run: Run) -> None:
    words = facts(image_run)
    patches = int(image_run.inputs.image_grid_thw.prod())
    assert f"{patches} patches of 16 × 16 pixels" in words
    assert f"{patches // 4} tokens" in words
    assert "after blocks 0, 1, 2 (counted from 0)" in words


def test_text_alone_gets_a_sentence_and_no_charts(
    drawing: Drawing, tiny_random_engine: Engine
) -> None:
    run = make_run(tiny_random_engine, "Hello")
    run.ensure("vision")
    assert "no image" in facts(run)
    assert SPAN.spec(run) is None
    key = drawing.runs.add(run)
    for part in TAB.parts:
        answer = drawing.answer({"run": key, "part": part.key, "outputs": list(part.outputs)})
        assert "image" in answer["absent"], part.key
        assert answer["outputs"] == {}
