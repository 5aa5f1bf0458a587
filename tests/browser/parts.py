"""A part with every kind of control, served without the model's stages, for the tests of part.js.

What its functions are called with is noted, and they can be held up, as a slow server is.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import gradio as gr
import plotly.graph_objects as go

from components.compute.jobs import Jobs
from components.parts.compound_controls import Presets, Rows
from components.parts.controls import Choice, IndexSlider, Slider, TextField, Toggle
from components.parts.drawing import Drawing
from components.parts.experiments import ExperimentsView, wire_experiments
from components.parts.part import Fold, Part, StageParts
from components.parts.run_view import RunView, write_run
from components.parts.stage_view import StageView
from playground.engine import Engine
from playground.errors import InputError
from playground.language import mark
from playground.pipeline import STAGES, Run
from tests.components.drawings import make_drawing
from tests.components.runs import make_run

CALLS: list[tuple[str, Any]] = []  # outputs that were drawn, with what they were given
MEASURED: list[int] = []  # how far each experiment has come
OPEN = threading.Event()  # closed: drawings wait
OPEN.set()
SHORT = "One"  # the text of the short run
BROKEN = "No"  # the text of a run for which the whole part fails

SIZE = IndexSlider("size", mark("Size"), last=lambda run: run.inputs.num_tokens - 1, value=1)
KIND = Choice(id="kind", label=mark("Kind"), options=((mark("Raw"), "raw"), (mark("Less"), "less")))
WORD = TextField(id="word", label=mark("Word"), value="red")
IS_ON = Toggle(id="on", label=mark("On"))
ROWS = Rows(
    id="rows",
    label=mark("Rows"),
    fields=(Slider(id="gain", label=mark("Gain"), high=9, value=1),),
    low=1,
    high=3,
    value=({}, {"gain": 5}),
    names=("A", "B", "C"),
    add=mark("Add a row"),
)
START = Presets(
    id="start",
    label=mark("Start from"),
    options=((mark("Much"), {"size": 5, "kind": "less"}), (mark("As it was"), {"size": None})),
)


def _last_odd(run: Run) -> int:
    """Fails on the short run."""
    if run.prompt.turns[-1].text == SHORT:
        raise ZeroDivisionError
    return 9


def _is_shown(run: Run) -> bool:
    """Fails on the broken run."""
    if run.prompt.turns[-1].text == BROKEN:
        raise ZeroDivisionError
    return True


ODD = IndexSlider("odd", mark("Odd"), last=_last_odd)
LAB = Part(
    "lab",
    mark("Lab"),
    stage="merge",
    controls=(START, SIZE, KIND, WORD, IS_ON, ROWS, ODD),
    layout=(
        "start", ("size", "kind", "word", "on"), "rows", "odd", ("measured", "failing"),
        "sized", "kinded", "listed", "found", "bars", "odd_bars", Fold(mark("More"), ("folded",)),
    ),
    shown=_is_shown,
)  # fmt: skip


def note(name: str, value: Any) -> None:
    OPEN.wait(20)
    CALLS.append((name, value))


@LAB.html(needs=("size",))
def sized(run: Run, size: int) -> str:
    """The size."""
    note("sized", size)
    return f"<p id='sized'>size {size} of {run.inputs.num_tokens}</p>"


@LAB.html(needs=("kind", "word", "on"))
def kinded(run: Run, kind: str, word: str, on: bool) -> str:
    """The other controls."""
    note("kinded", kind)
    return f"<p id='kinded'>{kind} {word} {on}</p>"


@LAB.html(needs=("rows",))
def listed(run: Run, rows: tuple[dict[str, Any], ...]) -> str:
    """The rows."""
    note("listed", len(rows))
    return f"<p id='listed'>{[row['gain'] for row in rows]}</p>"


@LAB.html()
def folded(run: Run) -> str:
    """Inside a fold."""
    note("folded", None)
    return "<p id='folded'>inside</p>"


@LAB.experiment(mark("Measure"), needs=("size",), primary=True)
def measured(run: Run, progress: Any, size: int) -> Iterator[tuple[int, int]]:
    """Counts for a while, unless it is stopped."""
    for number in range(200):
        progress("counting", number, 200)
        MEASURED.append(number)
        yield size, number
        time.sleep(0.05)


@LAB.experiment(mark("Fail"))
def failing(run: Run, progress: Any) -> Iterator[int]:
    """Fails after a while."""
    yield 1
    raise InputError("Too much.", remedy="Choose less.")


@LAB.html(needs=("measured",), live=True)
def found(run: Run, measured: tuple[int, int] | None) -> str:
    """How far the experiment is."""
    return "" if measured is None else f"<p id='found'>{measured[0]} at {measured[1]}</p>"


@LAB.chart(mark("Bars"), needs=("measured",))
def bars(run: Run, measured: tuple[int, int] | None) -> go.Figure | None:
    """What was found in the end."""
    return None if measured is None else go.Figure(go.Bar(y=[measured[1]], name="bars"))


@LAB.chart(mark("Odd bars"), needs=("odd",))
def odd_bars(run: Run, odd: int) -> go.Figure:
    """Fails where its control does."""
    return go.Figure(go.Bar(y=[odd], name="odd"))


STAGE = StageParts(stage="merge", label="3", title="", sentence="", parts=(LAB,))


def make_runs(engine: Engine, drawing: Drawing) -> dict[str, str]:
    """Keys of a short run, of a longer one and of one that breaks the part."""
    long = "One and many words more than that, so that it is longer."
    texts = {"Short": SHORT, "Long": long, "Broken": BROKEN}
    keys = {}
    for name, text in texts.items():
        run = make_run(engine, text)
        run.ensure("merge")
        keys[name] = drawing.runs.add(run, pinned=True)
    return keys


def build_demo(engine: Engine) -> gr.Blocks:
    """The part with buttons that do what *Run* does to it."""
    drawing, jobs = make_drawing(STAGE), Jobs()
    keys = make_runs(engine, drawing)
    states = {name: write_run(key, STAGES) for name, key in keys.items()}
    states["Under way"] = write_run(keys["Long"], ["preprocess"], running="vision")

    def stop(request: gr.Request) -> None:
        jobs.stop(request.session_hash or "")

    with gr.Blocks() as demo:
        run_view = RunView()
        progress = gr.HTML("", elem_id="progress")
        for name, value in states.items():
            button = gr.Button(name)
            button.click(lambda value=value: value, None, [run_view], api_visibility="private")
        gr.Button("Stop").click(stop, None, None, queue=False, api_visibility="private")
        StageView(STAGE, drawing)
        wire_experiments(ExperimentsView(), drawing, jobs, progress)
    return demo
