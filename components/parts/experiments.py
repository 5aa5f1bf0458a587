"""Run a part's experiment as a Gradio event, with queue, progress and Stop."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import gradio as gr

from components.compute.jobs import Jobs
from components.parts.drawing import Drawing, Drawn, failed_drawing, required_stage, write_answer
from components.parts.part import Experiment, Part
from components.parts.question import Question, unknown_error
from components.serving.browser_module import page_module
from playground.errors import InputError, PlaygroundError, StageCancelled
from playground.language import say
from playground.records import Progress

if TYPE_CHECKING:
    from playground.pipeline import Run

MODEL_QUEUE = "model"  # one queue for all events that run the model
MODEL_EVENTS = 4  # concurrent events; the engine's lock lets one step run at a time


class ExperimentsView(gr.HTML):
    """A hidden component that starts the experiments of all parts and delivers their answers.

    There is one event for all of them, because each event makes a page slower to load.
    """

    def __init__(self, **kwargs: Any) -> None:
        """Build it; ``kwargs`` are Gradio's, when an event leaves the component unchanged."""
        super().__init__(
            None,
            html_template="<span></span>",
            js_on_load=page_module("experiments.js", spec={"events": ["experiment"]}),
            apply_default_css=False,
            elem_id="experiments",
            **kwargs,
        )


def wire_experiments(
    view: ExperimentsView, drawing: Drawing, jobs: Jobs, progress_on: gr.HTML
) -> None:
    """Wire the event that runs experiments.

    Args:
        view: the component with the event.
        drawing: finds part and run, and draws outputs.
        jobs: the running jobs, which can be stopped.
        progress_on: where the page shows the progress.
    """

    def handler(
        request: gr.Request,
        event: gr.EventData,
        bar: gr.Progress = gr.Progress(),  # noqa: B008 - how Gradio asks for the progress bar
    ) -> Iterator[str]:
        data = event._data if isinstance(event._data, dict) else {}
        with jobs.running(request.session_hash or "", bar) as progress:
            part = drawing.find_part(data.get("part"))
            for answer in run_experiment(drawing, part, data, progress):
                yield write_answer(drawing, part.key, answer)

    view.experiment(
        handler,
        None,
        [view],
        show_progress="full",
        show_progress_on=[progress_on],
        trigger_mode="multiple",
        concurrency_id=MODEL_QUEUE,
        concurrency_limit=MODEL_EVENTS,
        api_visibility="private",
    )


def run_experiment(
    drawing: Drawing, part: Part, data: Any, progress: Progress
) -> Iterator[dict[str, Any]]:
    """Run one experiment to its end, or until it is stopped; yields answers for part.js.

    The last finding is kept and drawn even after a stop. Errors are shown in the part.
    """
    given = data if isinstance(data, dict) else {}
    answer: dict[str, Any] = {"part": part.key, "run": given.get("run")}
    try:
        question = Question.read(data)
        experiment = _find_experiment(part, data)
        run = drawing.runs.get(question.run)
    except PlaygroundError as error:
        yield answer | {"done": True, "error": str(error)}
        return
    try:
        yield from _run(drawing, part, experiment, run, question, progress)
    except StageCancelled:
        yield answer | {"done": True}
    except PlaygroundError as error:
        yield answer | {"done": True, "error": str(error)}
    except Exception as error:
        failed = failed_drawing(part, experiment.name, run, error)
        yield answer | {"done": True, "error": failed["error"]}


def _run(
    drawing: Drawing,
    part: Part,
    experiment: Experiment,
    run: Run,
    question: Question,
    progress: Progress,
) -> Iterator[dict[str, Any]]:
    stage = required_stage(part)
    if stage is not None:
        run.ensure(stage, progress)
    run = drawing.shown_run(part, run, question)
    if not part.is_shown(run):
        raise InputError(say(part.absent))
    answer: dict[str, Any] = {"part": part.key, "run": question.run}
    name = part.finding_name(experiment)
    found: dict[str, Any] = {}  # the latest finding, by its full name
    drawn: dict[str, Drawn] = {}  # of it, by the output's name
    stopped: StageCancelled | None = None
    given = drawing.needs(part, experiment, run, question)
    try:
        for finding in experiment.run(run, progress, *given):
            found = {name: finding}
            drawn = drawing.draw_found(part, run, question, found, live=True)
            if drawn:
                yield answer | {"outputs": drawn}
    except StageCancelled as stop:
        stopped = stop
    if found:
        key = drawing.findings.add(run, name, found[name])
        after = {part.full_name(control): raw for control, raw in experiment.afterwards.items()}
        if after:  # the outputs may need these controls
            question = replace(question, values={**question.values, **after})
            drawn = drawing.draw_found(part, run, question, found, live=True)
        others = drawing.draw_found(part, run, question, found, live=False)
        kept = {"finding": {"name": name, "key": key}, "values": after}
        yield answer | {"outputs": drawn | others, **kept, "done": True}
    if stopped is not None:
        raise stopped


def _find_experiment(part: Part, data: Any) -> Experiment:
    """The requested experiment.

    Raises:
        InputError: the part has none of this name.
    """
    name = data.get("experiment") if isinstance(data, dict) else None
    experiment = part.experiments.get(name) if isinstance(name, str) else None
    if experiment is None:
        raise unknown_error()
    return experiment
