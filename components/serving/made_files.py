"""Files that the server made for a visitor, kept under a secret name for an hour.

A browser finds one below ``FOLDER`` (clicks.js builds the URL from ``data-file``); without the
name, nobody can. The oldest files are deleted first when all together take too much space.
"""

from __future__ import annotations

import atexit
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route

FOLDER = "/made-files"  # in URLs
KEPT_S = 3600
KEPT_BYTES = 8 << 30  # over all visitors; a run of a 2B model is half a gigabyte


@dataclass(frozen=True, slots=True)
class MadeFile:
    """A file that was made."""

    key: str  # secret
    name: str  # file name of the visitor's copy
    num_bytes: int

    @property
    def address(self) -> str:
        """The URL below ``FOLDER``."""
        return f"/{self.key}/{self.name}"


@dataclass(frozen=True, slots=True)
class _Kept:
    made: MadeFile
    path: Path
    made_s: float  # on a monotonic clock


class MadeFiles:
    """Files by their keys. Expired files are deleted with the next new file, the others at exit."""

    def __init__(self, *, seconds: float = KEPT_S, max_bytes: int = KEPT_BYTES) -> None:
        self.seconds, self.max_bytes = seconds, max_bytes
        self._folder: Path | None = None
        self._kept: dict[str, _Kept] = {}  # oldest first
        self._lock = threading.Lock()

    def make(self, name: str, write: Callable[[Path], None]) -> MadeFile:
        """Make a file.

        Args:
            name: file name of the visitor's copy.
            write: writes it to a path.
        """
        with self._lock:
            if self._folder is None:
                self._folder = Path(tempfile.mkdtemp(prefix="made-files-"))
                atexit.register(self.close)
            key = secrets.token_urlsafe(24)
            path = self._folder / key / name
            path.parent.mkdir()
        try:
            write(path)
        except BaseException:  # a full disk, or anything else that stopped it half-way
            shutil.rmtree(path.parent, ignore_errors=True)
            raise
        made = MadeFile(key, name, path.stat().st_size)
        with self._lock:
            self._kept[key] = _Kept(made, path, time.monotonic())
            self._make_room()
        return made

    def find(self, key: str) -> Path | None:
        """The path of the file, or None once it has expired."""
        with self._lock:
            kept = self._kept.get(key)
            if kept is None or time.monotonic() - kept.made_s > self.seconds:
                return None
            return kept.path

    def close(self) -> None:
        """Delete all files."""
        with self._lock:
            self._kept.clear()
            if self._folder is not None:
                shutil.rmtree(self._folder, ignore_errors=True)
                self._folder = None

    def _make_room(self) -> None:
        oldest_s = time.monotonic() - self.seconds
        total = sum(kept.made.num_bytes for kept in self._kept.values())
        for key, kept in list(self._kept.items())[:-1]:
            if kept.made_s < oldest_s or total > self.max_bytes:
                total -= kept.made.num_bytes
                del self._kept[key]
                shutil.rmtree(kept.path.parent, ignore_errors=True)


MADE_FILES = MadeFiles()


def serve_made_file(request: Request) -> Response:
    """Serve one of ``MADE_FILES`` as a download."""
    path = MADE_FILES.find(request.path_params["key"])
    if path is None or path.name != request.path_params["name"]:
        return PlainTextResponse("There is no such file.", status_code=404)
    headers = {"Cache-Control": "no-store"}
    return FileResponse(
        path, filename=path.name, media_type="application/octet-stream", headers=headers
    )


MADE_FILES_ROUTE = Route(FOLDER + "/{key}/{name}", serve_made_file)
