"""The page: the input beside the tabs, and the events that run the stages in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.blocks import Block

from components.api.endpoints import add_api
from components.chart_view.view import build_chart_loader
from components.compute.engine_host import EngineHost
from components.compute.jobs import Jobs
from components.downloads.panel import build_downloads
from components.links.controls import Names, name_controls
from components.links.page import Permalinks
from components.look.theme import CSS
from components.page.privacy import build_privacy_note
from components.page.tour import TourView
from components.pointer.view import PointerView
from components.prompt.examples import Example, load_examples
from components.prompt.panel import InputPanel, build_input_panel
from components.report.page import build_report_row, wire_report
from components.report.results import KeepingApp
from components.run_events import LABS, RunEvents
from components.serving.faults import user_messages
from components.serving.language_switch import build_language_switch
from components.serving.page_blocks import blocks_around
from components.tabs.cache.tab import build_cache_tab
from components.tabs.decoder.tab import build_decoder_tab
from components.tabs.merge.tab import build_merge_tab
from components.tabs.model_tab import ModelTab, build_model_tab
from components.tabs.open_parts import OpenParts, Values, tabs_around
from components.tabs.preprocess.tab import build_preprocess_tab
from components.tabs.sampling.tab import build_sampling_tab
from components.tabs.stage_tab import MODEL_EVENTS, MODEL_QUEUE, App, StageTab
from components.tabs.vision.tab import build_vision_tab
from components.views.status_bar import loading_html
from playground.language import mark, say
from playground.pipeline import STAGES
from playground.run_store import RunStore

TITLE = "Qwen3-VL Playground"
SESSION_S = 3600  # a page's run is forgotten this long after its last use

TABS: tuple[tuple[str, Callable[[App], StageTab]], ...] = (
    (mark("1 Preprocess"), build_preprocess_tab),
    (mark("2 Vision tower"), build_vision_tab),
    (mark("3 Merge"), build_merge_tab),
    (mark("4 Decoder"), build_decoder_tab),
    (mark("5 Sampling"), build_sampling_tab),
    (mark("6 Cache reuse"), build_cache_tab),
)

COMPONENTS = Path(__file__).resolve().parents[1]
STYLES = (
    "look/views.css",
    "pointer/pointer.css",
    "look/page.css",
    "look/preprocess.css",
    "look/cache.css",
    "look/sampling.css",
    "page/tour.css",
)
PAGE_CSS = CSS + "".join((COMPONENTS / name).read_text(encoding="utf-8") for name in STYLES)


class Page:
    """The built page: its components and the handlers of its run events."""

    def __init__(
        self,
        host: EngineHost,
        runs: RunStore,
        jobs: Jobs,
        *,
        has_api: bool = True,
        names_like: Names | None = None,
    ) -> None:
        """Build the page inside the ``gr.Blocks`` of its site, in the language being spoken.

        Args:
            host: the site's engine.
            runs: the site's runs.
            jobs: the site's jobs.
            has_api: whether the public endpoints are this page's; a site has them once.
            names_like: what links call the controls on the site's other pages.
        """
        self.host = host
        self.runs = runs
        self.jobs = jobs
        self.parts = OpenParts()
        self._build(has_api, names_like)

    def _build(self, has_api: bool, names_like: Names | None) -> None:
        build_language_switch()
        TourView()
        gr.Markdown(
            f"# {TITLE}\n\n"
            + say(
                "See what a vision-language model does with a picture and a sentence: "
                "every number on this page is computed by the model, in this run."
            ),
            elem_id="page-title",
        )
        self.status = gr.HTML(loading_html(self.host.status), elem_id="status")
        link_notice = gr.HTML("", elem_id="link-notice")
        self.run_key = gr.State(
            None, time_to_live=SESSION_S, delete_callback=lambda key: self.runs.discard(key)
        )
        self.pointer = PointerView(render=False)
        self.pointed = gr.State(None)
        examples = load_examples()
        with gr.Row(elem_id="workbench"):
            with gr.Column(scale=1, min_width=300, elem_id="input-column"):
                self.panel: InputPanel = build_input_panel(examples)
            app = KeepingApp(
                host=self.host,
                runs=self.runs,
                run_key=self.run_key,
                pointer=self.pointer,
                pointed=self.pointed,
                jobs=self.jobs,
                parts=self.parts,
                max_pixels=self.panel.max_pixels,
                progress=self.panel.progress,
            )
            # Wrapped, not behind a menu: all stages stay in sight, on a phone too.
            stages = gr.Column(scale=3, min_width=320, elem_id="stage-column")
            with stages:
                with gr.Tabs(overflow_behavior="wrap"):
                    self.tabs = [self._build_tab(label, build, app) for label, build in TABS]
                    with gr.Tab(say("Model"), id="model"):
                        self.model_tab: ModelTab = build_model_tab(app)
                report = build_report_row()
                self.pointer.render()  # type: ignore[no-untyped-call]  # Gradio's
        build_privacy_note()
        build_chart_loader()
        self.events = self._build_events()
        self.links = Permalinks(
            app, self.panel, self.events, name_controls(stages, names_like), link_notice
        )
        self._wire(app, examples)
        wire_report(app, report, self.events, PAGE_CSS)
        if has_api:
            add_api(app)

    def _build_events(self) -> RunEvents:
        labs = (tab for tab in self.tabs if tab.stage in LABS)
        return RunEvents(
            host=self.host,
            runs=self.runs,
            jobs=self.jobs,
            parts=self.parts,
            status=self.status,
            run_key=self.run_key,
            pointer=self.pointer,
            tabs=self.tabs,
            model_tab=self.model_tab,
            lab_paths={tab.stage: tabs_around(tab.run_button) for tab in labs},
        )

    @staticmethod
    def _build_tab(label: str, build: Callable[[App], StageTab], app: KeepingApp) -> StageTab:
        with gr.Tab(say(label), id=label.split()[0]):
            tab = build(app)
            build_downloads(app, tab)
            return app.keep_lab(tab) if tab.stage in LABS else tab

    # ----------------------------------------------------------------- wiring

    @property
    def outputs(self) -> list[Any]:
        """Everything that a run may redraw."""
        drawn = [output for owner in self.events.owners for output in owner.outputs]
        return [self.status, self.run_key, self.pointer, *drawn]

    @property
    def inputs(self) -> list[Any]:
        """Everything that a run reads."""
        return [self.run_key, *self.panel.values, *self.events.controls]

    def _wire(self, app: App, examples: tuple[Example, ...]) -> None:
        for tab in self.tabs:
            self.parts.register(tab.parts)
        for row, each in self.parts.tabs:
            self._on_select(row, each)
        for tab in self.tabs:
            if tab.stage in LABS:
                self._on_lab_select(tab)
        opening_outputs = [*self.outputs, *self.model_tab.outputs]
        self.links.wire(opening_outputs)
        gr.on(
            [blocks_around().load],
            self._open,
            outputs=[*opening_outputs, self.links.asked],
            concurrency_limit=None,
            show_progress="hidden",
            show_progress_on=[self.pointed],
            api_visibility="private",
        )
        self._on_run([self.panel.run.click, self.panel.text.submit], self.tabs)
        for index, tab in enumerate(self.tabs):
            upstream = self.tabs[: min(index, len(STAGES))]
            self._on_run([tab.run_button.click], [*upstream, tab])

        def fill(event: gr.EventData) -> tuple[Any, ...]:
            return _fill_values(examples[int(event.index)])

        chosen = self.panel.cards.select(
            fill,
            None,
            self.panel.values,
            show_progress="hidden",
            api_visibility="private",
        )
        self._on_run([chosen.then, *(event.success for event in app.reruns)], self.tabs)
        app.on_point(lambda _run, place: place, [], [self.pointed])
        app.wire_pointer()
        self.panel.stop.click(
            self._stop, None, None, queue=False, show_progress="hidden", api_visibility="private"
        )
        blocks_around().unload(self._close)

    def _on_select(self, row: Block, tab: gr.Tab) -> None:
        """Draw what comes into sight with a tab."""
        parts = self.parts.within(tab)
        controls = list(dict.fromkeys(control for part in parts for control in part.controls))
        outputs = [output for part in parts for output in part.outputs]

        def handler(run_key: str | None, request: gr.Request, *values: Any) -> Any:
            with user_messages():
                settings = dict(zip(controls, values, strict=True))
                self.parts.view(request.session_hash or "").select(row, tab)
                drawn = self.events.draw_tab(tab, request.session_hash or "", run_key, settings)
            return [drawn.get(output, gr.skip()) for output in outputs] or None

        tab.select(
            handler,
            [self.run_key, *controls],
            outputs,
            show_progress="hidden",
            show_progress_on=[self.pointed],
            trigger_mode="multiple",
            concurrency_limit=None,
            api_visibility="private",
        )

    def _on_lab_select(self, tab: StageTab) -> None:
        """Run a lab on the page's run once it comes into sight."""

        def handler(
            request: gr.Request,
            bar: gr.Progress = gr.Progress(),  # noqa: B008 - how Gradio asks for the progress bar
            *values: Any,
        ) -> Iterator[Values]:
            session = request.session_hash or ""
            run_key, *controls = values
            if not self.events.lab_is_due(tab, session, run_key):
                yield {self.status: gr.skip()}
                return
            with user_messages(), self.jobs.running(session, bar) as progress:
                yield from self.events.open_lab(tab, session, run_key, controls, progress)

        _, item = self.events.lab_paths[tab.stage][-1]
        item.select(
            handler,
            [self.run_key, *tab.controls],
            [self.status, *tab.outputs],
            show_progress="full",
            show_progress_on=[self.panel.progress],
            trigger_mode="once",
            concurrency_id=MODEL_QUEUE,
            concurrency_limit=MODEL_EVENTS,
            api_visibility="private",
        )

    def _on_run(self, triggers: list[Any], tabs: list[StageTab]) -> None:
        """Run these tabs in order on the panel's input, drawing each as soon as it is there."""

        def handler(
            request: gr.Request,
            bar: gr.Progress = gr.Progress(),  # noqa: B008 - how Gradio asks for the progress bar
            *values: Any,
        ) -> Iterator[Values]:
            session = request.session_hash or ""
            with user_messages(), self.jobs.running(session, bar) as progress:
                yield from self.events.run(tabs, values, progress, self.parts.view(session))

        for trigger in triggers:
            trigger(
                handler,
                self.inputs,
                self.outputs,
                show_progress="full",
                show_progress_on=[self.panel.progress],
                trigger_mode="multiple",
                concurrency_id=MODEL_QUEUE,
                concurrency_limit=MODEL_EVENTS,
                api_visibility="private",
            )

    def _open(self, request: gr.Request) -> Iterator[Values]:
        """Fill a new page with the first example, or with what its address asks for."""
        asked = self.links.read_address(request.query_params)
        if asked is None:
            yield from self.events.open_page(request)
            return
        self.parts.open_page(request.session_hash or "")
        if (yield from self.events.wait_until_loaded()):
            yield {self.links.asked: asked}

    def _close(self, request: gr.Request) -> None:
        self._stop(request)
        self.parts.close_page(request.session_hash or "")

    def _stop(self, request: gr.Request) -> None:
        self.jobs.stop(request.session_hash or "")


def _fill_values(example: Example) -> tuple[Any, ...]:
    """The input panel's values for an example."""
    return list(example.images), example.video, example.text, example.system, None, example.earlier
