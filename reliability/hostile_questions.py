"""Hostile requests to the parts, which a page would never send."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

from components.parts.all_parts import Parts
from components.parts.part import SELECTION
from components.serving.web_guard import MAX_JSON_BYTES
from components.tabs import STAGE_TABS
from reliability.door import Reply
from reliability.page_client import PageClient
from reliability.served import Answer, Caller, Server

PARTS = Parts(STAGE_TABS)
PART = "decoder.attention"  # has controls of several kinds, an experiment and the pointer
NAN, INFINITY = float("nan"), float("inf")
STRANGE: tuple[Any, ...] = (
    NAN,
    -INFINITY,
    -1,
    0.5,
    1e308,
    10**30,
    True,
    "7",
    "",
    "a\ud800b",
    "\0",
    "/etc/passwd",
    "x" * 30_000,
    [],
    [1, [2, [3, [{}]]]],
    [{}] * 8,
    [{"temperature": NAN, "text": [1]}] * 2,
    [0] * 60_000,
    {},
    {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}},
    {"index": -1},
)
RAWS_EACH = 6  # strange values of each control, in turn
Send = Callable[[Caller], Answer]


def question_cases() -> Iterator[tuple[str, bool | None, Send]]:
    """``(name, accepted, send)`` of each; accepted None: either is correct."""
    yield from _question_cases()
    yield from _control_cases()
    yield from _selection_cases()
    yield from _finding_cases()
    yield from _body_cases()


def as_answer(reply: Reply) -> Answer:
    """A reply in the form of other answers; an error of a single output counts."""
    message = " ".join(reply.errors.values())
    problems = [fault for fault in reply.faults if not fault.startswith("blank")]
    ok = not reply.errors and reply.status == 200
    return Answer(ok and not problems, None, " ".join((message, *problems)), reply.seconds)


@lru_cache(maxsize=4)
def open_page(server: Server) -> PageClient:
    """A page of this server, showing the first example."""
    return PageClient(server)


def _question_cases() -> Iterator[tuple[str, bool | None, Send]]:
    """A request with one error."""
    changes: dict[str, tuple[bool | None, Any]] = {
        "no page": (False, {"page": None}),
        "a list for a page": (False, {"page": ["a"]}),
        "a long page": (None, {"page": "p" * 1_000_000}),
        "no number": (False, {"number": None}),
        "NaN for a number": (False, {"number": NAN}),
        "a huge number": (None, {"number": 10**4000, "page": "another"}),
        "a negative number": (None, {"number": -(10**4000), "page": "one more"}),
        "no part": (False, {"part": None}),
        "an unknown part": (False, {"part": "decoder.nothing"}),
        "a part of Python's": (False, {"part": "__class__"}),
        "a dict for a part": (False, {"part": {"a": 1}}),
        "no run": (False, {"run": None}),
        "an empty run": (False, {"run": ""}),
        "a run that is not there": (False, {"run": "0" * 22}),
        "a number for a run": (False, {"run": 0}),
        "a list for a run": (False, {"run": ["a"]}),
        "a long run": (False, {"run": "r" * 1_000_000}),
        "a surrogate for a run": (False, {"run": "\ud800"}),
        "an unknown output": (False, {"outputs": ["nothing"]}),
        "a private output": (False, {"outputs": ["__init__"]}),
        "another part's output": (False, {"outputs": ["lens"]}),
        "an experiment for an output": (False, {"outputs": ["neutral"]}),
        "a control for an output": (False, {"outputs": ["layer"]}),
        "numbers for outputs": (False, {"outputs": [1, 2]}),
        "lists for outputs": (False, {"outputs": [["matrix"]]}),
        "a text for outputs": (False, {"outputs": "matrix"}),
        "a dict for outputs": (False, {"outputs": {"matrix": 1}}),
        "the same output often": (None, {"outputs": ["matrix"] * 32}),
        "too many outputs": (False, {"outputs": ["matrix"] * 33}),
        "very many outputs": (False, {"outputs": ["matrix"] * 100_000}),
        "a list for values": (False, {"values": [1]}),
        "a number for values": (False, {"values": 7}),
        "values of nothing": (
            None,
            {"values": {"nothing": 1, "": {}, "a.b.c.d": [], SELECTION: 1}},
        ),
        "very many values": (None, {"values": {f"decoder.a.v{i}": i for i in range(50_000)}}),
        "a text for findings": (False, {"findings": "all"}),
        "controls not true": (None, {"controls": "yes"}),
        "more than there is": (None, {"nothing": {"a": [1]}, "__class__": "x"}),
    }
    for name, (accepted, change) in changes.items():

        def send(caller: Caller, change: dict[str, Any] = change) -> Answer:
            page = open_page(caller.server)
            return as_answer(page.door.ask(PART, page.run["key"], **change))

        yield f"question: {name}", accepted, send


def _control_cases() -> Iterator[tuple[str, bool | None, Send]]:
    """Strange values for every control of every part."""
    turn = 0
    for part in PARTS.by_key.values():
        for control in part.controls:
            for raw in (STRANGE[(turn + step) % len(STRANGE)] for step in range(RAWS_EACH)):
                full_name = f"{part.key}.{control.id}"

                def send(
                    caller: Caller, key: str = part.key, name: str = full_name, raw: Any = raw
                ) -> Answer:
                    return as_answer(open_page(caller.server).draw(key, values={name: raw}))

                yield f"control: {full_name} = {str(raw)[:40]!r}", None, send
            turn += 5


def _selection_cases() -> Iterator[tuple[str, bool | None, Send]]:
    """Selections that no run has."""
    selections: tuple[Any, ...] = (
        *STRANGE,
        {"index": 10**30},
        {"index": NAN},
        {"index": True},
        {"index": "1"},
        {"index": None},
        {"span": 0},
        {"span": 0, "row": -1, "column": 0},
        {"span": 99, "row": 0, "column": 0},
        {"span": 0, "row": 10**9, "column": 10**9},
        {"span": [], "row": {}, "column": "x"},
        {"span": 0, "row": 0.5, "column": NAN},
    )
    for selection in selections:

        def send(caller: Caller, selection: Any = selection) -> Answer:
            return as_answer(open_page(caller.server).draw(PART, selection=selection))

        yield f"selection: {str(selection)[:40]!r}", None, send


def _finding_cases() -> Iterator[tuple[str, bool | None, Send]]:
    """Keys that do not exist, or belong to something else: treated as no finding."""
    name = "sampling.side.columns"
    others = ("decoder.what-if.changed", "cache.requests.serve")
    for raw in (*STRANGE, "0" * 22, *others):

        def send(caller: Caller, raw: Any = raw) -> Answer:
            page = open_page(caller.server)
            key = page.all_findings()[raw] if raw in others else raw
            found = page.door.ask("sampling.side", page.run["key"], findings={name: key})
            without = page.door.ask("sampling.side", page.run["key"])
            answer = as_answer(found)
            if answer.ok and found.drawn.keys() != without.drawn.keys():
                return Answer(False, None, "", answer.seconds)
            return answer

        yield f"finding: {str(raw)[:40]!r}", True, send


def _body_cases() -> Iterator[tuple[str, bool | None, Send]]:
    """Other functions, other components, and values that are not requests."""
    targets: dict[str, dict[str, Any]] = {
        "an unknown function": {"name": "nothing"},
        "a method": {"name": "get_config"},
        "a function of Python's": {"name": "__init__"},
        "a number for a function": {"name": 7},
        "no function": {"name": ""},
        "a component without one": {"component": 1},
        "an unknown component": {"component": 10**9},
        "a negative component": {"component": -1},
        "a huge component": {"component": 10**30},
        "a list for a component": {"component": [1]},
        "a text for a component": {"component": "x"},
        "a dict for a session": {"session_hash": {}},
        "no session": {"session_hash": None},
    }
    for name, target in targets.items():

        def send(caller: Caller, target: dict[str, Any] = target) -> Answer:
            page = open_page(caller.server)
            given = {"component": page.parts[PART].component, **target}
            return as_answer(page.door.send({"run": page.run["key"]}, **given))

        yield f"door: {name}", False, send
    bodies: dict[str, tuple[bytes, str]] = {
        "nothing": (b"", "application/json"),
        "no JSON": (b"{", "application/json"),
        "no text": (b"\xff\xfe\x00", "application/json"),
        "a list": (b"[]", "application/json"),
        "deep": (b'{"data":' + b"[" * 200_000, "application/json"),
        "deep and closed": (_deep(900), "application/json"),
        "digits": (b'{"data":' + b"9" * 1_000_000 + b"}", "application/json"),
        "larger than allowed": (b" " * (MAX_JSON_BYTES + 1), "application/json"),
        "a form": (b"data=1&component_id=38", "application/x-www-form-urlencoded"),
        "a broken form": (b"--x\r\n", "multipart/form-data; boundary=x"),
        "a form without a boundary": (b"--x\r\n", "multipart/form-data"),
        "a form with a file": (_form(), "multipart/form-data; boundary=x"),
        "another kind": (b"<x/>", "application/xml"),
    }
    for name, (content, kind) in bodies.items():

        def post(caller: Caller, content: bytes = content, kind: str = kind) -> Answer:
            return as_answer(open_page(caller.server).door.post(content, kind))

        yield f"door: {name}", False, post


def _deep(depth: int) -> bytes:
    question = json.dumps({"component_id": 1, "fn_name": "draw", "session_hash": "s", "data": 0})
    return question.replace(" 0}", "[" * depth + "]" * depth + "}").encode()


def _form() -> bytes:
    fields = {"component_id": "38", "session_hash": "s", "fn_name": "draw"}
    parts = [f'form-data; name="{name}"\r\n\r\n{value}' for name, value in fields.items()]
    parts.append('form-data; name="a"; filename="../../a.png"\r\n\r\nnothing')
    return "".join(f"--x\r\nContent-Disposition: {each}\r\n" for each in parts).encode() + b"--x--"
