"""Pictures and videos of permalinks: kept for a while, found only by the hash of their bytes.

A file lies in a folder of its own that is named by the whole hash, outside of what Gradio serves.
Who has the hash has had the file, or a link to it. Nothing here is decoded or trusted: the prompt
reader does that once a link is opened, as for an upload.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from playground.errors import InputError
from playground.language import say

KEPT_DAYS = 7  # after a link was last made or opened
KEPT_BYTES = 1 << 30  # of all visitors together; the longest unused files go first
HASH = re.compile(r"[0-9a-f]{64}")  # sha256
SUFFIX = re.compile(r"\.[a-z0-9]{1,5}")
CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class _Kept:
    """One file's folder."""

    folder: Path
    used_s: float  # when it was last used, since the epoch
    num_bytes: int


class KeptFiles:
    """Files by the hash of their bytes, for some days and under one byte budget.

    Several processes may share the folder: a file appears in one step, and one that has gone in
    the meantime is simply not there.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        days: float = KEPT_DAYS,
        max_bytes: int = KEPT_BYTES,
    ) -> None:
        """Nothing is written before a file is kept.

        Args:
            folder: of our own; by default one of this user's below the system's folder for
                temporary files.
            days: how long a file stays after it was last used.
            max_bytes: of all files together.
        """
        self.days = days
        self._folder = folder or default_folder()
        self._max_bytes = max_bytes

    def keep(self, path: str | Path, name: str) -> str:
        """Keep a copy of a file; returns its hash.

        Args:
            path: of the file.
            name: what the copy is called, without its suffix.

        Raises:
            InputError: the server cannot keep it, or it is larger than all that is kept.
        """
        try:
            found = hash_file(path)
            self._open_folder()
            if self.find(found) is None:
                self._make_room(Path(path).stat().st_size)
                self._copy(Path(path), found, name)
        except OSError as error:
            raise InputError(
                say("The server cannot keep the image for a link right now."),
                remedy=say("Try again later, or share only the text."),
            ) from error
        return found

    def find(self, found: str) -> Path | None:
        """The file with this hash, if it is still kept; that counts as a use.

        A file whose bytes no longer have the hash is not given out.
        """
        if not HASH.fullmatch(found):
            return None
        folder = self._folder / found
        try:
            if not self._is_fresh(folder.stat().st_mtime):
                shutil.rmtree(folder, ignore_errors=True)
                return None
            (path,) = folder.iterdir()
            if hash_file(path) != found:
                shutil.rmtree(folder, ignore_errors=True)
                return None
            os.utime(folder)
        except (OSError, ValueError):  # gone, or never there
            return None
        return path

    # ------------------------------------------------------------------------------ the folder

    def _open_folder(self) -> None:
        """Make the folder, for this user alone.

        Raises:
            OSError: it is another user's, or a link to somewhere else.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        facts = self._folder.lstat()
        foreign = hasattr(os, "getuid") and facts.st_uid != os.getuid()
        if not stat.S_ISDIR(facts.st_mode) or foreign:
            raise PermissionError("the folder of kept files belongs to somebody else")

    def _copy(self, path: Path, found: str, name: str) -> None:
        """Copy a file beside its place, and move it there in one step."""
        suffix = path.suffix.lower() if SUFFIX.fullmatch(path.suffix.lower()) else ""
        with tempfile.TemporaryDirectory(prefix="new-", dir=self._folder) as made:
            folder = Path(made) / found
            folder.mkdir()
            shutil.copyfile(path, folder / f"{name}{suffix}")
            try:
                folder.rename(self._folder / found)
            except OSError:
                if self.find(found) is None:  # not kept by another process just now
                    raise

    def _make_room(self, num_bytes: int) -> None:
        """Remove what is too old, then the longest unused files until a new one fits.

        Raises:
            OSError: it does not fit at all.
        """
        if num_bytes > self._max_bytes:
            raise OSError("larger than all that may be kept")
        kept = sorted(self._list(), key=lambda each: each.used_s)
        total = num_bytes + sum(each.num_bytes for each in kept)
        for each in kept:
            if self._is_fresh(each.used_s) and total <= self._max_bytes:
                continue
            shutil.rmtree(each.folder, ignore_errors=True)
            total -= each.num_bytes

    def _list(self) -> Iterator[_Kept]:
        """Every folder; among them what a process that was killed has left half-written."""
        for folder in self._folder.iterdir():
            try:
                size = sum(each.stat().st_size for each in folder.rglob("*") if each.is_file())
                yield _Kept(folder, folder.stat().st_mtime, size)
            except OSError:  # removed by another process
                continue

    def _is_fresh(self, used_s: float) -> bool:
        return time.time() - used_s < self.days * 86_400


def default_folder() -> Path:
    """Of this user, below the system's folder for temporary files."""
    user = os.getuid() if hasattr(os, "getuid") else "user"
    return Path(tempfile.gettempdir()) / f"qwen3-vl-playground-{user}" / "linked"


def hash_file(path: str | Path) -> str:
    """The sha256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
