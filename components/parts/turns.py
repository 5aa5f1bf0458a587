"""Whose turn it is to be drawn for: a page's latest question wins, and no crowd holds all threads.

A page asks one question at a time for each part. Clients that do otherwise are held to it here:
what a later question of the same page and part has overtaken is not computed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from cachetools import LRUCache

AT_ONCE = 6  # drawings at a time, for all visitors
MOST_WAITING = 24  # questions; the server answers in 40 threads, which events need too
MOST_OF_ONE_PAGE = 12  # questions of one page; every part in sight may have one
MAX_PAGES = 10_000  # whose latest questions are known


class OvertakenError(Exception):
    """A later question of the same page about the same part has come."""


class BusyError(Exception):
    """Too many questions wait."""


class Turns:
    """Gives questions their turns."""

    def __init__(self) -> None:
        self._slots = threading.BoundedSemaphore(AT_ONCE)
        self._latest: LRUCache[tuple[str, str], int] = LRUCache(MAX_PAGES)
        self._waiting: dict[str, int] = {}  # questions by page, under way ones included
        self._lock = threading.Lock()

    @contextmanager
    def turn(self, page: str, part: str, number: int) -> Iterator[None]:
        """Wait for a slot.

        Args:
            page: an id that the page has made up.
            part: what it asks about.
            number: of the page's questions; later ones are larger.

        Raises:
            OvertakenError: when its turn comes there is a later question.
            BusyError: too many wait.
        """
        with self._lock:
            waiting = self._waiting.get(page, 0)
            if waiting >= MOST_OF_ONE_PAGE or sum(self._waiting.values()) >= MOST_WAITING:
                raise BusyError
            self._waiting[page] = waiting + 1
            self._latest[page, part] = max(number, self._latest.get((page, part), number))
        try:
            with self._slots:
                with self._lock:
                    if self._latest.get((page, part), number) > number:
                        raise OvertakenError
                yield
        finally:
            with self._lock:
                self._waiting[page] -= 1
                if not self._waiting[page]:
                    del self._waiting[page]
