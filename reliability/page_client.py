"""A page without a browser: for the server, it looks like Gradio's front end."""

from __future__ import annotations

import json
import secrets
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx

from reliability.door import WAIT_S, Door, Reply, read_parts
from reliability.served import Server

JSON = {"content-type": "application/json"}


@dataclass
class Pressed:
    """One running event: a button that was pressed."""

    event_id: str
    outputs: list[int]
    done: threading.Event = field(default_factory=threading.Event)
    ok: bool = False
    message: str = ""


class Stream:
    """One streamed answer, read in a thread; it can be cut off at any moment."""

    def __init__(self, address: str, path: str) -> None:
        self.http = httpx.Client(base_url=address, timeout=WAIT_S)
        self._request = self.http.build_request("GET", path)
        self._socket: socket.socket | None = None
        self._opened = threading.Event()

    def read(self, take: Any) -> None:
        """Call ``take`` with every line until it returns True or the connection ends."""
        try:
            reply = self.http.send(self._request, stream=True)
            self._socket = reply.extensions["network_stream"].get_extra_info("socket")
            self._opened.set()
            for line in reply.iter_lines():
                if take(line):
                    break
        except (httpx.HTTPError, OSError):
            pass
        finally:
            self._opened.set()
            with suppress(httpx.HTTPError, OSError):
                self.http.close()

    def start(self, take: Any) -> None:
        """Read in a separate thread."""
        threading.Thread(target=self.read, args=(take,), daemon=True).start()
        self._opened.wait(WAIT_S)

    def cut(self) -> None:
        """Lose the connection, as a phone does."""
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)


class PageClient:
    """One open page."""

    def __init__(self, server: Server, config: dict[str, Any] | None = None) -> None:
        self.server = server
        self.session = secrets.token_hex(5)
        self.http = httpx.Client(base_url=server.address, timeout=WAIT_S)
        self.config = config or self.http.get("/config").json()
        self.events: dict[int, dict[str, Any]] = {
            event["id"]: event for event in self.config["dependencies"]
        }
        self.values = {
            component["id"]: component["props"].get("value")
            for component in self.config["components"]
        }
        self.parts = read_parts(self.config)
        self.door = Door(server, self.parts, self.session)
        self.findings: dict[str, str] = {}  # keys by full name, as in run.js
        self._pressed: dict[str, Pressed] = {}
        self._streams: list[Stream] = []
        self._lock = threading.Lock()
        self._listening = False
        self._open("/gradio_api/heartbeat/" + self.session, lambda _line: False)
        self.press(self.find_event("load"))

    def _open(self, path: str, take: Any) -> None:
        stream = Stream(self.server.address, path)
        self._streams.append(stream)
        stream.start(take)

    def find_event(self, name: str) -> int:
        """The home page's event of this name."""
        return next(
            index
            for index, event in self.events.items()
            if any(target[1] == name for target in event["targets"])
        )

    def find(self, elem_id: str, event: str = "click") -> int:
        """The event of the home page's component with this id."""
        target = [self._find_component(elem_id), event]
        return next(index for index, each in self.events.items() if target in each["targets"])

    def _find_component(self, elem_id: str) -> int:
        (component,) = (
            int(each["id"])
            for each in self.config["components"]
            if each["props"].get("elem_id") == elem_id and each["id"] in self.home
        )
        return component

    @property
    def home(self) -> set[int]:
        """The components of the first page; each language has its own page."""
        pages = self.config.get("page")
        return set(pages[""]["components"]) if pages else set(self.values)

    def find_run_button(self, stage: str) -> int:
        """The event of *Run this stage*."""
        part = next(each for each in self.parts.values() if each.stage == stage)
        pressed = [part.component, "run_stage"]
        return next(index for index, each in self.events.items() if pressed in each["targets"])

    def label(self, index: int) -> str:
        """The visible label of an event's component."""
        targets = {target[0] for target in self.events[index]["targets"]}
        for component in self.config["components"]:
            if component["id"] in targets:
                props = component["props"]
                return str(props.get("label") or props.get("value") or component["type"])
        return f"event {index}"

    def set_text(self, text: str) -> None:
        """Set the question."""
        self.values[self._find_component("input-text")] = text

    def set_images(self, images: list[dict[str, Any]]) -> None:
        """Put uploaded images into the gallery."""
        self.values[self._find_component("input-images")] = images

    def set_video(self, video: dict[str, Any] | None) -> None:
        """Set the uploaded video."""
        for component in self.config["components"]:
            if component["type"] == "video":
                self.values[component["id"]] = video

    # ---------------------------------------------------------------------------- parts

    @property
    def run(self) -> dict[str, Any]:
        """The page's run as in its script: ``key``, ``stages``, ``findings``."""
        value = self.values.get(self._find_component("run-view"))
        found: dict[str, Any] = json.loads(value) if value else {"key": None, "stages": []}
        return found

    def state(self, **more: Any) -> dict[str, Any]:
        """The page's state for links, files and the report."""
        return {"run": self.run["key"], "findings": self.all_findings(), "values": {}} | more

    def all_findings(self) -> dict[str, str]:
        """Keys of the findings of the page's run, by full name."""
        return {**self.run.get("findings", {}), **self.findings}

    def draw(self, part: str, /, **more: Any) -> Reply:
        """Request a part's drawings, as when it becomes visible."""
        findings = {"findings": self.all_findings()} | more
        return self.door.ask(part, self.run["key"], **findings)

    def start_experiment(self, part: str, name: str, /, **more: Any) -> Pressed:
        """Press an experiment's button; ``more``: ``values`` and ``selection``."""
        data = {"experiment": name, "run": self.run["key"], "part": part, "outputs": []}
        data |= {"values": {}, "findings": self.all_findings()} | more
        return self.start(self.find_event("experiment"), data)

    def experiment(self, part: str, name: str, /, **more: Any) -> dict[str, Any]:
        """Run an experiment to its end; returns its last answer."""
        pressed = self.start_experiment(part, name, **more)
        if not pressed.done.wait(WAIT_S):
            raise TimeoutError(f"{part}.{name} has not ended.")
        if not pressed.ok:
            return {"error": pressed.message}
        answer: dict[str, Any] = json.loads(self.values[pressed.outputs[0]])
        if found := answer.get("finding"):
            self.findings[found["name"]] = found["key"]
        return answer

    # --------------------------------------------------------------------------- events

    def start(self, index: int, event_data: Any = None) -> Pressed:
        """Press a button; the answer is read in the background.

        Args:
            index: of the event.
            event_data: data from the browser, such as the selection.
        """
        event = self.events[index]
        body = {
            "session_hash": self.session,
            "fn_index": index,
            "trigger_id": event["targets"][0][0] if event["targets"] else None,
            "event_data": event_data,
            "data": [self.values.get(each) for each in event["inputs"]],
        }
        with self._lock:
            content = json.dumps(body).encode()  # including NaN, which httpx would refuse
            reply = self.http.post("/gradio_api/queue/join", content=content, headers=JSON)
            if reply.status_code != 200:
                pressed = Pressed("", [])
                pressed.message = reply.text
                pressed.done.set()
                return pressed
            pressed = Pressed(reply.json()["event_id"], event["outputs"])
            self._pressed[pressed.event_id] = pressed
            listening, self._listening = self._listening, True
        if not listening:
            self._open(self._data_path, self._take)
        return pressed

    @property
    def _data_path(self) -> str:
        return f"/gradio_api/queue/data?session_hash={self.session}"

    def press(self, index: int, event_data: Any = None) -> Pressed:
        """Press a button and wait for the end."""
        pressed = self.start(index, event_data)
        if not pressed.done.wait(WAIT_S):
            raise TimeoutError(f"Event {index} has not ended.")
        return pressed

    def stop(self) -> float:
        """Press Stop; returns the time on the monotonic clock that all processes share."""
        index = self.find("stop")
        when = time.monotonic()
        body = {"session_hash": self.session, "fn_index": index, "data": []}
        self.http.post("/gradio_api/run/predict", json=body).raise_for_status()
        return when

    def vanish(self) -> float:
        """Drop every connection; returns the time."""
        when = time.monotonic()
        for stream in self._streams:
            stream.cut()
        self.http.close()
        self.door.close()
        return when

    def _take(self, line: str) -> bool:
        if not line.startswith("data: "):
            return False
        message = json.loads(line.removeprefix("data: "))
        kind = message.get("msg")
        if kind == "close_stream":
            with self._lock:
                # An event may have joined just after Gradio decided to close.
                self._listening = any(not each.done.is_set() for each in self._pressed.values())
            if self._listening:
                self._open(self._data_path, self._take)
            return True
        pressed = self._pressed.get(message.get("event_id") or "")
        if pressed is None:
            return False
        output = message.get("output") or {}
        if kind in ("process_generating", "process_completed") and message.get("success"):
            # A completed message has full values, an intermediate one has edits.
            self._keep(pressed.outputs, output.get("data") or [], kind == "process_completed")
        if kind == "process_completed":
            pressed.ok = bool(message.get("success"))
            pressed.message = str(output.get("error") or "")
            pressed.done.set()
        return False

    def _keep(self, outputs: list[int], data: list[Any], is_whole: bool) -> None:
        """Store new values: controls send them with the next event."""
        for component, value in zip(outputs, data, strict=False):
            if isinstance(value, dict) and value.get("__type__") == "update":
                if "value" in value:
                    self.values[component] = value["value"]
            elif is_whole or not isinstance(value, (dict, list)):
                self.values[component] = value
