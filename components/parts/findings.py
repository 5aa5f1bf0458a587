"""Findings of visitors' experiments, by secret key, under one byte budget.

A finding belongs to a run and never changes: a new branch of an answer is a new finding, because
all visitors share the findings of the first example. The browser has only the key.
"""

from __future__ import annotations

import math
import secrets
import threading
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cachetools import Cache, LRUCache

from playground.held import held_bytes

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
    """Recent findings; the least recently used ones are evicted first."""

    def __init__(self, max_bytes: int = FINDINGS_BYTES) -> None:
        self.max_bytes = max_bytes
        self._kept: LRUCache[str, _Kept] = LRUCache(math.inf, getsizeof=_size)
        self._pinned: Cache[str, _Kept] = Cache(math.inf, getsizeof=_size)
        self._lock = threading.Lock()

    def add(self, run: Run, name: str, found: Any, *, pinned: bool = False) -> str:
        """Keep a finding; returns its key.

        Args:
            run: the run that it belongs to.
            name: the experiment's full name.
            found: the finding.
            pinned: True for findings of the first example, which are never evicted.
        """
        key = secrets.token_urlsafe(16)
        # A run over prompt and answer shares most of it with the prompt's.
        num_bytes = held_bytes(found, besides=run.extents())
        kept = _Kept(weakref.ref(run), name, found, num_bytes)
        with self._lock:
            self._drop_orphans()
            (self._pinned if pinned else self._kept)[key] = kept
            while self.num_bytes > self.max_bytes and len(self._kept) > 1:
                self._kept.popitem()
        return key

    def _drop_orphans(self) -> None:
        """Drop the findings of expired runs: nobody can request them."""
        for key in list(self._kept):
            kept = Cache.__getitem__(self._kept, key)  # does not count as a use
            if kept.run() is None:
                del self._kept[key]

    @property
    def num_bytes(self) -> int:
        """Memory of all findings."""
        return int(self._kept.currsize + self._pinned.currsize)

    def find(self, key: object, run: Run, name: str) -> Any | None:
        """The finding with this key, or None if it has expired or belongs to another run."""
        if not isinstance(key, str):
            return None
        with self._lock:
            kept = self._kept.get(key) or self._pinned.get(key)
        if kept is None or kept.run() is not run or kept.name != name:
            return None
        return kept.found

    def __len__(self) -> int:
        return len(self._kept) + len(self._pinned)


def _size(kept: _Kept) -> int:
    return kept.num_bytes
