"""The page's run events: what a run computes, what of it is drawn, and when."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from components.compute.engine_host import EngineHost
from components.compute.gpu_process import compute_ahead, in_place
from components.compute.jobs import Jobs
from components.pointer.view import PointerView, write_layout
from components.prompt.examples import load_examples
from components.prompt.reader import prompt_fingerprint, read_prompt
from components.tabs.model_tab import ModelTab
from components.tabs.open_parts import OpenParts, Path, Values, View, empty_values
from components.tabs.stage_tab import Section, StageTab
from components.tabs.updates import own_copy
from components.views.status_bar import loading_html, status_html
from playground.errors import PlaygroundError, StageCancelled
from playground.language import say
from playground.pipeline import Run
from playground.records import Progress
from playground.run_store import RunStore

POLL_S = 0.3  # how often a waiting page asks how far the checkpoint is

# Experiments of their own after a run's four stages. They take longer than the run itself, and so
# run where their tab is in sight, or once it is opened.
LABS = ("sampling", "cache")


@dataclass(slots=True, eq=False)
class RunEvents:
    """The handlers of one page's events, around the components that they fill."""

    host: EngineHost
    runs: RunStore
    jobs: Jobs
    parts: OpenParts
    status: gr.HTML
    run_key: gr.State
    pointer: PointerView
    tabs: list[StageTab]
    model_tab: ModelTab
    lab_paths: dict[str, Path]  # the tabs that a lab lies in, by its stage
    # The run that a new page shows, its key, and its drawings; the parts hold theirs.
    opening_run: Run | None = None
    opening_key: str | None = None
    opening: Values = field(default_factory=dict)
    opening_lock: Any = field(default_factory=threading.Lock)

    @property
    def controls(self) -> list[Any]:
        """The controls of all tabs and their parts, each once."""
        return list(dict.fromkeys(each for owner in self.owners for each in owner.controls))

    @property
    def owners(self) -> list[StageTab | Section]:
        owners: list[StageTab | Section] = []
        for tab in self.tabs:
            owners += [tab, *tab.parts]
        return owners

    def open_page(self, request: gr.Request) -> Iterator[Values]:
        """Fill a new page: the loading bar until the first example has run, then its drawings."""
        view = self.parts.open_page(request.session_hash or "")
        if not (yield from self.wait_until_loaded()):
            return
        self.draw_opening()
        view.run_key = self.opening_key
        shown: str = self.opening[self.run_key]
        view.labs = dict.fromkeys(LABS, shown)
        settings = {control: control.value for control in self.controls}
        view.note(self.opening, settings)
        opening = {output: own_copy(value) for output, value in self.opening.items()}
        yield {**opening, **self.draw_parts(view, self.tabs, self.opening_run, settings)}

    def wait_until_loaded(self) -> Generator[Values, None, bool]:
        """Show how far the checkpoint is; returns whether it came."""
        while (status := self.host.wait(POLL_S)).phase == "loading":
            yield {self.status: loading_html(status)}
        if status.phase == "failed":
            yield {self.status: loading_html(status)}
        return status.phase != "failed"

    def draw_tab(self, tab: gr.Tab, session: str, run_key: str | None, settings: Values) -> Values:
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

    def draw_parts(
        self, view: View, tabs: Sequence[StageTab], run: Run | None, settings: Values
    ) -> Values:
        """What is in sight of these tabs."""
        if run is None or view.run_key is None:
            return {}
        parts = [part for tab in tabs if run.has(tab.stage) for part in tab.parts]
        return self.parts.draw(view, parts, run, view.run_key, settings)

    @staticmethod
    def run_opening(engine: Any) -> Run:
        """The first example's run, of which nothing is computed yet."""
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
        return Run(engine, prompt)

    @in_place
    def draw_opening(self) -> None:
        """Draw the opening run once, for all who open the page later."""
        with self.opening_lock:
            run = self.opening_run
            if self.opening or run is None:
                return
            values: Values = {self.run_key: self.opening_key}
            for tab in self.tabs:
                controls = [control.value for control in tab.controls]
                for drawn in tab.stream(run, lambda *_: None, *controls):
                    values.update(zip(tab.outputs, drawn, strict=True))
            self.parts.draw_opening(run)
            model = self.model_tab
            values.update(zip(model.outputs, model.draw(run.engine), strict=True))
            values[self.pointer] = write_layout(run)
            values[self.status] = status_html(run.engine, run.parity)
            self.opening = values

    def run(
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
        run = yield from self._find_or_start(run_key, prompt, view)
        settings = dict(zip(self.controls, controls, strict=True))
        note = ""
        try:
            compute_ahead(run, [tab.stage for tab in tabs], progress)
            yield from self._run_stages(tabs, run, settings, progress, view)
            if run.has("decoder"):
                run.check_parity(progress)
        except StageCancelled:
            note = say("Stopped")
        except PlaygroundError:
            if emptied := self._empty_old(run, view):
                yield emptied
            raise
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
                yield self._noted(view, tab, drawn, settings)
            # Looked up now: the visitor may have gone to another tab in the meantime.
            if parts := self.draw_parts(view, [tab], run, settings):
                yield parts
            if is_new:  # once stage 1 has drawn
                yield {self.pointer: write_layout(run)}
                is_new = False
        waiting = [tab for tab in tabs if tab.stage in LABS]
        for tab in waiting * 2:  # twice: the visitor may go back to one that was passed over
            if tab in waiting and view.is_open(self.lab_paths[tab.stage]):
                waiting = [each for each in waiting if each is not tab]
                sent = [settings[each] for each in tab.controls]
                yield from self.run_lab(tab, run, sent, progress, view)

    def run_lab(
        self, tab: StageTab, run: Run, sent: Sequence[Any], progress: Progress, view: View
    ) -> Iterator[Values]:
        """One experiment on a run."""
        view.labs.pop(tab.stage, None)
        settings = dict(zip(tab.controls, sent, strict=True))
        for drawn in tab.stream(run, progress, *sent):
            yield self._noted(view, tab, drawn, settings)
        if view.run_key is not None:
            view.labs[tab.stage] = view.run_key

    @staticmethod
    def _noted(view: View, tab: StageTab, drawn: Sequence[Any], settings: Values) -> Values:
        """What a tab has drawn, by output; the visitor's view knows of it."""
        values = dict(zip(tab.outputs, drawn, strict=True))
        view.note(values, settings)
        return values

    def lab_is_due(self, tab: StageTab, session: str, run_key: str | None) -> bool:
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
            yield from self.run_lab(tab, run, sent, progress, self.parts.view(session))
        except StageCancelled:
            return

    def _empty_old(self, run: Run, view: View) -> Values:
        """Empty what still shows an older run, where this one has not come so far."""
        emptied = self.parts.empty_old(view, view.run_key or "", keep_open=False)
        for tab in self.tabs:
            if tab.parts and not run.has(tab.stage):
                emptied.update(empty_values(tab.outputs))
        return emptied

    def _find_or_start(
        self, run_key: str | None, prompt: Any, view: View
    ) -> Generator[Values, None, Run]:
        """Tell the page which run is its own, and return that run.

        It stays the same where the prompt does, so that nothing is computed twice. A page has one
        run: a new one takes the place of what the page sent, and of what it was not told of yet.
        """
        current = self.runs.peek(run_key)
        if current is not None and prompt_fingerprint(current.prompt) == prompt_fingerprint(prompt):
            key, run = run_key or "", current
        else:
            run = Run(self.host.engine, prompt, earlier=current)
            for old in (run_key, view.run_key):
                self.runs.discard(old)
            key = self.runs.add(run)
        view.run_key = key
        try:
            yield {self.run_key: key, **self.parts.empty_old(view, key, keep_open=True)}
        except GeneratorExit:  # the page has left, and nobody else knows of the run
            if run is not current:
                self.runs.discard(key)
            raise
        return run
