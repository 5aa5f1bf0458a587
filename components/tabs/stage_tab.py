"""The shape that all tabs share, and the two ways in which their events are wired."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any, Literal

import gradio as gr
from gradio.blocks import Block
from gradio.components.base import Component

from components.compute.engine_host import EngineHost
from components.compute.jobs import Jobs
from components.page.experiments import MODEL_EVENTS, MODEL_QUEUE
from components.pointer.place import read_place
from components.pointer.view import PointerView
from components.prompt.optional_number import OptionalNumber
from components.serving.faults import SHOWN_S, user_messages
from components.tabs.open_parts import OpenParts
from components.tabs.updates import split_answer
from playground.errors import PlaygroundError, StageCancelled
from playground.language import say
from playground.records import Progress
from playground.run_store import RunStore

StreamFn = Callable[..., Iterator[tuple[Any, ...]]]
ViewFn = Callable[..., Any]


@dataclass(frozen=True, slots=True, eq=False)
class ViewEvent:
    """What redraws a view once a control is moved."""

    control: Any  # None where something else than a control starts it
    fn: ViewFn  # fn(run, *values of inputs) -> values of outputs
    inputs: tuple[Component, ...]
    outputs: tuple[Component, ...]


@dataclass(frozen=True, slots=True, eq=False)
class App:
    """What a tab needs from the page around it."""

    host: EngineHost
    runs: RunStore
    run_key: gr.State  # the session's key into ``runs``, or None
    pointer: PointerView  # its place in the page is the page's affair
    pointed: gr.State  # the fixed ``pointer.Place``, or None; see ``Run.still_there``
    jobs: Jobs
    max_pixels: OptionalNumber  # of the input panel, for a tab that offers values for it
    progress: gr.HTML  # where the page shows how far the model is
    parts: OpenParts = field(default_factory=OpenParts)  # which of them each visitor has open
    # Events after which the page runs anew, as the choice of another resolution; tabs add theirs.
    reruns: list[Any] = field(default_factory=list)
    views: list[ViewEvent] = field(default_factory=list)  # all that ``on_view`` has wired
    followers: list[ViewEvent] = field(default_factory=list)  # of the pointer, see ``on_point``

    def on_view(
        self,
        trigger: Any,
        fn: ViewFn,
        inputs: Sequence[Component],
        outputs: Sequence[Component],
    ) -> Any:
        """Redraw from records that are there: ``fn(run, *values) -> values of outputs``.

        A run that was dropped, or bad values, become a message; the outputs stay as they are.
        """

        def handler(run_key: str | None, request: gr.Request, *values: Any) -> Any:
            if self._awaits_drawing(request, run_key, outputs):
                return _skip(outputs)
            with user_messages():
                return _as_gradio_takes(fn(self.runs.get(run_key), *values), outputs)

        fn = self.follow_view(fn, outputs)
        control = getattr(trigger, "__self__", None)
        self.views.append(ViewEvent(control, fn, tuple(inputs), tuple(outputs)))
        return self._listen(trigger, handler, inputs, outputs)

    def on_point(
        self, fn: ViewFn, inputs: Sequence[Component], outputs: Sequence[Component]
    ) -> None:
        """Redraw what depends on the pointer: ``fn(run, place, *values) -> values of outputs``.

        Called when a place is fixed by a click, and with None when it is taken away.
        """
        fn = self.follow_view(fn, outputs)
        self.followers.append(ViewEvent(None, fn, tuple(inputs), tuple(outputs)))

    def wire_pointer(self) -> None:
        """Send each click to all that follow the pointer, as one event, once all tabs are built.

        Gradio's page would send the second of two events when the first one is complete.
        """
        inputs = list(dict.fromkeys(each for one in self.followers for each in one.inputs))
        outputs = [each for one in self.followers for each in one.outputs]

        def handler(
            run_key: str | None, request: gr.Request, event: gr.EventData, *values: Any
        ) -> Any:
            with user_messages():
                run = self.runs.get(run_key)
                place = read_place(run, event._data)
            settings = dict(zip(inputs, values, strict=True))
            drawn: dict[Component, Any] = {}
            for one in self.followers:
                if self._awaits_drawing(request, run_key, one.outputs):
                    continue
                try:
                    answer = one.fn(run, place, *[settings[each] for each in one.inputs])
                except PlaygroundError as error:  # a bad value of one control: the rest follows
                    gr.Warning(escape(str(error)), duration=SHOWN_S)
                else:
                    drawn.update(split_answer(one.outputs, answer))
            return [drawn.get(each, gr.skip()) for each in outputs]

        # Each click with its own place: "always_last" would repeat the earlier click instead.
        self._listen(self.pointer.select, handler, inputs, outputs, "multiple")

    def on_choice(
        self,
        trigger: Any,
        fn: ViewFn,
        inputs: Sequence[Component],
        outputs: Sequence[Component],
    ) -> Any:
        """Redraw for what was clicked inside a view: ``fn(run, event, *values)``."""

        def handler(run_key: str | None, event: gr.EventData, *values: Any) -> Any:
            with user_messages():
                return _as_gradio_takes(fn(self.runs.get(run_key), event, *values), outputs)

        fn = self.follow_view(fn, outputs)
        return self._listen(trigger, handler, inputs, outputs)

    def on_model(
        self,
        trigger: Any,
        fn: StreamFn,
        inputs: Sequence[Component],
        outputs: Sequence[Component],
    ) -> Any:
        """Run the model for one view: a generator ``fn(run, progress, *values)``.

        It waits for its turn like a run, yields values of outputs, and ends where the page's Stop
        or another run ends it; what it has drawn by then stays.
        """

        def handler(
            request: gr.Request,
            bar: gr.Progress = gr.Progress(),  # noqa: B008 - how Gradio asks for the progress bar
            *values: Any,
        ) -> Iterator[Any]:
            run_key, *settings = values
            with user_messages(), self.jobs.running(request.session_hash or "", bar) as progress:
                try:
                    for answer in fn(self.runs.get(run_key), progress, *settings):
                        yield _as_gradio_takes(answer, outputs)
                except StageCancelled:
                    return

        fn = self.follow_stream(fn, outputs)
        return trigger(
            handler,
            [self.run_key, *inputs],
            list(outputs),
            show_progress="full",
            show_progress_on=[self.progress],
            trigger_mode="once",
            concurrency_id=MODEL_QUEUE,
            concurrency_limit=MODEL_EVENTS,
            api_visibility="private",
        )

    def follow_view(self, fn: ViewFn, _outputs: Sequence[Component]) -> ViewFn:
        """What listens in the place of a view's function; a page that keeps drawings sees them."""
        return fn

    def follow_stream(self, fn: StreamFn, _outputs: Sequence[Component]) -> StreamFn:
        """The same for a function that runs the model."""
        return fn

    def _awaits_drawing(
        self, request: gr.Request, run_key: str | None, outputs: Sequence[Component]
    ) -> bool:
        """Whether all this lies in closed parts, which are drawn as a whole once opened."""
        session = request.session_hash or ""
        return bool(outputs) and all(
            self.parts.awaits_drawing(session, run_key, output) for output in outputs
        )

    def _listen(
        self,
        trigger: Any,
        handler: ViewFn,
        inputs: Sequence[Component],
        outputs: Sequence[Component],
        trigger_mode: Literal["multiple", "always_last"] = "always_last",
    ) -> Any:
        return trigger(
            handler,
            [self.run_key, *inputs],
            list(outputs),
            show_progress="hidden",
            # Gradio sets a status on all that it was ever shown on, at every message.
            show_progress_on=[self.pointed],
            trigger_mode=trigger_mode,
            concurrency_limit=None,
            api_visibility="private",
        )


@dataclass(frozen=True, slots=True, eq=False)
class Section:
    """A part of a tab that draws from a run's records by itself."""

    controls: tuple[Component, ...]  # their values are passed to ``draw``, in order
    outputs: tuple[Component, ...]  # ``draw`` returns one value for each, in order
    draw: ViewFn  # draw(run, *control_values); gives "" or None where there is nothing to show


def _skip(outputs: Sequence[Component]) -> Any:
    return gr.skip() if len(outputs) == 1 else (gr.skip(),) * len(outputs)


def _as_gradio_takes(answer: Any, outputs: Sequence[Component]) -> Any:
    """An answer, without the tuple around the value of a single output."""
    is_wrapped = len(outputs) == 1 and isinstance(answer, tuple) and len(answer) == 1
    return answer[0] if is_wrapped else answer


def draw_sections(run: Any, sections: Sequence[Section], values: Sequence[Any]) -> tuple[Any, ...]:
    """What all outputs of these sections show, from the values of all their controls in order."""
    drawn: list[Any] = []
    remaining = iter(values)
    for section in sections:
        drawn += section.draw(run, *[next(remaining) for _ in section.controls])
    return tuple(drawn)


def skip_unless_run(stage: str, draw: ViewFn, num_outputs: int) -> ViewFn:
    """Redraw only once the stage has run: neither a click nor a control may start the model."""

    def redraw(run: Any, *values: Any) -> Any:
        return draw(run, *values) if run.has(stage) else (gr.skip(),) * num_outputs

    return redraw


@dataclass(frozen=True, slots=True, eq=False)
class StageTab:
    """A built tab, as the page's run events see it."""

    stage: str
    run_button: gr.Button
    controls: tuple[Component, ...]  # their values are passed to ``stream``, in order
    outputs: tuple[Block, ...]  # ``stream`` yields one value for each, in order
    stream: StreamFn  # stream(run, progress, *control_values): runs what is missing, draws
    # Drawn by the page from the run's records, after ``stream`` and only while they are in sight;
    # their controls and outputs are not among those above.
    parts: tuple[Section, ...] = ()
    # Of a lab: found(run, *values of found_in) gives what it has found beyond the run's records,
    # for downloads; None where it has not run on this run.
    found: ViewFn | None = None
    found_in: tuple[Component, ...] = ()

    def __post_init__(self) -> None:
        if not inspect.isgeneratorfunction(self.stream):
            raise TypeError(f"{self.stage}: stream must be a generator, so that it can be stopped.")


def build_stage_header(title: str, sentence: str) -> gr.Button:
    """The tab's heading, the sentence that says what the stage does, and its run button."""
    with gr.Row(elem_classes="stage-header"):
        gr.Markdown(f"## {title}\n\n{sentence}", elem_classes="stage-sentence")
        return gr.Button(say("Run this stage"), size="sm", scale=0, min_width=140)


def build_code_panel() -> gr.Code:
    """*Show the code*: a transformers snippet that reproduces the tab's numbers."""
    with gr.Accordion(say("Show the code"), open=False):
        return gr.Code(language="python", interactive=False, show_label=False, lines=8)


__all__ = [
    "App",
    "Progress",
    "Section",
    "StageTab",
    "build_code_panel",
    "build_stage_header",
    "draw_sections",
    "skip_unless_run",
]
