"""The app in a separate process, and a client on the network."""

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
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).resolve().parents[1]
START_S = 900.0  # a busy machine imports torch slowly
ENDPOINTS = (
    "preprocess",
    "vision_tower",
    "merge",
    "decoder",
    "sampling",
    "cache_reuse",
    "grounding",
)

# What no visitor may ever see: tracebacks, and paths on the server.
LEAKS = re.compile(r"Traceback|File \"|site-packages|\.py\b|/(?:tmp|home|root|srv|work)/")


@dataclass(frozen=True)
class Server:
    """A running app."""

    address: str  # without a slash at its end
    process: subprocess.Popen[bytes]
    folder: Path  # of its uploads and its log

    @property
    def pid(self) -> int:
        """The process id."""
        return self.process.pid

    @property
    def log(self) -> Path:
        """Everything that it has printed."""
        return self.folder / "log"

    @property
    def memory_bytes(self) -> int:
        """Resident memory of the process."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * resource.getpagesize()

    @property
    def cpu_s(self) -> float:
        """Processor time of the process so far, in seconds."""
        # After the name, which may contain anything and ends with the last bracket.
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def num_files(self) -> int:
        """Open files and sockets."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def command(self, name: str, **arguments: Any) -> Any:
        """Ask the observer inside a watched app; see ``watched_app.Observer``."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        line = json.dumps({"do": name, **arguments}).encode() + b"\n"
        with _COMMANDS:
            self.process.stdin.write(line)
            self.process.stdin.flush()
            return json.loads(self.process.stdout.readline())


_COMMANDS = threading.Lock()


@contextmanager
def running_app(*arguments: str, watched: bool = False) -> Iterator[Server]:
    """Start the app on a free port and wait until its checkpoint answers.

    Args:
        arguments: of ``app.py``.
        watched: run with an observer, for ``Server.command``.
    """
    with tempfile.TemporaryDirectory() as folder:
        server = start_app(Path(folder), *arguments, watched=watched)
        try:
            wait_until_ready(server)
            yield server
        finally:
            stop_app(server)


def start_app(folder: Path, *arguments: str, watched: bool = False) -> Server:
    """Start the app with its files in this folder; call ``wait_until_ready`` next."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = ["-m", "reliability.watched_app"] if watched else ["app.py"]
    files, scratch = folder / "files", folder / "scratch"
    files.mkdir(exist_ok=True)
    scratch.mkdir(exist_ok=True)
    with (folder / "log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, *program, "--port", str(port), *arguments],
            cwd=ROOT,
            stdin=subprocess.PIPE if watched else subprocess.DEVNULL,
            stdout=subprocess.PIPE if watched else log,
            stderr=log,
            env=os.environ | {"GRADIO_TEMP_DIR": str(files), "TMPDIR": str(scratch)},
        )
    return Server(f"http://127.0.0.1:{port}", process, folder)


def stop_app(server: Server) -> None:
    """Stop it: first SIGTERM, then SIGKILL."""
    process = server.process
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def wait_until_ready(server: Server) -> None:
    """Wait until the checkpoint answers.

    Raises:
        RuntimeError: the app has exited.
        TimeoutError: it takes longer than ``START_S``.
    """
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        if server.process.poll() is not None:
            raise RuntimeError(f"The app ended:\n{server.log.read_text()}")
        with suppress(httpx.TransportError):
            if httpx.get(f"{server.address}/readyz", timeout=60).status_code == 200:
                return
        time.sleep(0.5)
    raise TimeoutError(f"No answer after {START_S:.0f} s:\n{server.log.read_text()}")


@dataclass(frozen=True)
class Answer:
    """The outcome of a call."""

    ok: bool
    data: Any  # the endpoint's answer, or None
    message: str  # the error message for the visitor
    seconds: float

    @property
    def leaks(self) -> bool:
        """Whether it contains a traceback or a path on the server."""
        return LEAKS.search(f"{self.message} {self.data}") is not None

    @property
    def blank(self) -> bool:
        """Whether it failed without a message."""
        return not self.ok and len(self.message.strip()) < 10


@dataclass
class Caller:
    """One client: its own session and plain HTTP, so that it can send what no library would."""

    server: Server
    session: str = field(default_factory=lambda: secrets.token_hex(5))

    def __post_init__(self) -> None:
        self.http = httpx.Client(base_url=self.server.address, timeout=300)

    def upload(self, name: str, content: bytes) -> dict[str, Any] | Answer:
        """Upload a file; returns its data for ``call``, or the refusal."""
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
        """Call one of the endpoints with named arguments."""
        return self.post(endpoint, arguments)

    def post(self, endpoint: str, body: Any) -> Answer:
        """Call an endpoint with any JSON as arguments."""
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
