"""Images and videos in links: kept for some days, and found only by the hash of their bytes.

Each file has its own folder, named by the full hash, outside the folders that Gradio serves. Only
someone who had the file, or a link to it, knows the hash. Nothing is decoded or trusted here: the
prompt reader checks a file when a link is opened, as it checks an upload.
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
KEPT_BYTES = 1 << 30  # over all visitors; the least recently used files are evicted first
HASH = re.compile(r"[0-9a-f]{64}")  # sha256
SUFFIX = re.compile(r"\.[a-z0-9]{1,5}")
CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class _Kept:
    """The folder of one file."""

    folder: Path
    used_s: float  # when it was last used, since the epoch
    num_bytes: int


class KeptFiles:
    """Files by the hash of their bytes, kept for some days under one byte budget.

    Several processes may share the folder: a file is added atomically, and a deleted file is simply
    missing.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        days: float = KEPT_DAYS,
        max_bytes: int = KEPT_BYTES,
    ) -> None:
        """Nothing is written until a file is kept.

        Args:
            folder: a folder for these files only; by default one per user in the system's temporary
                folder.
            days: how long a file is kept after its last use.
            max_bytes: total size of all files.
        """
        self.days = days
        self._folder = folder or default_folder()
        self._max_bytes = max_bytes

    def keep(self, path: str | Path, name: str) -> str:
        """Keep a copy of a file; returns its hash.

        Args:
            path: the file.
            name: file name of the copy, without its suffix.

        Raises:
            InputError: the server cannot keep it, or it exceeds the byte budget.
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
        """The file with this hash, or None if it is no longer kept; this counts as a use.

        A file whose bytes no longer match the hash is deleted.
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
        except (OSError, ValueError):  # deleted, or never kept
            return None
        return path

    # ------------------------------------------------------------------------------ the folder

    def _open_folder(self) -> None:
        """Make the folder, accessible to this user only.

        Raises:
            OSError: the folder belongs to another user or is a symbolic link.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        facts = self._folder.lstat()
        foreign = hasattr(os, "getuid") and facts.st_uid != os.getuid()
        if not stat.S_ISDIR(facts.st_mode) or foreign:
            raise PermissionError("the folder of kept files belongs to somebody else")

    def _copy(self, path: Path, found: str, name: str) -> None:
        """Copy a file to a temporary folder, then move it into place atomically."""
        suffix = path.suffix.lower() if SUFFIX.fullmatch(path.suffix.lower()) else ""
        with tempfile.TemporaryDirectory(prefix="new-", dir=self._folder) as made:
            folder = Path(made) / found
            folder.mkdir()
            shutil.copyfile(path, folder / f"{name}{suffix}")
            try:
                folder.rename(self._folder / found)
            except OSError:
                if self.find(found) is None:  # another process has not just kept it
                    raise

    def _make_room(self, num_bytes: int) -> None:
        """Remove expired files, then the least recently used ones until the new file fits.

        Raises:
            OSError: the file is larger than the budget.
        """
        if num_bytes > self._max_bytes:
            raise OSError("larger than all that may be kept")
        kept = sorted(self._list(), key=lambda entry: entry.used_s)
        total = num_bytes + sum(entry.num_bytes for entry in kept)
        for entry in kept:
            if self._is_fresh(entry.used_s) and total <= self._max_bytes:
                continue
            shutil.rmtree(entry.folder, ignore_errors=True)
            total -= entry.num_bytes

    def _list(self) -> Iterator[_Kept]:
        """List all folders, including partial ones that a killed process left behind."""
        for folder in self._folder.iterdir():
            try:
                size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
                yield _Kept(folder, folder.stat().st_mtime, size)
            except OSError:  # removed by another process
                continue

    def _is_fresh(self, used_s: float) -> bool:
        return time.time() - used_s < self.days * 86_400


def default_folder() -> Path:
    """This user's folder in the system's temporary folder."""
    user = os.getuid() if hasattr(os, "getuid") else "user"
    return Path(tempfile.gettempdir()) / f"qwen3-vl-playground-{user}" / "linked"


def hash_file(path: str | Path) -> str:
    """The sha256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
