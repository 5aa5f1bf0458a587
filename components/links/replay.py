"""Running a link's prompt with a link's settings, and bringing every view to where it was.

A run draws with the settings that it is given. What remains are settings whose bounds only the run
makes known, such as the layers of this checkpoint, and views that a control redraws by itself: for
those the control's own handler is called, as if the visitor had moved it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any

import gradio as gr
from gradio.components.base import Component

from components.links.controls import Names, fits
from components.run_events import LABS, RunEvents
from components.tabs.open_parts import View
from components.tabs.stage_tab import App, StageTab, ViewEvent
from components.tabs.updates import read_update, same_value, split_answer
from playground.errors import PlaygroundError, StageCancelled
from playground.pipeline import Run
from playground.records import Progress

logger = logging.getLogger(__name__)

Values = dict[Any, Any]

# What a handler may stumble over when it is given a value that no control of the page would send.
MISFITS = (TypeError, ValueError, LookupError, ArithmeticError)


class Replay:
    """One link's way onto a page that nothing was run on."""

    def __init__(
        self, app: App, events: RunEvents, names: Names, wanted: Mapping[Component, Any]
    ) -> None:
        self._app, self._events, self._names = app, events, names
        self._wanted = dict(wanted)
        self._changed: dict[Any, dict[str, Any]] = {}  # what was sent to each component so far
        self.left_out: list[str] = []  # names of settings that do not fit here

    def run(self, prompt: tuple[Any, ...], view: View, progress: Progress) -> Iterator[Values]:
        """Run the prompt once; yields what a run yields.

        Args:
            prompt: the values of the input panel.
            view: the visitor's.
            progress: as for a run.
        """
        events = self._events
        try:
            yield from self._run(prompt, view, progress)
            run = self._app.runs.peek(view.run_key)
            if run is None or not run.has("decoder"):
                return  # stopped
            yield from self._draw_closed(run, view)
            for tab in events.tabs:
                if tab.stage in LABS and self._is_wanted(tab, view):
                    sent = [self._sent(each) for each in tab.controls]
                    yield from self._watch(events.run_lab(tab, run, sent, progress, view))
            if rest := self._restore_rest(run):
                yield rest
        except StageCancelled:
            return

    def _run(self, prompt: tuple[Any, ...], view: View, progress: Progress) -> Iterator[Values]:
        """The run, with the link's settings; without them where they make no sense here."""
        events = self._events
        for _ in range(2):
            sent = [self._sent(each) for each in events.controls]
            try:
                yield from self._watch(
                    events.run(events.tabs, (None, *prompt, *sent), progress, view)
                )
            except MISFITS as error:
                if not self._wanted:
                    raise
                # The kind alone: a message may quote what a stranger wrote.
                logger.warning("settings of a link do not fit: %s", type(error).__name__)
                self.left_out += [self._names.of_controls[each] for each in self._wanted]
                self._wanted.clear()
                continue
            return

    def _sent(self, control: Component) -> Any:
        """What a control would send now."""
        changed = self._changed.get(control, {})
        return self._wanted.get(control, changed.get("value", control.value))

    def _watch(self, updates: Iterator[Values]) -> Iterator[Values]:
        """Pass updates on, and remember what they say."""
        for update in updates:
            self._note(update)
            yield update

    def _note(self, update: Values) -> None:
        for component, value in update.items():
            self._changed.setdefault(component, {}).update(read_update(value))

    # -------------------------------------------------------------------- what a run leaves open

    def _draw_closed(self, run: Run, view: View) -> Iterator[Values]:
        """Draw the parts out of sight that have a setting whose bounds come with the drawing."""
        parts = [
            part
            for tab in self._events.tabs
            for part in tab.parts
            if view.shown.get(part) != view.run_key
            and any(each in self._wanted and each in part.outputs for each in part.controls)
        ]
        if parts:
            settings = {each: self._sent(each) for part in parts for each in part.controls}
            everything = View()  # in which all is open
            yield from self._watch(
                iter([self._app.parts.draw(everything, parts, run, view.run_key or "", settings)])
            )
            view.shown.update(everything.shown)

    def _is_wanted(self, tab: StageTab, view: View) -> bool:
        """Whether a lab that has not run holds a setting that is about its results."""
        if view.labs.get(tab.stage) == view.run_key:
            return False
        _, item = self._events.lab_paths[tab.stage][-1]
        (prefix,) = (name for name, each in self._names.tabs.items() if each is item)
        return any(
            name.startswith(f"{prefix}.")
            and each in self._wanted
            and each not in tab.controls
            and (each in tab.outputs or self._views_of(each))
            for name, each in self._names.controls.items()
        )

    def _views_of(self, control: Component) -> list[ViewEvent]:
        """What redraws a view, not only other controls, once this control is moved."""
        return [
            each
            for each in self._app.views
            if each.control is control and any(not is_control(output) for output in each.outputs)
        ]

    def _restore_rest(self, run: Run) -> Values:
        """Set what is not set yet, and call the controls' own handlers."""
        drawn_with = set(self._events.controls)
        restored: Values = {}
        called: list[ViewEvent] = []
        for name, control in self._names.controls.items():
            if control not in self._wanted:
                continue
            wanted, changed = self._wanted[control], self._changed.get(control, {})
            if control in drawn_with and same_value(changed.get("value", wanted), wanted):
                continue
            if not fits(control, wanted, changed):
                self.left_out.append(name)
                continue
            restored[control] = wanted
            called += [each for each in self._views_of(control) if each not in called]
        self._note(restored)
        for event in called:
            restored.update(self._call(event, run, restored))
        return restored

    def _call(self, event: ViewEvent, run: Run, restored: Values) -> Values:
        """What a control's handler draws; what the link itself sets stays as the link has it."""
        try:
            drawn = event.fn(run, *[self._sent(each) for each in event.inputs])
        except (PlaygroundError, *MISFITS):
            return {}
        update: Values = {}
        for output, value in split_answer(event.outputs, drawn):
            if output in restored:
                update[output] = gr.update(**(read_update(value) | {"value": restored[output]}))
            else:
                update[output] = value
        self._note(update)
        return update


def is_control(component: Any) -> bool:
    """Whether a component is something to set, rather than to look at."""
    return not isinstance(component, gr.HTML | gr.Code | gr.Markdown)
