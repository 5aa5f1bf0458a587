"""Which run is under way for which page, and how it is stopped."""

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

MAX_STOPS = 1_000  # remembered at a time; a stop matters no longer than a run waits in the queue


class Jobs:
    """One job per page: a new run stops the page's older one.

    Gradio's own cancel only drops the answer; the thread would compute on, holding the model. The
    flag is looked at before every layer, vision block and token, and so is whether the client is
    still there.
    """

    def __init__(self) -> None:
        self._flags: dict[str, threading.Event] = {}
        self._stopped_at: OrderedDict[str, float] = OrderedDict()  # by page, for runs that wait
        self._lock = threading.Lock()

    @contextmanager
    def running(self, session: str, bar: gr.Progress | None = None) -> Iterator[Progress]:
        """Register a job; yields the callback for the stages to report to.

        Args:
            session: the page's ``gr.Request.session_hash``.
            bar: shown in the page, if given.
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
        """Stop the page's job and those that wait for their turn.

        Returns:
            whether one was under way.
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
    """A progress callback for calls that belong to no page: it stops once their client is gone."""
    if Client.of_this_event().gone:
        raise StageCancelled
