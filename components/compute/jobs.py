"""The running job of each page, and how to stop it."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

import gradio as gr

from components.compute.clients import Client
from playground.errors import StageCancelled
from playground.records import Progress

MAX_STOPS = 1_000  # a stop is needed only as long as a run waits in the queue


class Jobs:
    """One job per page: a new run stops the page's older one.

    Gradio's own cancel only drops the answer; the thread would run on, holding the model. Before
    every layer, vision block and token, a job checks its stop flag and whether its client is still
    connected.
    """

    def __init__(self) -> None:
        self._flags: dict[str, threading.Event] = {}
        self._stopped_at: OrderedDict[str, float] = OrderedDict()  # by page, for queued runs
        self._lock = threading.Lock()

    @contextmanager
    def running(self, session: str, bar: gr.Progress | None = None) -> Iterator[Progress]:
        """Register a job; yields the progress callback for the stages.

        Args:
            session: the page's ``gr.Request.session_hash``.
            bar: Gradio's progress bar, if any.
        """
        flag, client = threading.Event(), Client.of_this_event()
        with self._lock:
            if client.waits_since < self._stopped_at.get(session, float("-inf")):
                flag.set()
            older = self._flags.get(session)
            self._flags[session] = flag
        if older is not None:
            older.set()

        def report(what: str, done: int, total: int) -> None:
            if flag.is_set() or client.gone:
                raise StageCancelled
            if bar is not None:
                bar((done, total or None), desc=what, unit="")

        try:
            yield report
        finally:
            with self._lock:
                if self._flags.get(session) is flag:
                    del self._flags[session]

    def stop(self, session: str) -> bool:
        """Stop the page's job and its queued jobs.

        Returns:
            whether a job was running.
        """
        with self._lock:
            self._stopped_at[session] = time.monotonic()
            self._stopped_at.move_to_end(session)
            if len(self._stopped_at) > MAX_STOPS:
                self._stopped_at.popitem(last=False)
            flag = self._flags.get(session)
        if flag is None:
            return False
        flag.set()
        return True


def stop_without_client(_what: str, _done: int, _total: int) -> None:
    """A progress callback for endpoint calls: it stops them once their client has disconnected."""
    if Client.of_this_event().gone:
        raise StageCancelled
