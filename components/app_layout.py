"""The page: the input beside the tabs, and the events that run the stages in order."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.blocks import Block

from components.api import add_api
from components.engine_host import EngineHost
from components.examples import Example, load_examples
from components.input_panel import InputPanel, build_input_panel
from components.jobs import Jobs
from components.open_parts import OpenParts, Values, View, empty_values, tabs_around
from components.pointer_view import PointerView, write_layout
from components.prompt_reader import prompt_fingerprint, read_prompt
from components.stage_tab import MODEL_EVENTS, MODEL_QUEUE, App, Section, StageTab, user_messages
from components.status_bar import loading_html, status_html
from components.tabs.cache.tab import build_cache_tab
from components.tabs.decoder.tab import build_decoder_tab
from components.tabs.merge.tab import build_merge_tab
from components.tabs.model_tab import ModelTab, build_model_tab
from components.tabs.preprocess.tab import build_preprocess_tab
from components.tabs.sampling.tab import build_sampling_tab
from components.tabs.vision.tab import build_vision_tab
from components.theme import CSS
from playground.errors import PlaygroundError, StageCancelled
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

# Experiments of their own after a run's four stages. They take longer than the run itself, and so
# run where their tab is in sight, or once it is opened.
LABS = ("sampling", "cache")

STYLES = ("views.css", "pointer.css", "page.css", "preprocess.css", "cache.css", "sampling.css")
PAGE_CSS = CSS + "".join(
    Path(__file__).with_name(name).read_text(encoding="utf-8") for name in STYLES
)


class Page:
    """The built page: its components and the handlers of its run events."""

    def __init__(self, host: EngineHost) -> None:
        self.host = host
        self.runs = RunStore()
        self.jobs = Jobs()
        self.parts = OpenParts()
        # What a new page shows once the first example has run, and that run; the parts hold theirs.
        self.opening: Values = {}
        self.opening_run: Run | None = None
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
                parts=self.parts,
                max_pixels=self.panel.max_pixels,
                progress=self.panel.progress,
            )
            # Wrapped, not behind a menu: all stages stay in sight, on a phone too.
            stages = gr.Column(scale=3, min_width=320, elem_id="stage-column")
            with stages:
                with gr.Tabs(overflow_behavior="wrap"):
                    self.tabs = [self._build_tab(label, build, app) for label, build in TABS]
                    self.lab_paths = {
                        tab.stage: tabs_around(tab.run_button)
                        for tab in self.tabs
                        if tab.stage in LABS
                    }
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
        drawn = [output for owner in self._owners for output in owner.outputs]
        return [self.status, self.run_key, self.pointer, *drawn]

    @property
    def controls(self) -> list[Any]:
        """The controls of all tabs and their parts, each once."""
        return list(dict.fromkeys(each for owner in self._owners for each in owner.controls))

    @property
    def _owners(self) -> list[StageTab | Section]:
        return [owner for tab in self.tabs for owner in (tab, *tab.parts)]

    @property
    def inputs(self) -> list[Any]:
        """Everything that a run reads."""
        return [self.run_key, *self.panel.values, *self.controls]

    def _wire(self, app: App, examples: tuple[Example, ...]) -> None:
        for tab in self.tabs:
            self.parts.register(tab.parts)
        for row, each in self.parts.tabs:
            self._on_select(row, each)
        for tab in self.tabs:
            if tab.stage in LABS:
                self._on_lab_select(tab)
        opening_outputs = [*self.outputs, *self.model_tab.outputs]
        gr.on(
            [gr.context.Context.root_block.load],
            self._open,
            outputs=opening_outputs,
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
        self.panel.stop.click(
            self._stop, None, None, queue=False, show_progress="hidden", api_visibility="private"
        )
        gr.context.Context.root_block.unload(self._close)

    def _on_select(self, row: Block, tab: gr.Tab) -> None:
        """Draw what comes into sight with a tab."""
        parts = self.parts.within(tab)
        controls = list(dict.fromkeys(control for part in parts for control in part.controls))
        outputs = [output for part in parts for output in part.outputs]

        def handler(run_key: str | None, request: gr.Request, *values: Any) -> Any:
            with user_messages():
                settings = dict(zip(controls, values, strict=True))
                self.parts.view(request.session_hash or "").select(row, tab)
                drawn = self._draw_tab(tab, request.session_hash or "", run_key, settings)
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
            if not self._lab_is_due(tab, session, run_key):
                yield {self.status: gr.skip()}
                return
            with user_messages(), self.jobs.running(session, bar) as progress:
                yield from self.open_lab(tab, session, run_key, controls, progress)

        _, item = self.lab_paths[tab.stage][-1]
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
                yield from self._run(tabs, values, progress, self.parts.view(session))

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

    def _open(self, request: gr.Request) -> Iterator[Values]:
        """Fill a new page: the loading bar until the first example has run, then its drawings."""
        view = self.parts.open_page(request.session_hash or "")
        while (status := self.host.wait(POLL_S)).phase == "loading":
            yield {self.status: loading_html(status)}
        if status.phase == "failed":
            yield {self.status: loading_html(status)}
            return
        view.run_key = self.opening[self.run_key]
        view.labs = dict.fromkeys(LABS, self.opening[self.run_key])
        settings = {control: control.value for control in self.controls}
        yield {**self.opening, **self._draw_parts(view, self.tabs, self.opening_run, settings)}

    def _draw_tab(self, tab: gr.Tab, session: str, run_key: str | None, settings: Values) -> Values:
        """What of an opened tab does not show the page's run yet."""
        view = self.parts.view(session)
        run = self.runs.peek(run_key)
        if run is None or run_key is None:
            return {}
        stages = [each for each in self.tabs if run.has(each.stage)]
        inside = set(self.parts.within(tab))
        parts = [part for each in stages for part in each.parts if part in inside]
        drawn = self.parts.draw(view, parts, run, run_key, settings)
        # A run that began in the meantime draws by itself.
        return {} if view.run_key not in (None, run_key) else drawn

    def _draw_parts(
        self, view: View, tabs: Sequence[StageTab], run: Run | None, settings: Values
    ) -> Values:
        """What is in sight of these tabs."""
        if run is None or view.run_key is None:
            return {}
        parts = [part for tab in tabs if run.has(tab.stage) for part in tab.parts]
        return self.parts.draw(view, parts, run, view.run_key, settings)

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
            earlier=first.earlier,
        )
        run = Run(engine, prompt)
        values: Values = {self.run_key: self.runs.add(run, pinned=True)}
        for tab in self.tabs:
            controls = [control.value for control in tab.controls]
            for drawn in tab.stream(run, lambda *_: None, *controls):
                values.update(zip(tab.outputs, drawn, strict=True))
        self.parts.draw_opening(run)
        values.update(zip(self.model_tab.outputs, self.model_tab.draw(engine), strict=True))
        values[self.pointer] = write_layout(run)
        values[self.status] = status_html(engine, run.parity)
        self.opening_run, self.opening = run, values

    def _run(
        self, tabs: list[StageTab], values: Any, progress: Progress, view: View
    ) -> Iterator[Values]:
        start = time.perf_counter()
        run_key, images, video, text, system, max_pixels, earlier, *controls = values
        prompt = read_prompt(
            self.host.engine,
            images=images,
            video=video,
            text=text,
            system=system,
            max_pixels=max_pixels,
            earlier=earlier,
        )
        key, run = self._find_or_start(run_key, prompt)
        view.run_key = key
        yield {self.run_key: key, **self.parts.empty_old(view, key, keep_open=True)}
        settings = dict(zip(self.controls, controls, strict=True))
        note = ""
        try:
            yield from self._run_stages(tabs, run, settings, progress, view)
        except StageCancelled:
            note = "Stopped"
        except PlaygroundError:
            if emptied := self._empty_old(run, view):
                yield emptied
            raise
        finally:
            self.runs.trim()
        if emptied := self._empty_old(run, view):
            yield emptied
        if note:
            yield {self.status: status_html(self.host.engine, note=note)}
            return
        parity = run.parity if run.has("decoder") else None
        seconds = time.perf_counter() - start
        yield {self.status: status_html(self.host.engine, parity, seconds=seconds)}

    def _run_stages(
        self,
        tabs: list[StageTab],
        run: Run,
        settings: Values,
        progress: Progress,
        view: View,
    ) -> Iterator[Values]:
        """Run what is missing, tab after tab, and draw of each what is in sight."""
        is_new = not run.has("preprocess")
        for tab in tabs:
            if tab.stage in LABS or run.has(tab.stage):
                continue  # drawn when it was computed; its controls redraw it themselves
            for drawn in tab.stream(run, progress, *[settings[each] for each in tab.controls]):
                yield dict(zip(tab.outputs, drawn, strict=True))
            # Looked up now: the visitor may have gone to another tab in the meantime.
            if parts := self._draw_parts(view, [tab], run, settings):
                yield parts
            if is_new:  # once stage 1 has drawn
                yield {self.pointer: write_layout(run)}
                is_new = False
        waiting = [tab for tab in tabs if tab.stage in LABS]
        for tab in waiting * 2:  # twice: the visitor may go back to one that was passed over
            if tab in waiting and view.is_open(self.lab_paths[tab.stage]):
                waiting = [each for each in waiting if each is not tab]
                sent = [settings[each] for each in tab.controls]
                yield from self._run_lab(tab, run, sent, progress, view)

    def _run_lab(
        self, tab: StageTab, run: Run, sent: Sequence[Any], progress: Progress, view: View
    ) -> Iterator[Values]:
        """One experiment on a run."""
        view.labs.pop(tab.stage, None)
        for drawn in tab.stream(run, progress, *sent):
            yield dict(zip(tab.outputs, drawn, strict=True))
        if view.run_key is not None:
            view.labs[tab.stage] = view.run_key

    def _lab_is_due(self, tab: StageTab, session: str, run_key: str | None) -> bool:
        """Whether an opened lab shows an older run; one that is under way runs it by itself."""
        if run_key is None or self.jobs.is_running(session):
            return False
        return self.parts.view(session).labs.get(tab.stage) != run_key

    def open_lab(
        self,
        tab: StageTab,
        session: str,
        run_key: str | None,
        sent: Sequence[Any],
        progress: Progress,
    ) -> Iterator[Values]:
        """Run a lab that came into sight, in place of what it shows of an older run."""
        run = self.runs.get(run_key)
        yield {self.status: gr.skip(), **empty_values(tab.outputs)}
        try:
            yield from self._run_lab(tab, run, sent, progress, self.parts.view(session))
        except StageCancelled:
            return
        finally:
            self.runs.trim()

    def _empty_old(self, run: Run, view: View) -> Values:
        """Empty what still shows an older run, where this one has not come so far."""
        emptied = self.parts.empty_old(view, view.run_key or "", keep_open=False)
        for tab in self.tabs:
            if tab.parts and not run.has(tab.stage):
                emptied.update(empty_values(tab.outputs))
        return emptied

    def _find_or_start(self, run_key: str | None, prompt: Any) -> tuple[str, Run]:
        """The page's run where the prompt is still the same, so that nothing is computed twice."""
        current = self.runs.peek(run_key)
        if current is not None and prompt_fingerprint(current.prompt) == prompt_fingerprint(prompt):
            return run_key or "", current
        run = Run(self.host.engine, prompt, earlier=current)
        self.runs.discard(run_key)
        return self.runs.add(run), run

    def _close(self, request: gr.Request) -> None:
        self._stop(request)
        self.parts.close_page(request.session_hash or "")

    def _stop(self, request: gr.Request) -> None:
        self.jobs.stop(request.session_hash or "")


def _fill_values(example: Example) -> tuple[Any, ...]:
    """The input panel's values for an example."""
    return list(example.images), example.video, example.text, example.system, None, example.earlier


def build_page(host: EngineHost) -> Page:
    """Build the page around an engine that may still be loading."""
    return Page(host)
