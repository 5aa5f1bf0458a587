"""The page: the input beside the tabs, and the events that run the stages in order."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from components.api import add_api
from components.engine_host import EngineHost
from components.examples import Example, load_examples
from components.input_panel import InputPanel, build_input_panel
from components.jobs import Jobs
from components.pointer_view import PointerView, write_layout
from components.prompt_reader import prompt_fingerprint, read_prompt
from components.stage_tab import MODEL_EVENTS, MODEL_QUEUE, App, StageTab, user_messages
from components.status_bar import loading_html, status_html
from components.tabs.cache.tab import build_cache_tab
from components.tabs.decoder.tab import build_decoder_tab
from components.tabs.merge.tab import build_merge_tab
from components.tabs.model_tab import ModelTab, build_model_tab
from components.tabs.preprocess.tab import build_preprocess_tab
from components.tabs.sampling.tab import build_sampling_tab
from components.tabs.vision.tab import build_vision_tab
from components.theme import CSS
from playground.errors import StageCancelled
from playground.pipeline import STAGES, Run, RunStore
from playground.records import Progress

TITLE = "Qwen3-VL Playground"
POLL_S = 0.3  # how often a waiting page asks how far the checkpoint is
SESSION_S = 3600  # a page's run is forgotten this long after its last use

TABS: tuple[tuple[str, Callable[[App], StageTab]], ...] = (
    ("1 Preprocess", build_preprocess_tab),
    ("2 Vision tower", build_vision_tab),
    ("3 Merge", build_merge_tab),
    ("4 Decoder", build_decoder_tab),
    ("5 Sampling", build_sampling_tab),
    ("6 Cache reuse", build_cache_tab),
)

STYLES = ("views.css", "pointer.css", "page.css", "preprocess.css")
PAGE_CSS = CSS + "".join(
    Path(__file__).with_name(name).read_text(encoding="utf-8") for name in STYLES
)

Values = dict[Any, Any]


class Page:
    """The built page: its components and the handlers of its run events."""

    def __init__(self, host: EngineHost) -> None:
        self.host = host
        self.runs = RunStore()
        self.jobs = Jobs()
        self.opening: Values = {}  # what a new page shows, once the first example has run
        with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(600, 3600)) as demo:
            self._build()
        self.demo = demo

    def _build(self) -> None:
        gr.Markdown(
            f"# {TITLE}\n\nSee what a vision-language model does with a picture and a sentence: "
            "every number on this page is computed by the model, in this run.",
            elem_id="page-title",
        )
        self.status = gr.HTML(loading_html(self.host.status), elem_id="status")
        self.run_key = gr.State(
            None, time_to_live=SESSION_S, delete_callback=lambda key: self.runs.discard(key)
        )
        self.pointer = PointerView(render=False)
        self.pointed = gr.State(None)
        examples = load_examples()
        with gr.Row(elem_id="workbench"):
            with gr.Column(scale=1, min_width=300, elem_id="input-column"):
                self.panel: InputPanel = build_input_panel(examples)
            app = App(
                host=self.host,
                runs=self.runs,
                run_key=self.run_key,
                pointer=self.pointer,
                pointed=self.pointed,
                jobs=self.jobs,
                max_pixels=self.panel.max_pixels,
                progress=self.panel.progress,
            )
            # Wrapped, not behind a menu: all stages stay in sight, on a phone too.
            stages = gr.Column(scale=3, min_width=320, elem_id="stage-column")
            with stages:
                with gr.Tabs(overflow_behavior="wrap"):
                    self.tabs = [self._build_tab(label, build, app) for label, build in TABS]
                    with gr.Tab("Model", id="model"):
                        self.model_tab: ModelTab = build_model_tab(app)
                self.pointer.render()
        self._wire(app, examples)
        add_api(app)

    @staticmethod
    def _build_tab(label: str, build: Callable[[App], StageTab], app: App) -> StageTab:
        with gr.Tab(label, id=label.split()[0]):
            return build(app)

    # ----------------------------------------------------------------- wiring

    @property
    def outputs(self) -> list[Any]:
        """Everything that a run may redraw."""
        stage_outputs = [output for tab in self.tabs for output in tab.outputs]
        return [self.status, self.run_key, self.pointer, *stage_outputs]

    @property
    def inputs(self) -> list[Any]:
        """Everything that a run reads."""
        controls = [control for tab in self.tabs for control in tab.controls]
        return [self.run_key, *self.panel.values, *controls]

    def _wire(self, app: App, examples: tuple[Example, ...]) -> None:
        opening_outputs = [*self.outputs, *self.model_tab.outputs]
        gr.on(
            [gr.context.Context.root_block.load],
            self._open,
            outputs=opening_outputs,
            concurrency_limit=None,
            show_progress="hidden",
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
        self._on_run([chosen.then], self.tabs)
        app.on_point(lambda _run, place: place, [], [self.pointed])
        self.panel.stop.click(
            self._stop, None, None, queue=False, show_progress="hidden", api_visibility="private"
        )
        gr.context.Context.root_block.unload(self._stop)

    def _on_run(self, triggers: list[Any], tabs: list[StageTab]) -> None:
        """Run these tabs in order on the panel's input, drawing each as soon as it is there."""

        def handler(
            request: gr.Request,
            bar: gr.Progress = gr.Progress(),  # noqa: B008 - how Gradio asks for the progress bar
            *values: Any,
        ) -> Iterator[Values]:
            with user_messages(), self.jobs.running(request.session_hash or "", bar) as progress:
                yield from self._run(tabs, values, progress)

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

    # --------------------------------------------------------------- handlers

    def _open(self) -> Iterator[Values]:
        """Fill a new page: the loading bar until the first example has run, then its drawings."""
        while (status := self.host.wait(POLL_S)).phase == "loading":
            yield {self.status: loading_html(status)}
        if status.phase == "failed":
            yield {self.status: loading_html(status)}
            return
        yield self.opening

    def draw_opening(self, engine: Any) -> None:
        """Run the first example once, for all who open the page later."""
        first = load_examples()[0]
        prompt = read_prompt(
            engine,
            images=first.images,
            video=first.video,
            text=first.text,
            system=first.system,
            max_pixels=None,
        )
        run = Run(engine, prompt)
        values: Values = {self.run_key: self.runs.add(run, pinned=True)}
        for tab in self.tabs:
            controls = [control.value for control in tab.controls]
            for drawn in tab.stream(run, lambda *_: None, *controls):
                values.update(zip(tab.outputs, drawn, strict=True))
        values.update(zip(self.model_tab.outputs, self.model_tab.draw(engine), strict=True))
        values[self.pointer] = write_layout(run)
        values[self.status] = status_html(engine, run.parity)
        self.opening = values

    def _run(self, tabs: list[StageTab], values: Any, progress: Progress) -> Iterator[Values]:
        start = time.perf_counter()
        run_key, images, video, text, system, max_pixels, *controls = values
        prompt = read_prompt(
            self.host.engine,
            images=images,
            video=video,
            text=text,
            system=system,
            max_pixels=max_pixels,
        )
        key, run = self._find_or_start(run_key, prompt)
        yield {self.run_key: key}
        is_new = not run.has("preprocess")
        remaining = iter(controls)
        settings = {tab.stage: [next(remaining) for _ in tab.controls] for tab in self.tabs}
        try:
            for tab in tabs:
                if run.has(tab.stage):
                    continue  # drawn when it was computed; its controls redraw it themselves
                for drawn in tab.stream(run, progress, *settings[tab.stage]):
                    yield dict(zip(tab.outputs, drawn, strict=True))
                if is_new:  # once stage 1 has drawn
                    yield {self.pointer: write_layout(run)}
                    is_new = False
        except StageCancelled:
            yield {self.status: status_html(self.host.engine, note="Stopped")}
            return
        finally:
            self.runs.trim()
        parity = run.parity if run.has("decoder") else None
        seconds = time.perf_counter() - start
        yield {self.status: status_html(self.host.engine, parity, seconds=seconds)}

    def _find_or_start(self, run_key: str | None, prompt: Any) -> tuple[str, Run]:
        """The page's run where the prompt is still the same, so that nothing is computed twice."""
        current = self.runs.peek(run_key)
        if current is not None and prompt_fingerprint(current.prompt) == prompt_fingerprint(prompt):
            return run_key or "", current
        run = Run(self.host.engine, prompt, earlier=current)
        self.runs.discard(run_key)
        return self.runs.add(run), run

    def _stop(self, request: gr.Request) -> None:
        self.jobs.stop(request.session_hash or "")


def _fill_values(example: Example) -> tuple[Any, ...]:
    """The input panel's values for an example."""
    return list(example.images), example.video, example.text, example.system, None


def build_page(host: EngineHost) -> Page:
    """Build the page around an engine that may still be loading."""
    return Page(host)
