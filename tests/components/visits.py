"""A site around an engine that is there already, and a visitor of its page, for the tests."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from components.compute.engine_host import EngineHost, HostStatus
from components.parts.all_parts import Parts
from components.parts.drawing import Drawing
from components.parts.findings import Findings
from components.parts.part import StageParts
from components.parts.run_events import PROMPT_NAMES, Changes, RunEvents
from components.prompt.examples import load_examples
from components.tabs import STAGE_TABS
from playground.engine import Engine
from playground.pipeline import Run
from playground.run_store import RunStore


def ready_host(engine: Engine) -> EngineHost:
    """A host whose engine has been loaded."""
    host = EngineHost("tiny")
    host._engine = engine
    host._status = HostStatus("ready", "Ready")
    host._settled.set()
    return host


def make_events(engine: Engine, stages: tuple[StageParts, ...] = STAGE_TABS) -> RunEvents:
    """The run events of a site with these tabs; its first example has not run."""
    return RunEvents(ready_host(engine), Drawing(Parts(stages), RunStore(), Findings()))


def first_prompt(**changed: Any) -> dict[str, Any]:
    """The input panel's values for the first example, with some of them changed."""
    first = load_examples()[0]
    given: dict[str, Any] = {name: getattr(first, name, None) for name in PROMPT_NAMES}
    return given | {"images": list(first.images)} | changed


@dataclass(eq=False)
class Visitor:
    """What a visitor's page holds: the input panel, and what run.js and pointer.js know."""

    prompt: dict[str, Any] = field(default_factory=first_prompt)
    values: dict[str, Any] = field(default_factory=dict)  # controls that were moved
    tabs: list[str] = field(default_factory=list)
    selection: Any = None  # as the browser reports it
    run_key: str | None = None
    notice: str = ""
    status: str = ""
    sent: list[dict[str, Any]] = field(default_factory=list)  # what run.js was told, in order

    @property
    def state(self) -> dict[str, Any]:
        """What the browser sends of the page."""
        return {
            "run": self.run_key,
            "selection": self.selection,
            "values": self.values,
            "findings": {},
            "tabs": self.tabs,
        }

    @property
    def panel(self) -> tuple[Any, ...]:
        """The input panel's values in their order."""
        return tuple(self.prompt[name] for name in PROMPT_NAMES)

    def take(self, updates: Iterable[Changes]) -> None:
        """What a page does with an event's changes."""
        for changes in updates:
            self.run_key = changes.get("run_key", self.run_key)
            self.notice = changes.get("notice", self.notice)
            self.status = changes.get("status", self.status)
            if "prompt" in changes:
                self.prompt = dict(zip(PROMPT_NAMES, changes["prompt"], strict=True))
            if "pointer" in changes:
                self.selection = json.loads(changes["pointer"]).get("selection")
            if "run" in changes:
                self._take_run(json.loads(changes["run"]))

    def _take_run(self, sent: dict[str, Any]) -> None:
        self.sent.append(sent)
        restored = sent.get("restored")
        if restored is not None:
            self.values, self.tabs = dict(restored["values"]), list(restored["tabs"])

    def run(self, events: RunEvents) -> Run:
        """The page's run.

        Args:
            events: of the site.
        """
        return events.drawing.runs.get(self.run_key)
