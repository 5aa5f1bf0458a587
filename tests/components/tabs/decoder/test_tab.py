"""The decoder tab as a whole: every output of every part, with all controls as at first."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go
import pytest

from components.chart_view.figures import write_json
from components.compute.engine_host import EngineHost
from components.parts.run_events import RunEvents
from components.tabs.decoder.tab import TAB
from playground.engine import Engine
from playground.pipeline import Run
from tests.components.drawings import make_drawing
from tests.components.runs import make_run
from tests.media_samples import make_image

PARTS = [part.key for part in TAB.all_parts]
MAX_BYTES = 400_000  # of all that the tab sends of a photo's run
MAX_SVG_POINTS = 5_000
PHOTO = (1280, 960)


def draw_part(key: str, run: Run) -> dict[str, Any]:
    """All outputs of a part, as the page gets them."""
    drawing = make_drawing(TAB)
    outputs = list(drawing.parts.by_key[key].outputs)
    question = {"run": drawing.runs.add(run), "part": key, "outputs": outputs, "controls": True}
    answer = drawing.answer(question)
    if "absent" not in answer:
        assert list(answer["outputs"]) == outputs
    return answer


@pytest.fixture(scope="module")
def kinds(shipped_engine: Engine, tiny_random_moe_engine: Engine) -> dict[str, Run]:
    image = make_image()
    runs = {
        "image": make_run(shipped_engine, "What is <b>this</b>?", image, image),
        "text": make_run(shipped_engine, "你好"),
        "mixture": make_run(tiny_random_moe_engine, "Which?", image),
    }
    for run in runs.values():
        run.ensure("decoder")
    return runs


@pytest.mark.parametrize("kind", ["image", "text", "mixture"])
@pytest.mark.parametrize("key", PARTS)
def test_every_output_is_drawn(kinds: dict[str, Run], key: str, kind: str) -> None:
    answer = draw_part(key, kinds[kind])
    assert not [name for name, drawn in answer["outputs"].items() if "error" in drawn]
    absent = {"decoder.experts": kind != "mixture", "decoder.deepstack": kind == "text"}
    if key in absent:
        assert ("absent" in answer) == absent[key]


def test_a_photo_is_sent_without_stutter(tiny_random_engine: Engine) -> None:
    """1,200 visual tokens, as the 2B model makes of the same photo."""
    run = make_run(
        tiny_random_engine,
        "Describe this picture in every detail. " * 10,
        make_image(*PHOTO),
        max_pixels=PHOTO[0] * PHOTO[1],
    )
    run.ensure("decoder")
    for key in PARTS:
        answer = draw_part(key, run)
        assert len(write_json(answer)) <= MAX_BYTES, key
        for drawn in answer["outputs"].values():
            figure = go.Figure(drawn.get("figure"))
            points = sum(len(trace.x) for trace in figure.data if trace.type == "scatter")
            assert points <= MAX_SVG_POINTS


def test_an_experiment_that_waits_for_a_choice_is_not_run_for_all(shipped_engine: Engine) -> None:
    """The neutral prompt is run where its overlay is chosen, not for every page that opens."""
    events = RunEvents(EngineHost("tiny"), make_drawing(TAB))
    events.compute_opening(shipped_engine)
    assert events.opening is not None
    assert "decoder.attention.neutral" not in events.opening.findings
    assert events.opening.run.recall("neutral run") is None
