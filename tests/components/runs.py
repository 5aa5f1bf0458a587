"""Runs of one user turn and tabs on a page of their own, for the tests of the tabs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import gradio as gr
from gradio.components.base import Component

from components.compute.engine_host import EngineHost
from components.compute.jobs import Jobs
from components.pointer.view import PointerView
from components.prompt.optional_number import OptionalNumber
from components.tabs.stage_tab import App, StageTab
from playground.engine import Engine
from playground.pipeline import Run
from playground.records import Clip, Picture, Prompt, Turn
from playground.run_store import RunStore

T = TypeVar("T")


def make_run(
    engine: Engine,
    text: str = "What is left of the square?",
    *pictures: Picture,
    clip: Clip | None = None,
    max_pixels: int | None = None,
) -> Run:
    """A run that nothing has been computed of."""
    turn = Turn("user", text, pictures=pictures, clip=clip)
    return Run(engine, Prompt((turn,), max_pixels=max_pixels))


def ignore_progress(_what: str, _done: int, _total: int) -> None:
    """A progress callback for runs that nobody watches."""


def build_alone(builder: Callable[[App], T]) -> T:
    """Build one tab on a page of its own; nothing is loaded or launched."""
    with gr.Blocks(analytics_enabled=False):
        return builder(make_app(EngineHost("tiny")))


def make_app(host: EngineHost) -> App:
    """What a page gives its tabs; call it inside a `gr.Blocks`."""
    return App(
        host=host,
        runs=RunStore(),
        run_key=gr.State(None),
        pointer=PointerView(),
        pointed=gr.State(None),
        jobs=Jobs(),
        max_pixels=OptionalNumber(),
        progress=gr.HTML(),
    )


def draw_tab(tab: StageTab, run: Run) -> dict[Component, Any]:
    """What a tab and all its parts show of a run, by output, with every control as it was built."""
    (drawn,) = tab.stream(run, ignore_progress, *[control.value for control in tab.controls])
    values = dict(zip(tab.outputs, drawn, strict=True))
    for part in tab.parts:
        shown = part.draw(run, *[control.value for control in part.controls])
        assert not set(part.outputs) & set(values), "two draw the same output"
        values.update(zip(part.outputs, shown, strict=True))
    return values
