"""What each visitor's experiments have shown, for the run report.

A run's own views are drawn anew from its records. What a button has measured, though, and what the
labs have written, is nowhere but in the page: its last drawing is kept here as text, by visitor,
under one byte budget.
"""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import gradio as gr
import plotly.graph_objects as go
from gradio.blocks import Block
from gradio.context import LocalContext

from components.chart_view.view import encode_figure
from components.tabs.stage_tab import App, StageTab, StreamFn, ViewFn
from components.tabs.updates import read_update, split_answer

if TYPE_CHECKING:
    from playground.pipeline import Run

MAX_BYTES = 128 << 20  # about a hundred visitors who have tried everything

KEPT_KINDS = (gr.HTML, gr.Code, gr.Tab, gr.Column, gr.Row)

Props = dict[str, Any]  # what an update sets of a component: its value, visible, choices
Shown = dict[Any, Props]  # by component


def read_shown(value: Any) -> Props:
    """What a handler's answer for one output sets, as it is sent; nothing for ``gr.skip()``."""
    props = read_update(value)
    if isinstance(props.get("value"), go.Figure):
        props["value"] = encode_figure(props["value"])
    return props


def read_answer(outputs: Sequence[Block], answer: Any) -> Shown:
    """What a handler's answer sets, by output."""
    pairs = split_answer(outputs, answer)
    return {output: props for output, value in pairs if (props := read_shown(value))}


def merge_shown(older: Shown, newer: Shown) -> Shown:
    """What is shown after both."""
    return older | {each: older.get(each, {}) | props for each, props in newer.items()}


@dataclass(slots=True, eq=False)
class _Kept:
    """One visitor's results of one run."""

    run: weakref.ref[Run]
    shown: Shown
    num_bytes: int


class KeptResults:
    """Results by visitor; the longest unused ones go first."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._lock = threading.Lock()

    def note(self, session: str, run: Run, shown: Shown) -> None:
        """Keep what a visitor is shown of a run, in place of what was shown there before.

        Args:
            session: the visitor's ``session_hash``.
            run: the page's run; results of an earlier one are dropped.
            shown: what was drawn.
        """
        if not session or not shown:
            return
        with self._lock:
            kept = self._kept.pop(session, None)
            older = kept.shown if kept is not None and kept.run() is run else {}
            merged = merge_shown(older, shown)
            self._kept[session] = _Kept(weakref.ref(run), merged, _num_bytes(merged))
            total = sum(each.num_bytes for each in self._kept.values())
            while total > self._max_bytes:
                total -= self._kept.popitem(last=False)[1].num_bytes

    def find(self, session: str, run: Run) -> Shown:
        """What is kept of a visitor's run."""
        with self._lock:
            kept = self._kept.get(session)
            return dict(kept.shown) if kept is not None and kept.run() is run else {}


def _num_bytes(shown: Shown) -> int:
    return sum(len(str(value)) for props in shown.values() for value in props.values())


def this_session() -> str:
    """The visitor whose event this thread answers; empty outside of events."""
    request: Any = LocalContext.request.get(None)
    return getattr(request, "session_hash", None) or ""


@dataclass(frozen=True, slots=True, eq=False)
class KeepingApp(App):
    """The page around the tabs, which also keeps what their experiments show."""

    results: KeptResults = field(default_factory=KeptResults)
    lab_views: set[Any] = field(default_factory=set)  # which no run draws anew

    def follow_stream(self, fn: StreamFn, outputs: Sequence[Block]) -> StreamFn:
        """Keep what an experiment shows in the end."""
        return keep_stream(self.results, fn, outputs)

    def follow_view(self, fn: ViewFn, outputs: Sequence[Block]) -> ViewFn:
        """Where a lab's view or an experiment's result is redrawn, keep the new drawing."""

        def followed(run: Run, *values: Any) -> Any:
            answer = fn(run, *values)
            session = this_session()
            known = self.results.find(session, run).keys() | self.lab_views
            drawn = _drawn(outputs, answer).items()
            shown = {output: read_shown(value) for output, value in drawn if output in known}
            self.results.note(session, run, shown)
            return answer

        return followed

    def keep_lab(self, tab: StageTab) -> StageTab:
        """A lab's tab, whose runs are kept, and what is redrawn of them."""
        self.lab_views.update(each for each in tab.outputs if isinstance(each, KEPT_KINDS))
        return replace(tab, stream=keep_stream(self.results, tab.stream, tab.outputs))


def keep_stream(results: KeptResults, fn: StreamFn, outputs: Sequence[Block]) -> StreamFn:
    """A stream whose last drawing is kept, however it ends."""

    def kept(run: Run, *values: Any) -> Iterator[Any]:
        last: Mapping[Any, Any] = {}
        try:
            for answer in fn(run, *values):
                last = {**last, **_drawn(outputs, answer)}
                yield answer
        finally:
            # Read at the end alone: a stream's drawings follow each other fast.
            shown = {output: read_shown(value) for output, value in last.items()}
            results.note(this_session(), run, shown)

    return kept


def _drawn(outputs: Sequence[Block], answer: Any) -> dict[Any, Any]:
    """What a report shows of an answer."""
    skipped = {"__type__": "update"}
    return {
        output: value
        for output, value in split_answer(outputs, answer)
        if isinstance(output, KEPT_KINDS) and not (isinstance(value, dict) and value == skipped)
    }
