"""Make and open links to what a page shows.

A link contains the prompt, the selected token or patch, the selected tabs, and every control that
was moved, by the part's key and the control's id. The browser knows all of this; the server adds
the prompt's files. Links are untrusted: controls check their values where they are used.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import playground
from components.parts.all_parts import Parts
from components.parts.run_events import PROMPT_NAMES, Changes, RunEvents
from components.parts.run_view import write_run
from components.pointer.selection import read_selection
from components.pointer.view import write_layout
from components.prompt.reader import read_prompt
from components.share.kept_files import KeptFiles
from components.share.link import Link, read_link, write_link
from components.share.link_prompt import find_example_named, find_prompt, link_prompt
from components.share.link_words import notice_html
from components.views.status_bar import status_html
from playground.errors import InputError
from playground.language import say
from playground.pipeline import STAGES, Run
from playground.pointer import Selection
from playground.records import Progress


@dataclass(frozen=True, slots=True, eq=False)
class Links:
    """The links of one site."""

    events: RunEvents
    kept: KeptFiles = field(default_factory=KeptFiles)

    # -------------------------------------------------------------------------------- making

    def make(self, state: Mapping[str, Any], prompt: dict[str, Any]) -> tuple[str, bool]:
        """Make a link to what a page shows.

        Args:
            state: the page's state as run.js sends it.
            prompt: the input panel's values, by ``PROMPT_NAMES``.

        Returns:
            the link's query string, and whether files are kept for it.

        Raises:
            InputError: the prompt cannot be run, or the link would be too long.
        """
        engine = self.events.host.engine
        read_prompt(engine, **prompt)
        parts = self.events.drawing.parts
        run = self.events.drawing.runs.peek(_text(state.get("run")))
        link = Link(
            **link_prompt(self.kept, prompt),
            tabs=_later_tabs(parts, state.get("tabs")),
            selection=_link_selection(run, state.get("selection")),
            checkpoint=playground.loading.checkpoint_mark.mark_checkpoint(engine),
            settings=known_settings(parts, state.get("values")),
        )
        return write_link(link), bool(link.images) or link.video is not None

    # ------------------------------------------------------------------------------- opening

    @staticmethod
    def read_address(query: Any) -> str | None:
        """The link in a page's URL, in the form that ``open`` takes, or None."""
        given = {str(name): str(value) for name, value in dict(query or {}).items()}
        try:
            link = read_link(given)
        except InputError as error:
            return json.dumps({"problem": str(error)})
        return None if link is None else json.dumps(given)

    def open(self, asked: str, progress: Progress) -> Iterator[Changes]:
        """Restore a link, run its prompt once, and mark its selected token or patch.

        In addition to the changes of ``RunEvents.run``, it sets "prompt" (the panel's values, in
        order) and "notice".

        Args:
            asked: see ``read_address``.
            progress: called while the model runs; stops the run by raising ``StageCancelled``.
        """
        query = json.loads(asked)
        link = read_link(query) or Link()
        prompt, missing = find_prompt(self.kept, link)
        notes = self._notes(link, missing)
        if "problem" in query:
            notes.append(query["problem"])
        if not playground.preprocess.chat_template.knows_thinking(self.events.host.engine):
            prompt["thinking"] = ""  # the page has no control for it
        values = [prompt[name] for name in PROMPT_NAMES]
        yield {
            "prompt": values,
            "notice": notice_html(notes),
            "status": status_html(self.events.host.engine),
        }
        parts = self.events.drawing.parts
        known = known_settings(parts, link.settings)
        unknown = len(link.settings) - len(known)
        restored = {"values": known, "tabs": list(link.tabs), "unknown": unknown}
        if missing:  # everything except the numbers
            yield {"run": write_run(None, (), restored=restored)}
            return
        run_key: str | None = None
        for changes in self.events.run(STAGES, None, values, progress, restored=restored):
            run_key = changes.get("run_key", run_key)
            if "pointer" in changes and (run := self.events.drawing.runs.peek(run_key)):
                changes["pointer"] = write_layout(run, link.selection)
            yield changes

    def _notes(self, link: Link, missing: int) -> list[str]:
        """Notices about a link."""
        notes = []
        if link.example is not None and find_example_named(link.example) is None:
            notes.append(
                say(
                    "The example in this link no longer exists; the first example is shown instead."
                )
            )
        mark = playground.loading.checkpoint_mark.mark_checkpoint(self.events.host.engine)
        if link.checkpoint is not None and link.checkpoint != mark:
            notes.append(
                say(
                    "This link was made with another checkpoint, {theirs}. This page runs "
                    "{ours}, so its numbers and answers will differ.",
                    theirs=link.checkpoint[:100],
                    ours=mark,
                )
            )
        if missing:
            notes.append(
                say(
                    "The image or video in this link is no longer on the server, which keeps it "
                    "for {days:g} days after the link was last opened. Everything else was "
                    "restored: add the image again and press Run.",
                    days=self.kept.days,
                )
            )
        return notes


def known_settings(parts: Parts, values: Any) -> dict[str, Any]:
    """The raw values of the known controls that links carry, by full name."""
    if not isinstance(values, Mapping):
        return {}
    controls = {name: parts.control(name) for name in values if isinstance(name, str)}
    return {
        name: values[name]
        for name, control in controls.items()
        if control is not None and control.carried
    }


def _later_tabs(parts: Parts, selected: Any) -> tuple[str, ...]:
    """The selected tabs that are not the first of their row."""
    if not isinstance(selected, list):
        return ()
    stages = [stage.stage for stage in parts.stages][1:]
    keys = [part.key for stage in parts.stages for part in stage.parts[1:]]
    return tuple(name for name in (*stages, *keys) if name in selected)


def _link_selection(run: Run | None, sent: Any) -> tuple[int, ...]:
    """A selection in the form of a link: an index, or span, row and column."""
    if run is None or not run.has("preprocess"):
        return ()
    if isinstance(sent, Mapping) and type(sent.get("answer")) is int:  # of an answer after the run
        return (run.inputs.num_tokens + max(0, sent["answer"]),)
    selection: Selection | None = read_selection(run, sent)
    if selection is None:
        return ()
    if selection.span is not None and selection.patch is not None:
        return (selection.span, *selection.patch)
    return (selection.index,)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
