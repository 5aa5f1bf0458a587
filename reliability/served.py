"""The app as a process of its own, and what a client on the network can do to it."""

from __future__ import annotations

import json
import os
import re
import resource
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).resolve().parents[1]
START_S = 300.0  # a busy machine imports torch slowly
ENDPOINTS = ("preprocess", "vision_tower", "merge", "decoder", "sampling", "cache_reuse")

# What no visitor may ever read: traces, and where things lie on the server.
LEAKS = re.compile(r"Traceback|File \"|site-packages|\.py\b|/(?:tmp|home|root|srv|work)/")


@dataclass(frozen=True)
class Server:
    """A running app."""

    address: str  # without a slash at its end
    pid: int
    log: Path

    @property
    def memory_bytes(self) -> int:
        """Resident memory of the process."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * resource.getpagesize()

    @property
    def num_files(self) -> int:
        """Open files and sockets."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))


@contextmanager
def running_app(*arguments: str) -> Iterator[Server]:
    """Start ``app.py`` on a free port and wait until its checkpoint answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "app.py", "--port", str(port), *arguments],
                cwd=ROOT,
                stdout=out,
                stderr=subprocess.STDOUT,
                env=os.environ | {"GRADIO_TEMP_DIR": folder},
            )
            server = Server(f"http://127.0.0.1:{port}", process.pid, log)
            try:
                _wait_until_ready(server, process)
                yield server
            finally:
                process.terminate()
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


def _wait_until_ready(server: Server, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        if process.poll() is not None:
            raise RuntimeError(f"The app ended:\n{server.log.read_text()}")
        try:
            answer = Caller(server).call("preprocess", image=None, text="Hello")
        except httpx.TransportError:
            answer = None
        if answer is not None and answer.ok:
            return
        time.sleep(0.5)
    raise TimeoutError(f"No answer after {START_S:.0f} s:\n{server.log.read_text()}")


@dataclass(frozen=True)
class Answer:
    """What a call came to."""

    ok: bool
    data: Any  # the endpoint's answer, or None
    message: str  # the error's text, as a visitor reads it
    seconds: float

    @property
    def leaks(self) -> bool:
        """Whether it shows a trace or a path of the server."""
        return LEAKS.search(f"{self.message} {self.data}") is not None

    @property
    def blank(self) -> bool:
        """Whether it failed without a word on why."""
        return not self.ok and len(self.message.strip()) < 10


@dataclass
class Caller:
    """One client: its own session, plain HTTP, so that it can send what no library would."""

    server: Server
    session: str = field(default_factory=lambda: secrets.token_hex(5))

    def __post_init__(self) -> None:
        self.http = httpx.Client(base_url=self.server.address, timeout=120)

    def upload(self, name: str, content: bytes) -> dict[str, Any] | Answer:
        """A file's data for ``call``, or the refusal."""
        start = time.perf_counter()
        reply = self.http.post("/gradio_api/upload", files={"files": (name, content)})
        if reply.status_code != 200:
            return Answer(False, None, reply.text, time.perf_counter() - start)
        return {
            "path": reply.json()[0],
            "meta": {"_type": "gradio.FileData"},
            "orig_name": name,
        }

    def call(self, endpoint: str, **arguments: Any) -> Answer:
        """Call one of the six endpoints with named arguments."""
        return self.post(endpoint, arguments)

    def post(self, endpoint: str, body: Any) -> Answer:
        """The same with any JSON for the arguments."""
        start = time.perf_counter()
        content = json.dumps(body, ensure_ascii=True).encode()
        reply = self.http.post(
            f"/gradio_api/call/v2/{endpoint}",
            content=content,
            headers={"content-type": "application/json"},
        )
        if reply.status_code != 200:
            return Answer(False, None, reply.text, time.perf_counter() - start)
        event = reply.json().get("event_id", "")
        ok, data, message = self._read(endpoint, event)
        return Answer(ok, data, message, time.perf_counter() - start)

    def _read(self, endpoint: str, event: str) -> tuple[bool, Any, str]:
        kind = ""
        path = f"/gradio_api/call/{endpoint}/{event}"
        with self.http.stream("GET", path) as reply:
            for line in reply.iter_lines():
                if line.startswith("event: "):
                    kind = line.removeprefix("event: ")
                elif line.startswith("data: ") and kind in ("complete", "error"):
                    data = json.loads(line.removeprefix("data: "))
                    if kind == "complete":
                        return True, data[0] if isinstance(data, list) and data else data, ""
                    return False, None, _error_text(data)
        return False, None, ""

    def close(self) -> None:
        """Close the connections."""
        self.http.close()


def _error_text(data: Any) -> str:
    if isinstance(data, dict):
        return str(data.get("error") or data.get("detail") or "")
    return "" if data is None else str(data)
