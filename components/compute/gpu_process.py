"""ZeroGPU: a Space lends its GPU for one call at a time.

Each call runs in a forked process. The page's own process keeps the model on the CPU, for drawings
from records and for everything that keeps state between calls. A function decorated with ``on_gpu``
runs in the forked process, on the GPU. The values that it yields and the run's new records are sent
back; any other change is lost, so an experiment of several requests must be one call. Without
ZeroGPU, a decorated function is unchanged.
"""

from __future__ import annotations

import io
import logging
import os
import pickle
import queue
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import playground
from playground.errors import ModelError, PlaygroundError, StageCancelled
from playground.language import say, speaking, spoken_language
from playground.pipeline import STAGES, Run
from playground.records import Progress

if TYPE_CHECKING:
    from playground.engine import Engine

logger = logging.getLogger(__name__)

Stream = Callable[..., Iterator[Any]]
S = TypeVar("S", bound=Stream)
F = TypeVar("F", bound=Callable[..., Any])

GPU_SECONDS = 60  # requested per call; a visitor's quota is charged for the time used

_streams: dict[str, Stream] = {}  # by name: the forked process has them too, including closures
_engine: Engine | None = None  # the page's; a forked process inherits it
_lent: Engine | None = None  # in a forked process: the same model on the GPU
_in_place: ContextVar[bool] = ContextVar("in_place", default=False)


def has_zero_gpu() -> bool:
    """Whether this is a Space with ZeroGPU."""
    return os.environ.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")


def on_gpu(stream: S) -> S:
    """Run a generator ``stream(run, progress, *values)`` on a lent GPU.

    Its arguments and yielded values are pickled. It must keep no state outside the run's records.
    """
    if not has_zero_gpu():
        return stream
    import spaces  # part of a Space; functions must be decorated before the page is launched

    name = f"{stream.__module__}.{stream.__qualname__}"
    _streams[name] = stream
    serve = spaces.GPU(_serve, duration=GPU_SECONDS)

    @wraps(stream)
    def lent(run: Run, progress: Progress, *values: Any) -> Iterator[Any]:
        # The CPU finishes the shipped checkpoint before a GPU would be assigned.
        if _in_place.get() or run.engine.source == "tiny":
            yield from stream(run, progress, *values)
        else:
            yield from _call(serve, name, run, progress, values)

    return lent  # type: ignore[return-value]


def in_place(function: F) -> F:
    """Run a function without a lent GPU: for work at start-up, which is on nobody's quota."""

    @wraps(function)
    def stay(*args: Any, **kwargs: Any) -> Any:
        token = _in_place.set(True)
        try:
            return function(*args, **kwargs)
        finally:
            _in_place.reset(token)

    return stay  # type: ignore[return-value]


def compute_ahead(run: Run, stages: Sequence[str], progress: Progress) -> None:
    """Compute the last of these stages, and all before it, in one call on a lent GPU.

    Without ZeroGPU nothing happens: the stages are computed when they are needed.
    """
    wanted = [stage for stage in STAGES if stage in stages]
    if has_zero_gpu() and wanted and not run.has(wanted[-1]):
        for _ in _compute_stage(run, progress, wanted[-1]):
            pass


@on_gpu
def _compute_stage(run: Run, progress: Progress, stage: Any) -> Iterator[None]:
    run.ensure(stage, progress)
    if stage == "decoder":
        run.check_parity(progress)  # a record too, from another forward pass
    yield None


class _Pickler(pickle.Pickler):
    """A yielded value may refer to its run, which is a different object in each process."""

    def __init__(self, file: io.BytesIO, run: Run) -> None:
        super().__init__(file, protocol=pickle.HIGHEST_PROTOCOL)
        self._run = run

    def persistent_id(self, value: Any) -> str | None:
        return "run" if isinstance(value, weakref.ref) and value() is self._run else None


class _Unpickler(pickle.Unpickler):
    def __init__(self, data: bytes, run: Run) -> None:
        super().__init__(io.BytesIO(data))
        self._run = run

    def persistent_load(self, _name: str) -> weakref.ref[Run]:
        return weakref.ref(self._run)


def _dumps(value: Any, run: Run) -> bytes:
    file = io.BytesIO()
    _Pickler(file, run).dump(value)
    return file.getvalue()


# ---------------------------------------------------------------------- the page's process


def _call(
    serve: Stream, name: str, run: Run, progress: Progress, values: Sequence[Any]
) -> Iterator[Any]:
    """One call: pass on the forked process's messages until it ends or ``progress`` stops it."""
    global _engine
    _engine = run.engine
    messages: Any = serve(pickle.dumps((name, spoken_language(), run.export(), values)))
    try:
        for kind, data in messages:
            if kind == "progress":
                progress(*data)
            elif kind == "error":
                raise pickle.loads(data)
            elif kind == "records":
                run.adopt(pickle.loads(data))
            else:
                yield _Unpickler(data, run).load()
    finally:
        messages.close()  # stops the forked process before its next layer or token


# ---------------------------------------------------------------------- the forked process


def _serve(sent: bytes) -> Iterator[tuple[str, Any]]:
    """Run one stream in a separate thread, so that progress can be sent between its values."""
    messages: queue.SimpleQueue[tuple[str, Any] | None] = queue.SimpleQueue()
    stopped = threading.Event()

    def report(what: str, done: int, total: int) -> None:
        if stopped.is_set():
            raise StageCancelled
        messages.put(("progress", (what, done, total)))

    def work() -> None:
        try:
            for message in _run_stream(sent, report):
                messages.put(message)
        except PlaygroundError as error:
            messages.put(("error", pickle.dumps(error)))
        except Exception as error:
            logger.exception("A call on the lent GPU failed")
            failed = ModelError(
                say("The call on the GPU failed: {kind}.", kind=type(error).__name__)
            )
            messages.put(("error", pickle.dumps(failed)))
        finally:
            messages.put(None)

    thread = threading.Thread(target=work, name="lent")
    thread.start()
    try:
        while (message := messages.get()) is not None:
            yield message
    finally:
        stopped.set()
        thread.join()


def _run_stream(sent: bytes, progress: Progress) -> Iterator[tuple[str, bytes]]:
    name, language, exported, values = pickle.loads(sent)
    with speaking(language):
        run = Run.resume(_lent_engine(), exported)
        known = exported.records.keys()
        for drawn in _streams[name](run, progress, *values):
            yield "drawn", _dumps(drawn, run)
        records = run.export().records
        yield "records", pickle.dumps({key: records[key] for key in records.keys() - known})


def _lent_engine() -> Engine:
    """The inherited model, moved to the GPU with the process's first call."""
    global _lent
    if _lent is None:
        assert _engine is not None
        _lent = playground.moving.move_engine(_engine)
    return _lent
