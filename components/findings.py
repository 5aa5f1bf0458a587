"""What visitors' experiments have found, by secret key, under one byte budget.

A finding belongs to a run and is never changed: a new branch of an answer is a new finding, since
all who open the page share the first example's. The browser holds only the key.
"""

from __future__ import annotations

import secrets
import threading
import weakref
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from playground.pipeline import held_bytes

if TYPE_CHECKING:
    from playground.pipeline import Run

# 256 MiB: about 2,300 tokens of columns of a 2B model (115 kB each), thousands of charts.
FINDINGS_BYTES = 256 << 20


@dataclass(frozen=True, slots=True, eq=False)
class _Kept:
    run: weakref.ref[Run]
    name: str  # of the experiment: ``sampling.side.columns``
    found: Any
    num_bytes: int


class Findings:
    """Recent findings; the least recently used one goes first."""

    def __init__(self, max_bytes: int = FINDINGS_BYTES) -> None:
        self.max_bytes = max_bytes
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._pinned: set[str] = set()
        self._lock = threading.Lock()

    def add(self, run: Run, name: str, found: Any, *, pinned: bool = False) -> str:
        """Keep a finding; returns its key.

        Args:
            run: whose records it is about.
            name: of the experiment.
            found: the finding.
            pinned: True for what all visitors start with, which is never dropped.
        """
        key = secrets.token_urlsafe(16)
        kept = _Kept(weakref.ref(run), name, found, held_bytes(found))
        with self._lock:
            self._kept[key] = kept
            if pinned:
                self._pinned.add(key)
            self._trim()
        return key

    def find(self, key: object, run: Run, name: str) -> Any | None:
        """What this experiment has found under this key, if it is still held and of this run."""
        if not isinstance(key, str):
            return None
        with self._lock:
            kept = self._kept.get(key)
            if kept is None or kept.run() is not run or kept.name != name:
                return None
            self._kept.move_to_end(key)
            return kept.found

    def _trim(self) -> None:
        # Of runs that are no longer held nobody can ask.
        for key in [key for key, kept in self._kept.items() if kept.run() is None]:
            del self._kept[key]
        total = sum(kept.num_bytes for kept in self._kept.values())
        for key in list(self._kept)[:-1]:
            if total <= self.max_bytes:
                return
            if key not in self._pinned:
                total -= self._kept.pop(key).num_bytes

    def __len__(self) -> int:
        return len(self._kept)
