"""The *Run report* button: draws every tab's views of the page's run, and writes the file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr

from components.downloads.panel import AT_ONCE, MAKING, build_target, fetch, find_run, store_file
from components.report.outline import Item, Outline
from components.report.results import KeepingApp, Shown, merge_shown, read_answer
from components.report.writer import write_report
from components.serving.faults import user_messages
from components.tabs.open_parts import View
from components.tabs.stage_tab import StageTab
from playground.errors import InputError
from playground.language import say
from playground.pipeline import STAGES

if TYPE_CHECKING:
    from components.run_events import RunEvents
    from playground.pipeline import Run

FILE_NAME = "qwen3-vl-run-report.html"


@dataclass(frozen=True, slots=True, eq=False)
class ReportRow:
    """The button below the tabs, and where its file goes."""

    button: gr.Button
    target: gr.DownloadButton


def build_report_row() -> ReportRow:
    """Build the row below the tabs."""
    with gr.Row(elem_id="report-row"):
        gr.Markdown(
            say(
                "**Run report:** all tabs’ charts and numbers of this run in one HTML file, which "
                "opens without a network. What you have tried in the tabs is in it too."
            )
        )
        button = gr.Button(say("Run report"), size="sm", scale=0, min_width=150, elem_id="report")
    return ReportRow(button, build_target())


def wire_report(app: KeepingApp, row: ReportRow, events: RunEvents, page_css: str) -> None:
    """Let the button write the report; call it once all tabs are built."""
    stages = [(tab, Outline.around(tab.run_button)) for tab in events.tabs]
    model_outline = Outline.around(events.model_tab.outputs[0])
    controls = events.controls

    def make(
        run_key: str | None,
        request: gr.Request,
        bar: gr.Progress = gr.Progress(),  # noqa: B008 - how Gradio asks for the progress bar
        *values: Any,
    ) -> str:
        with user_messages():
            run = find_run(app, run_key)
            settings = dict(zip(controls, values, strict=True))
            kept = app.results.find(request.session_hash or "", run)
            chapters = []
            for number, (tab, outline) in enumerate(stages):
                bar((number, len(stages)), desc=outline.label, unit="")
                items = draw_chapter(events, tab, outline, run, settings=settings, kept=kept)
                chapters.append((outline, items))
            chapters.append((model_outline, draw_model(events, model_outline, run)))
            if not run.has("preprocess"):
                raise InputError(
                    say("Nothing has run on this page yet."),
                    remedy=say("Press Run, then download."),
                )
            content = write_report(run, chapters, page_css)
            return store_file(row.target, FILE_NAME, content.encode())

    made = row.button.click(
        make,
        [app.run_key, *controls],
        [row.target],
        show_progress="full",
        show_progress_on=[app.progress],
        concurrency_id=MAKING,
        concurrency_limit=AT_ONCE,
        api_visibility="private",
    )
    fetch(made, row.target)


def draw_chapter(
    events: RunEvents,
    tab: StageTab,
    outline: Outline,
    run: Run,
    *,
    settings: dict[Any, Any],
    kept: Shown,
) -> tuple[Item, ...]:
    """All that is to be seen in one tab; nothing where it has not run.

    Args:
        events: of the page.
        tab: a stage or lab.
        outline: of the tab.
        run: the page's.
        settings: the values of all tabs' controls.
        kept: what the visitor's experiments have shown of this run.
    """
    own = tab.controls if tab.stage in STAGES else ()
    shown: Shown = {}
    if tab.stage not in STAGES:
        if run is events.opening_run:
            shown = read_all(tab.outputs, events.opening)
    elif not run.has(tab.stage):
        return ()
    else:
        for answer in tab.stream(run, lambda *_: None, *[settings[each] for each in own]):
            shown = merge_shown(shown, read_answer(tab.outputs, answer))
        # A visitor of whom nothing is known has every part open, and so all are drawn.
        drawn = events.parts.draw(View(), tab.parts, run, "report", settings)
        shown = merge_shown(shown, read_all(list(drawn), drawn))
    shown = merge_shown(shown, kept)
    used = [control for part in tab.parts for control in part.controls]
    return outline.items(shown, {each: settings[each] for each in (*own, *used)})


def draw_model(events: RunEvents, outline: Outline, run: Run) -> tuple[Item, ...]:
    """The Model tab, which tells of the checkpoint and not of a run."""
    tab = events.model_tab
    drawn = dict(zip(tab.outputs, tab.draw(run.engine), strict=True))
    return outline.items(read_all(tab.outputs, drawn), {})


def read_all(outputs: Sequence[Any], drawn: dict[Any, Any]) -> Shown:
    """What drawings by output show."""
    return read_answer(outputs, {each: drawn[each] for each in outputs if each in drawn})
