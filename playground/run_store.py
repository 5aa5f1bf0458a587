"""A bounded store of recent runs.

A page's session has only the key of its run. The run itself stays here under one byte budget, so
that a crowd of visitors cannot fill the memory.
"""

from __future__ import annotations

import math
import secrets
import threading
from functools import partial

from cachetools import Cache, LRUCache

from playground.errors import InputError
from playground.language import say
from playground.pipeline import Run

# 2 GiB: about four 2B runs on an image of 1,000 tokens (500 MB each, by their shapes), hundreds
# of the shipped checkpoint's first example (3 MB).
STORE_BYTES = 2 << 30


class RunStore:
    """Recent runs by secret key; when a run grows, the least recently used ones are evicted."""

    def __init__(self, max_bytes: int = STORE_BYTES) -> None:
        self.max_bytes = max_bytes
        self._runs: LRUCache[str, Run] = LRUCache(math.inf, getsizeof=lambda run: run.num_bytes)
        self._pinned: Cache[str, Run] = Cache(math.inf, getsizeof=lambda run: run.num_bytes)
        self._lock = threading.Lock()

    @property
    def num_bytes(self) -> int:
        """Memory of all runs, each as of its last growth."""
        return int(self._runs.currsize + self._pinned.currsize)

    def add(self, run: Run, *, pinned: bool = False) -> str:
        """Keep a run; returns the session's key.

        Args:
            run: the run.
            pinned: True for a run that all sessions share and that is never evicted.
        """
        key = secrets.token_urlsafe(16)
        run.on_growth = partial(self._count_again, key)
        with self._lock:
            (self._pinned if pinned else self._runs)[key] = run
            self._make_room()
        return key

    def _count_again(self, key: str) -> None:
        with self._lock:
            runs = self._pinned if key in self._pinned else self._runs
            run = runs.pop(key, None)
            if run is not None:  # it has not been evicted
                runs[key] = run
                self._make_room()

    def _make_room(self) -> None:
        """Evict the least recently used runs until the rest fit; the newest always stays."""
        while self.num_bytes > self.max_bytes and len(self._runs) > 1:
            self._runs.popitem()

    def get(self, key: str | None) -> Run:
        """Look up a run and mark it as used.

        Raises:
            InputError: there is no such run, or it has expired.
        """
        with self._lock:
            run = self._runs.get(key or "") or self._pinned.get(key or "")
        if run is None:
            raise InputError(
                say("This run has expired."),
                limit=say(
                    "The server keeps up to {size:,} MB of recent runs.", size=self.max_bytes >> 20
                ),
                remedy=say("Press Run again."),
            )
        return run

    def peek(self, key: str | None) -> Run | None:
        """The run with this key, or None if it has expired; does not count as a use."""
        with self._lock:
            for runs in (self._runs, self._pinned):
                if key is not None and key in runs:
                    return Cache.__getitem__(runs, key)
        return None

    def discard(self, key: str | None) -> None:
        """Drop a run; unknown and pinned keys are ignored."""
        with self._lock:
            self._runs.pop(key or "", None)

    def __len__(self) -> int:
        return len(self._runs) + len(self._pinned)
