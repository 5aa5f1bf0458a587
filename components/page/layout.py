"""The page: the input panel next to the tabs, and the events that run the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gradio as gr

from components.api.endpoints import add_api
from components.page.privacy import build_privacy_note
from components.page.shared import Shared
from components.page.tour import TourView
from components.parts.experiments import (
    MODEL_EVENTS,
    MODEL_QUEUE,
    ExperimentsView,
    wire_experiments,
)
from components.parts.part import StageParts
from components.parts.run_events import RunEvents, stages_until
from components.parts.run_view import RunView
from components.parts.stage_view import StageView
from components.pointer.view import PointerView
from components.prompt.examples import Example, load_examples
from components.prompt.panel import NUM_FRAME_FIELDS, build_input_panel
from components.serving.language_switch import build_language_switch
from components.serving.page_blocks import blocks_around
from components.share.downloads.panel import downloads_html
from components.share.links import Links
from components.share.view import ShareView, wire_share
from components.views.markdown import markdown_html
from components.views.status_bar import loading_html
from playground.language import say
from playground.pipeline import STAGES, Stage

TITLE = "Qwen3-VL Playground"
SESSION_S = 3600  # a page's run expires this long after its last use


class Page:
    """One page of the site, in one language."""

    def __init__(self, shared: Shared, *, has_api: bool) -> None:
        """Build the page inside the ``gr.Blocks`` of its site.

        Args:
            shared: what all pages of the site share.
            has_api: whether this page adds the public endpoints; a site has them once.
        """
        self.shared = shared
        build_language_switch()
        TourView(shared.drawing.parts)
        sentence = say(
            "See how a vision-language model processes an image and a question. The model "
            "computes every number on this page live."
        )
        title = markdown_html(f"# {TITLE}\n\n{sentence}")
        gr.HTML(title, elem_id="page-title", elem_classes="prose")
        self.status = gr.HTML(loading_html(shared.host.status), elem_id="status")
        self.notice = gr.HTML("", elem_id="link-notice")
        self.run_key = gr.State(None, time_to_live=SESSION_S, delete_callback=_discard_from(shared))
        self.run_view, self.pointer = RunView(), PointerView(render=False)
        self.experiments = ExperimentsView()
        examples = load_examples()
        with gr.Row(elem_id="workbench"):
            with gr.Column(scale=1, min_width=300, elem_id="input-column"):
                self.panel = build_input_panel(examples)
            # Wrap the tabs instead of hiding them in a menu, so that all stages stay visible on a
            # phone.
            with gr.Column(scale=3, min_width=320, elem_id="stage-column"):
                with gr.Tabs(overflow_behavior="wrap"):
                    self.stages = [*map(self._build_stage, shared.drawing.parts.stages)]
                self.share = ShareView()
                self.pointer.render()  # type: ignore[no-untyped-call]  # Gradio's
        build_privacy_note()
        self._wire(examples)
        if has_api:
            add_api(shared.host)

    def _build_stage(self, stage: StageParts) -> StageView:
        with gr.Tab(say(stage.label), id=stage.stage):
            return StageView(stage, self.shared.drawing, foot=downloads_html(stage.stage))

    # ----------------------------------------------------------------- wiring

    @property
    def outputs(self) -> dict[str, Any]:
        """The components that run events update, by the names in ``RunEvents``."""
        return {
            "status": self.status,
            "run_key": self.run_key,
            "run": self.run_view,
            "pointer": self.pointer,
        }

    def _wire(self, examples: tuple[Example, ...]) -> None:
        panel, shared = self.panel, self.shared
        self._on_run([panel.run.click, panel.text.submit], STAGES)
        for view in self.stages:
            if view.stage.runs:
                self._on_run([view.run_stage], stages_until(view.stage.stage))
        self._on_fill(examples)
        wire_experiments(self.experiments, shared.drawing, shared.jobs, panel.progress)
        wire_share(
            self.share,
            Links(shared.events, shared.kept),
            panel=panel,
            outputs=self.outputs | {"notice": self.notice},
            jobs=shared.jobs,
        )
        panel.stop.click(
            self._stop, None, None, queue=False, show_progress="hidden", api_visibility="private"
        )
        blocks_around().unload(self._stop)

    def _on_fill(self, examples: tuple[Example, ...]) -> None:
        """Run after an example card, or a choice in a part, has filled in the input panel."""

        def fill(event: gr.EventData) -> tuple[Any, ...]:
            return _fill_values(examples[int(event.index)])

        def limit(event: gr.EventData) -> Any:
            return event._data.get("max_pixels")

        quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
        chosen = self.panel.cards.select(fill, None, self.panel.values, **quiet)
        limited = self.run_view.rerun(limit, None, [self.panel.max_pixels], **quiet)
        self._on_run([chosen.success, limited.success], STAGES)

    def _on_run(self, triggers: Sequence[Any], stages: Sequence[Stage]) -> None:
        """Run these stages in order on the panel's input."""
        events: RunEvents = self.shared.events

        def handler(
            request: gr.Request,
            bar: gr.Progress = gr.Progress(),  # noqa: B008 - how Gradio asks for the progress bar
            *values: Any,
        ) -> Iterator[dict[Any, Any]]:
            run_key, *prompt = values
            with self.shared.jobs.running(request.session_hash or "", bar) as job:
                for changes in events.run(stages, run_key, prompt, job):
                    yield self.updates(changes)

        for trigger in triggers:
            trigger(
                handler,
                [self.run_key, *self.panel.values],
                list(self.outputs.values()),
                show_progress="full",
                show_progress_on=[self.panel.progress],
                trigger_mode="multiple",
                concurrency_id=MODEL_QUEUE,
                concurrency_limit=MODEL_EVENTS,
                api_visibility="private",
            )

    def updates(self, changes: dict[str, Any]) -> dict[Any, Any]:
        """The changes as Gradio takes them, by component."""
        return {self.outputs[name]: value for name, value in changes.items()}

    def _stop(self, request: gr.Request) -> None:
        self.shared.jobs.stop(request.session_hash or "")


def _discard_from(shared: Shared) -> Callable[[str | None], None]:
    """Return a callback that discards a page's run.

    It is a plain function because Gradio makes a deep copy of all components for each visitor: a
    bound method would copy all runs and the model.
    """

    def discard(key: str | None) -> None:
        shared.drawing.runs.discard(key)

    return discard


def _fill_values(example: Example) -> tuple[Any, ...]:
    """The input panel's values for an example."""
    texts = (example.text, example.system, None, example.earlier)
    return list(example.images), example.video, *texts, "", *[None] * NUM_FRAME_FIELDS
