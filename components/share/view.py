"""The buttons that make links, files and the run report, and the events behind them."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from markupsafe import Markup

import playground
from components.compute.jobs import Jobs
from components.look.theme import CSS
from components.parts.drawing import Drawing, required_stage
from components.parts.experiments import MODEL_EVENTS, MODEL_QUEUE
from components.parts.part import LABS
from components.parts.question import Question
from components.parts.run_events import PROMPT_NAMES
from components.prompt.panel import InputPanel
from components.serving.browser_module import page_module
from components.serving.page_blocks import blocks_around
from components.share.downloads.panel import FOUND, make_file
from components.share.link_words import note_html
from components.share.links import Links
from components.share.report.outline import stage_items
from components.share.report.writer import write_report
from components.views.markdown import markdown_html
from playground.errors import InputError
from playground.language import say

if TYPE_CHECKING:
    from playground.pipeline import Run

MAKING = "files"  # one queue for all visitors
AT_ONCE = 2  # each file may take as much memory as its stage
REPORT_NAME = "qwen3-vl-run-report.html"

# The first input of an event is state that only the browser knows.
READ_STATE = "(...values) => [JSON.stringify(window.playgroundState()), ...values.slice(1, COUNT)]"
# The server does not know the URL that the visitor sees.
COMPLETE = "(query) => location.origin + location.pathname + query"
COPY = "(link) => window.playgroundCopy(link)"
FETCH = "(file) => window.playgroundFetch(file)"


class ShareView(gr.HTML):
    """The row below the tabs; its events ``download`` and ``report`` get the visitor's request."""

    def __init__(self) -> None:
        about = say(
            "**Run report:** all charts and numbers of this run in one HTML file that opens "
            "offline, including what you tried in the tabs."
        )
        row = Markup(
            '<div class="pg-part-row" id="report-row"><div class="prose">{}</div>'
            '<button type="button" class="pg-button" data-report id="report">{}</button></div>'
        ).format(markdown_html(about), say("Run report"))
        super().__init__(
            html_template=row,
            js_on_load=page_module("share.js", spec={"events": ["download", "report"]}),
            apply_default_css=False,
        )
        self.target = gr.DownloadButton(say("Download"), visible="hidden")


def wire_share(
    share: ShareView,
    links: Links,
    *,
    panel: InputPanel,
    outputs: Mapping[str, Any],
    jobs: Jobs,
) -> None:
    """Wire the page's links, downloads and report, and the event that fills a new page.

    Args:
        share: the buttons.
        links: the site's links.
        panel: the page's input.
        outputs: the components that run events and links update, by name.
        jobs: the running jobs, which can be stopped.
    """
    _wire_copy(panel, links)
    _wire_opening(panel, links, outputs, jobs)
    drawing = links.events.drawing

    def download(event: gr.EventData) -> str:
        run = find_run(drawing, event._data)
        return store_file(share.target, *stage_file(drawing, run, event._data))

    def report(event: gr.EventData) -> str:
        run = find_run(drawing, event._data)
        return store_file(share.target, REPORT_NAME, run_report(drawing, run, event._data))

    for trigger, make in ((share.download, download), (share.report, report)):
        made = trigger(
            make,
            None,
            [share.target],
            show_progress="full",
            show_progress_on=[panel.progress],
            concurrency_id=MAKING,
            concurrency_limit=AT_ONCE,
            api_visibility="private",
        )
        made.success(None, [share.target], None, js=FETCH, api_visibility="private")


# ------------------------------------------------------------------------------------- files


def find_run(drawing: Drawing, data: Any) -> Run:
    """The run that the page names.

    Raises:
        InputError: nothing has run yet, or the run has expired.
    """
    key = data.get("run") if isinstance(data, Mapping) else None
    if not isinstance(key, str):
        raise _nothing_error()
    return drawing.runs.get(key)


def _nothing_error() -> InputError:
    return InputError(
        say("Nothing has run on this page yet."), remedy=say("Press Run, then download.")
    )


def stage_file(drawing: Drawing, run: Run, data: Mapping[str, Any]) -> tuple[str, bytes]:
    """Name and content of the requested file."""
    stage, findings = data.get("stage"), data.get("findings")
    name = FOUND.get(stage, "") if isinstance(stage, str) else ""
    key = findings.get(name) if isinstance(findings, Mapping) else None
    found = drawing.findings.find(key, run, name)
    return make_file(data.get("kind"), stage, run, found)


def run_report(drawing: Drawing, run: Run, data: Mapping[str, Any]) -> bytes:
    """The report of a run, with the visitor's control values and findings."""
    state = Question.read({**data, "part": "", "outputs": []})
    chapters = []
    for stage in drawing.parts.stages:
        needed = required_stage(stage.parts[0])
        is_there = needed is None or run.has(needed)
        if stage.stage in LABS:
            is_there = is_there and any(
                name.startswith(f"{stage.stage}.") for name in state.findings
            )
        items = stage_items(drawing, stage, run, state) if is_there else ()
        chapters.append((say(stage.label), items))
    if not run.has("preprocess"):
        raise _nothing_error()
    return write_report(run, chapters, CSS).encode()


def store_file(target: gr.DownloadButton, name: str, content: bytes) -> str:
    """Write a file under a secret name, from where Gradio serves it and later deletes it."""
    folder = Path(target.GRADIO_CACHE) / secrets.token_urlsafe(24)
    folder.mkdir(parents=True)
    path = folder / name
    try:
        path.write_bytes(content)
    except OSError:  # the disk is full
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return str(path)


# ------------------------------------------------------------------------------------- links


def _wire_copy(panel: InputPanel, links: Links) -> None:
    def copy(state: str, *values: Any) -> tuple[Any, ...]:
        prompt = dict(zip(PROMPT_NAMES, values, strict=True))
        query, keeps_files = links.make(read_state(state), prompt)
        note = note_html(links.kept.days if keeps_files else None)
        return query, gr.update(visible=True), note

    inputs = [gr.Textbox(visible=False), *panel.values]  # the browser fills in the first
    made = panel.copy.click(
        copy,
        inputs,
        [panel.query, panel.link, panel.link_note],
        js=READ_STATE.replace("COUNT", str(len(inputs))),
        show_progress="hidden",
        concurrency_limit=None,
        api_visibility="private",
    )
    # Never show the query alone in the box: someone might copy it before it is a full link.
    shown = made.success(None, [panel.query], [panel.link], js=COMPLETE)
    shown.then(None, [panel.link], None, js=COPY)


def read_state(state: Any) -> dict[str, Any]:
    """The page's state as run.js sends it; empty if it cannot be read."""
    try:
        found = json.loads(state)
    except (TypeError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _wire_opening(panel: InputPanel, links: Links, outputs: Mapping[str, Any], jobs: Jobs) -> None:
    """Fill a new page with the first example, or with the link in its URL."""
    asked = gr.State()
    events = links.events

    def updates(changes: Mapping[str, Any]) -> dict[Any, Any]:
        prompt = dict(zip(panel.values, changes.get("prompt", ()), strict=False))
        others = {outputs[name]: value for name, value in changes.items() if name != "prompt"}
        return prompt | others

    def open_page(request: gr.Request) -> Iterator[dict[Any, Any]]:
        link = links.read_address(request.query_params)
        if link is None:
            yield from map(updates, events.open_page())
        else:
            yield from map(updates, events.wait_until_loaded())
        if events.host.status.phase != "ready":
            return
        if playground.preprocess.chat_template.knows_thinking(events.host.engine):
            yield {panel.thinking: gr.update(visible=True)}  # for a page opened during loading
        if link is not None:
            yield {asked: link}

    blocks_around().load(
        open_page,
        None,
        [*outputs.values(), asked, panel.thinking],
        concurrency_limit=None,
        show_progress="hidden",
        api_visibility="private",
    )

    def open_link(
        link: str | None,
        request: gr.Request,
        bar: gr.Progress = gr.Progress(),  # noqa: B008 - how Gradio asks for the progress bar
    ) -> Iterator[dict[Any, Any]]:
        session = request.session_hash or ""
        with jobs.running(session, bar) as progress:
            for changes in links.open(link or "{}", progress):
                yield updates(changes)

    asked.change(
        open_link,
        [asked],
        [*outputs.values(), *panel.values],
        show_progress="full",
        show_progress_on=[panel.progress],
        concurrency_id=MODEL_QUEUE,
        concurrency_limit=MODEL_EVENTS,
        api_visibility="private",
    )
