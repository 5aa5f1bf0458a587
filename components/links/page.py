"""The page's half of permalinks: making one of what it shows, and opening one."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import gradio as gr
from gradio.components.base import Component

import playground
from components.links.controls import Names, check_value, fits
from components.links.kept_files import KeptFiles
from components.links.link import Link, read_link, write_link
from components.links.prompt import PROMPT_NAMES, find_example_named, find_prompt, link_prompt
from components.links.replay import Replay
from components.links.words import note_html, notice_html
from components.pointer.view import write_layout
from components.prompt.panel import InputPanel
from components.prompt.reader import read_prompt
from components.run_events import RunEvents
from components.serving.faults import user_messages
from components.tabs.open_parts import View
from components.tabs.stage_tab import MODEL_EVENTS, MODEL_QUEUE, App
from components.tabs.updates import same_value
from components.views.status_bar import status_html
from playground.errors import InputError
from playground.language import say
from playground.pipeline import Run
from playground.pointer import Place
from playground.records import Progress

Values = dict[Any, Any]
UPDATE_S = 0.5  # between two updates while a link is opened

# The selected tabs are known to the browser alone. Arguments: the event's inputs, then its outputs.
READ_TABS = """(...values) => {
  const selected = document.querySelectorAll(
    '#stage-column [role=tab][aria-selected=true][data-tab-id]');
  const tabs = [...selected].map((tab) => tab.dataset.tabId);
  return [JSON.stringify(tabs), ...values.slice(1, NUM_INPUTS)];
}"""

# The server does not know the address that the visitor sees.
COMPLETE = "(query) => location.origin + location.pathname + query"

COPY = """async (link) => {
  // A browser may leave the permission open, and draws no frame for a page that is not in sight.
  const within = (promise) => Promise.race(
    [promise, new Promise((_, reject) => setTimeout(reject, 1000))]);
  let copied = true;
  try { await within(navigator.clipboard.writeText(link)); } catch { copied = false; }
  try { await within(new Promise(requestAnimationFrame)); } catch { /* not in sight */ }
  const note = document.querySelector('#link-note');
  note?.querySelector(copied ? '[data-copied]' : '[data-by-hand]')?.removeAttribute('hidden');
  if (!copied) document.querySelector('#link-box textarea, #link-box input')?.select();
}"""


@dataclass(frozen=True, slots=True, eq=False)
class Opening:
    """What a link asks a page for, as far as it is there."""

    prompt: dict[str, Any]  # the arguments of ``read_prompt``
    settings: dict[Component, Any]
    missing: int = 0  # pictures and videos that are no longer kept
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True, eq=False)
class Permalinks:
    """One page's links."""

    app: App
    panel: InputPanel
    events: RunEvents
    names: Names
    notice: gr.HTML  # what a visitor must know about the link that was opened
    kept: KeptFiles = field(default_factory=KeptFiles)
    # What the page's address asks for, see ``read_address``; its change opens it.
    asked: gr.State = field(default_factory=gr.State)

    def wire(self, opening_outputs: Sequence[Component]) -> None:
        """Listen for the button and for the page's address.

        Args:
            opening_outputs: all that a new page is filled with.
        """
        tabs = gr.Textbox(visible=False)  # written by the browser alone
        inputs = [
            tabs,
            self.app.run_key,
            self.app.pointed,
            *self.panel.values,
            *self.names.controls.values(),
        ]
        made = self.panel.copy.click(
            self._copy,
            inputs,
            [self.panel.query, self.panel.link, self.panel.link_note],
            js=READ_TABS.replace("NUM_INPUTS", str(len(inputs))),
            show_progress="hidden",
            concurrency_limit=None,
            api_visibility="private",
        )
        # Never the query itself in the box: it would be no link for whoever is quick to copy it.
        shown = made.success(None, [self.panel.query], [self.panel.link], js=COMPLETE)
        shown.then(None, [self.panel.link], None, js=COPY)
        outputs = [
            *opening_outputs,
            *self.panel.values,
            *self.names.controls.values(),
            *self.names.rows.values(),
            self.notice,
        ]
        self.asked.change(
            self._open,
            [self.asked],
            list(dict.fromkeys(outputs)),
            show_progress="full",
            show_progress_on=[self.panel.progress],
            concurrency_id=MODEL_QUEUE,
            concurrency_limit=MODEL_EVENTS,
            api_visibility="private",
        )

    def _copy(self, request: gr.Request, *values: Any) -> Values:
        with user_messages():
            return self.copy(self.app.parts.view(request.session_hash or ""), *values)

    def _open(
        self,
        asked: str | None,
        request: gr.Request,
        bar: gr.Progress = gr.Progress(),  # noqa: B008 - how Gradio asks for the progress bar
    ) -> Iterator[Values]:
        session = request.session_hash or ""
        with user_messages(), self.app.jobs.running(session, bar) as progress:
            updates = self.open(asked or "{}", self.app.parts.view(session), progress)
            # Not to wait with the run's key: meanwhile nothing that the visitor does would know of
            # the run, and where the page left, nobody would give the run up.
            yield from joined(updates, at_once=self.events.run_key)

    # -------------------------------------------------------------------------------- making

    def copy(
        self, view: View, tabs: Any, run_key: str | None, place: Place | None, *values: Any
    ) -> Values:
        """Make a link of what the visitor's page shows."""
        prompt = dict(zip(PROMPT_NAMES, values[: len(PROMPT_NAMES)], strict=True))
        read_prompt(self.app.host.engine, **prompt)  # what cannot be run cannot be linked to
        controls = zip(self.names.controls.items(), values[len(PROMPT_NAMES) :], strict=True)
        given = {
            name: sent
            for (name, each), sent in controls
            if not same_value(sent, view.usual_value(each))
        }
        run = self.app.runs.peek(run_key)
        link = Link(
            **link_prompt(self.kept, prompt),
            tabs=self._link_tabs(tabs),
            place=_link_place(run, place),
            checkpoint=playground.loading.checkpoint_mark.mark_checkpoint(self.app.host.engine),
            settings=given,
        )
        kept = bool(link.images) or link.video is not None
        return {
            self.panel.query: write_link(link),
            self.panel.link: gr.update(visible=True),
            self.panel.link_note: note_html(self.kept.days if kept else None),
        }

    def _link_tabs(self, sent: Any) -> tuple[str, ...]:
        """The names of the selected tabs, without those that come first anyway."""
        try:
            selected = json.loads(sent)
        except (TypeError, ValueError):
            return ()
        if not isinstance(selected, list):
            return ()
        return tuple(
            name
            for name, tab in self.names.tabs.items()
            if tab.id in selected and self.names.rows[tab].children[0] is not tab
        )

    # ------------------------------------------------------------------------------- opening

    def read_address(self, query: Any) -> str | None:
        """The link that a page is opened with, as what ``open`` takes; None without one."""
        given = {str(name): str(value) for name, value in dict(query or {}).items()}
        try:
            link = read_link(given)
        except InputError as error:
            return json.dumps({"problem": str(error)})
        return None if link is None else json.dumps(given)

    def open(self, asked: str, view: View, progress: Progress) -> Iterator[Values]:
        """Restore all of a link, run it once, and mark what it points at.

        Args:
            asked: see ``read_address``.
            view: the visitor's.
            progress: called while the model runs; ``StageCancelled`` raised in it stops.
        """
        query = json.loads(asked)
        link = read_link(query) or Link()
        opening = self._read(link)
        if "problem" in query:
            opening.notes.append(query["problem"])
        first = dict(zip(self.panel.values, opening.prompt.values(), strict=True))
        yield {
            **first,
            **self._select_tabs(link, view),
            **{each: sent for each, sent in opening.settings.items() if fits(each, sent)},
            **self._show_model(),
            self.events.status: status_html(self.app.host.engine),
            self.notice: notice_html(opening.notes),
        }
        if opening.missing:  # everything but the numbers
            return
        replay = Replay(self.app, self.events, self.names, opening.settings)
        key: str | None = None
        for update in replay.run(tuple(opening.prompt.values()), view, progress):
            key = update.get(self.events.run_key, key)
            yield update
        run = self.app.runs.peek(key)  # none, where the visitor has begun another one
        last: Values = {}
        if run is not None and run.has("preprocess") and link.place:
            last[self.events.pointer] = write_layout(run, link.place)
        if replay.left_out:
            count = len(replay.left_out)
            opening.notes.append(
                say("{count} settings of the link do not fit here and were left out.", count=count)
            )
            last[self.notice] = notice_html(opening.notes)
        if last:
            yield last

    def _read(self, link: Link) -> Opening:
        """A link's prompt and settings, checked; what is wrong with it is noted."""
        prompt, missing = find_prompt(self.kept, link)
        settings: dict[Component, Any] = {}
        for name, value in link.settings.items():
            control = self.names.controls.get(name)
            try:
                if control is not None:
                    settings[control] = check_value(control, value)
            except (TypeError, ValueError):
                continue  # as if it were not there
        opening = Opening(prompt, settings, missing)
        if link.example is not None and find_example_named(link.example) is None:
            opening.notes.append(
                say("The example of this link is no longer here; the first one is shown instead.")
            )
        mark = playground.loading.checkpoint_mark.mark_checkpoint(self.app.host.engine)
        if link.checkpoint is not None and link.checkpoint != mark:
            opening.notes.append(
                say(
                    "This link was made with another checkpoint: {theirs}. Here runs {ours}, so "
                    "expect other numbers and other words.",
                    theirs=link.checkpoint[:100],
                    ours=mark,
                )
            )
        if missing:
            opening.notes.append(
                say(
                    "The picture or video of this link is no longer on the server, which keeps it "
                    "for {days:g} days after the link was last opened. All else is as it was: add "
                    "the picture again and press Run.",
                    days=self.kept.days,
                )
            )
        return opening

    def _select_tabs(self, link: Link, view: View) -> Values:
        """The rows of tabs, with the link's own selected."""
        chosen: Values = {}
        for name in link.tabs:
            tab = self.names.tabs.get(name)
            if tab is not None and tab.visible:
                row = self.names.rows[tab]
                view.select(row, tab)
                chosen[row] = gr.update(selected=tab.id)
        return chosen

    def _show_model(self) -> Values:
        """What the model's tab shows, which no run draws."""
        tab = self.events.model_tab
        return dict(zip(tab.outputs, tab.draw(self.app.host.engine), strict=True))


def joined(updates: Iterator[Values], at_once: Any = None) -> Iterator[Values]:
    """Fewer updates with the same content: Gradio goes through all of a page's outputs at each.

    Args:
        updates: what to send; an update may wait here until the next one comes.
        at_once: the output that never waits.
    """
    waiting: Values = {}
    sent = 0.0
    try:
        for update in updates:
            if waiting.keys() & update.keys():
                yield waiting
                waiting = {}
            waiting.update(update)
            if at_once in update or time.monotonic() - sent > UPDATE_S:
                yield waiting
                waiting, sent = {}, time.monotonic()
    except Exception:
        if waiting:  # what was restored stays, also where the run is refused
            yield waiting
        raise
    if waiting:
        yield waiting


def _link_place(run: Run | None, place: Place | None) -> tuple[int, ...]:
    if run is None or not run.has("preprocess") or (there := run.still_there(place)) is None:
        return ()
    if there.span is not None and there.patch is not None:
        return (there.span, *there.patch)
    return (there.index,)
