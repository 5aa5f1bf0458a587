"""A stand-in for the ``spaces`` package: its decorator forks a process for every call.

After the real one's worker (spaces 0.51): arguments and results go through pickles, a thread of the
child runs the function, an event tells it that nobody reads on.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

FORK = multiprocessing.get_context("fork")


class FakeSpaces:
    """What ``import spaces`` gives, and the processes that it has forked."""

    def __init__(self) -> None:
        self.calls: list[int] = []  # the processes, one per call

    def GPU(self, task: Callable[..., Any], *, duration: int) -> Callable[..., Any]:  # noqa: N802
        assert duration > 0

        def forked(*args: Any) -> Iterator[Any]:
            stop, results = FORK.Event(), FORK.SimpleQueue()
            process = FORK.Process(target=_work, args=(task, args, results, stop), daemon=True)
            process.start()
            assert process.pid is not None
            self.calls.append(process.pid)
            try:
                while (result := results.get()) is not None:
                    yield result[0]
            finally:
                stop.set()
                process.join(30)
                assert process.exitcode == 0, "the forked process did not end by itself"

        return forked


def _work(task: Callable[..., Any], args: Any, results: Any, stop: Any) -> None:
    def iterate() -> None:
        stream = task(*args)
        for result in stream:
            if stop.is_set():
                stream.close()
                break
            results.put((result,))
        results.put(None)

    thread = threading.Thread(target=iterate)
    thread.start()
    thread.join()
    os._exit(0)  # the parent's own clean-up is not the child's
