"""How the tabs' events are wired: what is answered, and what follows the pointer."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from components.compute.engine_host import EngineHost
from components.tabs.stage_tab import App, skip_unless_run
from playground.errors import InputError
from playground.pipeline import Run
from playground.pointer import Place
from tests.components.runs import ignore_progress, make_app

REQUEST = SimpleNamespace(session_hash="")
SKIP = gr.skip()


def handler_of(app: App, demo: gr.Blocks, component: Any, event: str) -> Callable[..., Any]:
    """The function that Gradio calls for the only such event of a component."""
    (found,) = [each for each in demo.fns.values() if (component._id, event) in each.targets]
    assert found.inputs[0] is app.run_key
    assert found.fn is not None
    return found.fn


@pytest.mark.parametrize("answer", ["drawn", ("drawn",)], ids=["bare", "in a tuple"])
def test_the_only_output_gets_its_value(runs: dict[str, Run], answer: Any) -> None:
    """Gradio would hand the tuple itself to the component."""
    with gr.Blocks(analytics_enabled=False) as demo:
        app = make_app(EngineHost("tiny"))
        choice, button = gr.Slider(), gr.Button()
        app.on_view(choice.input, lambda _run, _value: answer, [choice], [gr.HTML()])
        app.on_model(button.click, lambda *_: iter([answer]), [], [gr.HTML()])
    key = app.runs.add(runs["image"])
    assert handler_of(app, demo, choice, "input")(key, REQUEST, 3) == "drawn"
    stream = handler_of(app, demo, button, "click")
    assert list(stream(SimpleNamespace(session_hash="a"), ignore_progress, key)) == ["drawn"]


def test_all_that_follows_the_pointer_is_one_event(runs: dict[str, Run]) -> None:
    """Each follower gets the place and its own controls' values, and fills its own outputs."""
    with gr.Blocks(analytics_enabled=False) as demo:
        app = make_app(EngineHost("tiny"))
        one, two = gr.Slider(), gr.Slider()
        app.on_point(lambda _run, place, value: (place.index, value), [two], [gr.HTML(), gr.HTML()])
        app.on_point(lambda _run, place, *values: (place.index, *values), [one, two], [gr.HTML()])
        app.on_point(lambda _run, place: f"at {place.index}", [], [gr.HTML()])
        app.on_point(lambda *_: SKIP, [], [gr.HTML()])
        app.wire_pointer()
    click = handler_of(app, demo, app.pointer, "select")
    event = gr.EventData(app.pointer, {"index": 3})
    drawn = click(app.runs.add(runs["image"]), REQUEST, event, 7, 8)
    # The values are those of all controls, each once: the second's comes first.
    assert drawn == [3, 7, (3, 8, 7), "at 3", SKIP]


def test_a_bad_value_holds_up_nothing_else(runs: dict[str, Run]) -> None:
    def refuse(*_: Any) -> None:
        raise InputError("No such <word>.")

    with gr.Blocks(analytics_enabled=False) as demo:
        app = make_app(EngineHost("tiny"))
        app.on_point(refuse, [], [gr.HTML()])
        app.on_point(lambda _run, place: f"at {place.index}", [], [gr.HTML()])
        app.wire_pointer()
    click = handler_of(app, demo, app.pointer, "select")
    event = gr.EventData(app.pointer, {"index": 3})
    # Outside of a page Gradio hands its message boxes on as warnings.
    with pytest.warns(UserWarning, match="No such &lt;word&gt;"):
        assert click(app.runs.add(runs["image"]), REQUEST, event) == [SKIP, "at 3"]
    with pytest.raises(gr.Error, match="reported no place"):
        click(app.runs.add(runs["image"]), REQUEST, gr.EventData(app.pointer, None))


def test_a_click_never_runs_the_model(runs: dict[str, Run]) -> None:
    def draw(_run: Run, place: Place, *_values: Any) -> str:
        return f"at {place.index}"

    there, run = SimpleNamespace(index=5), runs["image"]
    run.ensure("preprocess", ignore_progress)
    before = SimpleNamespace(has=lambda stage: stage != "decoder")
    assert skip_unless_run("decoder", draw, 2)(before, there) == (SKIP, SKIP)
    assert skip_unless_run("preprocess", draw, 1)(run, there) == "at 5"
