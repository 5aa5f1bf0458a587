"""Schedule drawing requests: a page's latest request wins, and no crowd can take all threads.

A page sends one request at a time for each part. For clients that send more, a request is dropped
when the same page has sent a later one for the same part.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from cachetools import LRUCache

AT_ONCE = 6  # concurrent drawings, for all visitors
MOST_WAITING = 24  # requests; the server has 40 threads, which events need too
MOST_OF_ONE_PAGE = 12  # requests per page; every visible part may have one
MAX_PAGES = 10_000  # pages whose latest requests are remembered


class OvertakenError(Exception):
    """The same page has sent a later request for the same part."""


class BusyError(Exception):
    """Too many requests are waiting."""


class Turns:
    """Gives requests their turns."""

    def __init__(self) -> None:
        self._slots = threading.BoundedSemaphore(AT_ONCE)
        self._latest: LRUCache[tuple[str, str], int] = LRUCache(MAX_PAGES)
        self._waiting: dict[str, int] = {}  # number of requests by page, including running ones
        self._lock = threading.Lock()

    @contextmanager
    def turn(self, page: str, part: str, number: int) -> Iterator[None]:
        """Wait for a slot.

        Args:
            page: an id that the page has chosen.
            part: the requested part.
            number: number of the request; later requests have larger numbers.

        Raises:
            OvertakenError: a later request had arrived when its turn came.
            BusyError: too many requests are waiting.
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
