"""Request drawings like a page's parts, through their server function, without a browser."""

from __future__ import annotations

import itertools
import json
import re
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from reliability.served import LEAKS, Server

ROUTE = "/gradio_api/component_server"
WAIT_S = 300.0  # a busy machine is slow
MISTAKE = "Something went wrong on the server"  # an exception, whatever was requested
MAX_OUTPUTS = 32  # per request; more outputs take several requests


@dataclass(frozen=True)
class PartSpec:
    """A part of the home page, as its script knows it."""

    component: int
    key: str
    stage: str
    requires: str  # the stage that must have run; empty for none
    controls: tuple[str, ...]  # full names
    outputs: Mapping[str, Mapping[str, Any]]
    experiments: Mapping[str, Mapping[str, Any]]

    @property
    def outputs_of(self) -> Mapping[str, tuple[str, ...]]:
        """The outputs that need each experiment's finding."""
        return {
            name: tuple(key for key, out in self.outputs.items() if each["finding"] in out["needs"])
            for name, each in self.experiments.items()
        }


def read_part(component: int, spec: Mapping[str, Any]) -> PartSpec:
    """One part of the stage that this component shows."""
    return PartSpec(
        component,
        spec["key"],
        spec["stage"],
        spec["requires"],
        tuple(f"{spec['key']}.{control}" for control in spec["controls"]),
        {each["name"]: each for each in spec["outputs"]},
        {each["name"]: each for each in spec["experiments"]},
    )


def read_parts(config: Mapping[str, Any]) -> dict[str, PartSpec]:
    """The home page's parts, by key, in the page's order."""
    home = set(config["page"][""]["components"]) if config.get("page") else None
    parts = {}
    for component in config["components"]:
        props = component["props"]
        is_stage = "pg-stage-view" in (props.get("elem_classes") or ())
        if not is_stage or (home is not None and component["id"] not in home):
            continue
        script = props["js_on_load"]
        start = script.index("upload }, ") + len("upload }, ")
        stage, _ = json.JSONDecoder().raw_decode(script, start)
        for spec in (stage["head"], *stage["parts"], stage["last"]):
            if spec is not None:
                parts[spec["key"]] = read_part(component["id"], spec)
    return parts


@dataclass(frozen=True)
class Reply:
    """The answer to a request."""

    status: int
    text: str
    seconds: float

    @property
    def content(self) -> dict[str, Any]:
        """The answer; empty if it is not one of the app's answers."""
        try:
            found = json.loads(self.text)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def drawn(self) -> dict[str, dict[str, Any]]:
        """The drawings, by the output's name."""
        found: dict[str, dict[str, Any]] = self.content.get("outputs", {})
        return found

    @property
    def errors(self) -> dict[str, str]:
        """Errors of outputs by name; an error of the whole request is under ``""``."""
        content = self.content
        found = {name: each["error"] for name, each in self.drawn.items() if "error" in each}
        whole = content.get("error") or content.get("detail")
        return found | ({"": str(whole)} if whole is not None else {})

    @property
    def refused(self) -> bool:
        """Whether nothing was drawn."""
        return self.status != 200 or "" in self.errors

    @property
    def waits(self) -> bool:
        """Whether it was overtaken, or the server was busy."""
        return "busy" in self.content or "overtaken" in self.content

    @property
    def faults(self) -> list[str]:
        """What is wrong with it; empty if nothing."""
        found = []
        if self.status >= 500 or (self.status == 200 and not self.content):
            found.append(f"status {self.status}: {self.text[:80]}")
        if self.refused and not self.errors:
            found.append(f"status {self.status} without words: {self.text[:80]}")
        for name, words in self.errors.items():
            if len(words.strip()) < 10:
                found.append(f"blank error of {name or 'all'}")
            if MISTAKE in words:
                found.append(f"a mistake of the program in {name or 'all'}: {words}")
        # Code contains file names of its own: transformers' and the reader's.
        shown = {name: each for name, each in self.drawn.items() if "code" not in each}
        words = self.text if not self.drawn else json.dumps(shown)
        if leak := LEAKS.search(words):
            near = words[max(0, leak.start() - 40) : leak.end() + 40]
            found.append(f"shows a trace or a path: {near}")
        return found


@dataclass
class Door:
    """The requests of one page."""

    server: Server
    parts: Mapping[str, PartSpec]
    session: str = field(default_factory=lambda: secrets.token_hex(5))
    page: str = field(default_factory=lambda: secrets.token_hex(8))  # like the id in run.js

    def __post_init__(self) -> None:
        self.http = httpx.Client(base_url=self.server.address, timeout=WAIT_S)
        self._numbers = itertools.count(1)

    def ask(
        self, part: str, run: Any, outputs: Iterable[str] | None = None, /, **more: Any
    ) -> Reply:
        """Request drawings and the specs of controls.

        Args:
            part: its key.
            run: the run's key.
            outputs: names of outputs; by default all.
            more: ``values``, ``findings`` and ``selection``.
        """
        names = list(self.parts[part].outputs) if outputs is None else list(outputs)
        question = {
            "page": self.page,
            "number": next(self._numbers),
            "part": part,
            "run": run,
            "outputs": names,
            "controls": True,
        }
        return self.send(question | more, self.parts[part].component)

    def send(self, question: Any, component: Any, name: Any = "draw", **more: Any) -> Reply:
        """Send any JSON, including NaN, to any component's function."""
        body = {"data": question, "component_id": component, "fn_name": name}
        return self.post(json.dumps({**body, "session_hash": self.session, **more}).encode())

    def post(self, content: bytes, kind: str = "application/json") -> Reply:
        """Send any bytes."""
        start = time.perf_counter()
        reply = self.http.post(ROUTE, content=content, headers={"content-type": kind})
        return Reply(reply.status_code, reply.text, time.perf_counter() - start)

    def draw_all(self, run: str, **more: Any) -> Iterator[tuple[str, Reply]]:
        """Draw every part of the page, one after the other."""
        for key in self.parts:
            yield key, self.ask(key, run, **more)

    def close(self) -> None:
        """Close the connections."""
        self.http.close()


def same_drawings(first: Reply, second: Reply) -> bool:
    """Whether both are the same, apart from measured times."""
    return _without_times(first) == _without_times(second)


TIMES = re.compile(r"\d+(\.\d+)?\s*(ms|s)\b")


def _without_times(reply: Reply) -> dict[str, str]:
    return {name: TIMES.sub("", json.dumps(each)) for name, each in reply.drawn.items()}
