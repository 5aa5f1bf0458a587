"""Load the checkpoint in the background and report the progress."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import playground
from playground.errors import PlaygroundError
from playground.language import mark, say
from playground.limits import Limits
from playground.records import Progress

if TYPE_CHECKING:
    from playground.engine import Engine


logger = logging.getLogger(__name__)

FAILED = mark("Loading failed; see the server's log.")
API_WAIT_S = 300.0  # how long a call waits for loading; a 2B model takes a minute or two
POLL_S = 0.3


@dataclass(frozen=True, slots=True)
class HostStatus:
    """The loading state of the checkpoint."""

    phase: Literal["loading", "ready", "failed"]
    what: str  # a marked sentence
    done: int = 0
    total: int = 0
    error: PlaygroundError | None = None  # why loading failed, where it can be said
    is_second: bool = False  # the checkpoint to compare with is loading

    @property
    def words(self) -> str:
        """What is being done or what went wrong, in the current language."""
        if self.error is not None:
            return str(self.error)
        if self.is_second:
            return say("second checkpoint: {what}", what=say(self.what))
        return say(self.what)


def loading_words(status: HostStatus) -> str:
    """The loading progress, as part of a sentence."""
    counts = {"done": status.done, "total": status.total}
    share = ", " + say("{done:,} of {total:,}", **counts) if status.total else ""
    return status.words + share


class EngineHost:
    """Owns the engine; created with the page, before torch is imported."""

    def __init__(
        self,
        source: str,
        *,
        device: str = "auto",
        dtype: str = "auto",
        attn: str = "sdpa",
        adapter_scale: float = 1.0,
        compare: str | None = None,
        limits: Limits = Limits(),  # noqa: B008 - frozen
    ) -> None:
        self.source = source
        self.limits = limits  # the engine's limits, known before it is loaded
        self.compare = compare  # the second checkpoint, to compare with
        self._options: dict[str, Any] = {
            "device": device,
            "dtype": dtype,
            "attn": attn,
            "adapter_scale": adapter_scale,
        }
        self._engine: Engine | None = None
        self._status = HostStatus("loading", mark("Importing torch and transformers"))
        self._settled = threading.Event()

    def start(self, then: Callable[[Engine], None] | None = None) -> None:
        """Import torch, load the checkpoint and call ``then``, all in a background thread."""
        threading.Thread(target=self._load, args=(then,), name="load", daemon=True).start()

    def _load(self, then: Callable[[Engine], None] | None) -> None:
        def report(what: str, done: int, total: int) -> None:
            self._status = HostStatus("loading", what, done, total)

        try:
            loaded = playground.loading.load.load_engine(
                self.source, on_progress=report, **self._options
            )
            engine = replace(loaded, limits=self.limits)
            if self.compare is not None:
                engine = self._with_second(engine, self.compare)
            if then is not None:
                report(mark("Running the first example"), 0, 0)
                then(engine)
            self._engine = engine
            self._status = HostStatus("ready", mark("Ready"))
        except PlaygroundError as error:
            self._status = HostStatus("failed", FAILED, error=error)
        except Exception:
            # Tell the page that loading failed; the details go to the log, not to visitors.
            logger.exception("Loading %s failed", self.source)
            self._status = HostStatus("failed", FAILED)
        finally:
            self._settled.set()

    def _with_second(self, engine: Engine, source: str) -> Engine:
        """The engine with a second checkpoint, or with the words why there is none."""

        def report(what: str, done: int, total: int) -> None:
            self._status = HostStatus("loading", what, done, total, is_second=True)

        options = dict(self._options)
        if options["dtype"] == "auto":  # otherwise rounding alone would make them differ
            options["dtype"] = str(engine.dtype).removeprefix("torch.")
        try:
            other = playground.loading.load.load_engine(
                source, beside=engine, on_progress=report, **options
            )
            return replace(engine, other=replace(other, limits=self.limits))
        except PlaygroundError as error:
            why = {"what": error.what, "limit": error.limit, "remedy": error.remedy}
        except Exception:
            logger.exception("Loading %s failed", source)
            why = {"what": say(FAILED), "limit": "", "remedy": ""}
        problem = say("The second checkpoint is not loaded. {what} {limit} {remedy}", **why)
        return replace(engine, notices=(*engine.notices, problem))

    @property
    def status(self) -> HostStatus:
        """The latest state."""
        return self._status

    @property
    def engine(self) -> Engine:
        """The loaded engine.

        Raises:
            PlaygroundError: the checkpoint is still loading, or loading failed.
        """
        if self._engine is None:
            status = self._status
            if status.phase == "failed":
                raise PlaygroundError(status.words)
            raise PlaygroundError(
                say("The checkpoint is still loading ({what}).", what=loading_words(status)),
                remedy=say("Wait for the progress bar at the top to finish."),
            )
        return self._engine

    def await_engine(
        self, timeout_s: float = API_WAIT_S, progress: Progress | None = None
    ) -> Engine:
        """The loaded engine, for a call that may wait for it.

        Args:
            timeout_s: how long to wait.
            progress: called with the loading progress; an exception ends the wait.

        Raises:
            PlaygroundError: loading failed, or takes too long.
        """
        end = time.monotonic() + timeout_s
        while (status := self.wait(POLL_S)).phase == "loading" and time.monotonic() < end:
            if progress is not None:
                progress(status.words, status.done, status.total)
        return self.engine

    def wait(self, timeout_s: float) -> HostStatus:
        """Wait until loading has succeeded or failed; returns the status."""
        self._settled.wait(timeout_s)
        return self._status
