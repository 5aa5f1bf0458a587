"""``app.py`` with an observer inside, for scripts that watch or break the real model.

    python -m reliability.watched_app [--keep-s SECONDS] [arguments of app.py]

``--keep-s`` shortens how long files and the states of closed pages are kept, so that a script of a
few minutes sees their removal.

It takes one JSON command per line on standard input, ``{"do": name, ...}``, and answers with one
JSON line on standard output; see ``Observer``. ``served.running_app(watched=True)`` speaks to it.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import app


class Observer:
    """Observes the model's work by event, and injects faults."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._here = threading.local()  # nesting depth of this thread in the model
        self._inside: set[int] = set()
        self._most_inside = 0
        self._entries = 0
        self._last: dict[str, float] = {}  # when the latest module ended, by Gradio event
        self._fault: tuple[str, int] | None = None  # the kind, and the number of layers before it
        self._anywhere = False  # whether it hits any module, since drawings call single ones
        self._spoil_depth = 0
        self.site: Any = None

    # ------------------------------------------------------------------------------- hooks

    def watch(self, engine: Any) -> None:
        """Hook every module of the model, before any other hook."""
        visual, language = engine.model.model.visual, engine.model.model.language_model
        self._steps = {*visual.blocks, *language.layers}
        for module in engine.model.modules():
            module.register_forward_pre_hook(self._enter)
            module.register_forward_hook(self._leave, always_call=True)

    def _enter(self, module: Any, _args: Any) -> None:
        depth = self._here.depth = getattr(self._here, "depth", 0) + 1
        if depth == 1:
            with self._lock:
                self._entries += 1
                self._inside.add(threading.get_ident())
                self._most_inside = max(self._most_inside, len(self._inside))
        if self._fault is not None and (self._anywhere or module in self._steps):
            self._count_down()

    def _leave(self, _module: Any, _args: Any, output: Any) -> Any:
        depth = self._here.depth
        self._here.depth = depth - 1
        if output is not None:  # None: it raised, for example because it was stopped
            self._last[_event()] = time.monotonic()
        if depth == 1:
            with self._lock:
                self._inside.discard(threading.get_ident())
        if self._spoil_depth == depth and output is not None:
            self._spoil_depth = 0
            return _with_nan(output)
        return None

    def _count_down(self) -> None:
        import torch

        assert self._fault is not None
        kind, left = self._fault
        if left > 0:
            self._fault = (kind, left - 1)
            return
        self._fault = None
        if kind == "memory":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        if kind == "mistake":
            raise ArithmeticError("made on purpose")
        self._spoil_depth = self._here.depth

    # ---------------------------------------------------------------------------- commands

    def do_forwards(self) -> dict[str, Any]:
        """How often the model was entered, by how many threads, and when each event left it."""
        with self._lock:
            return {"entries": self._entries, "most": self._most_inside, "last": dict(self._last)}

    def do_break(self, kind: str, after: int, anywhere: bool = False) -> bool:
        """Arm a fault after a number of layers and blocks.

        Args:
            kind: "memory", "nan" or "mistake".
            after: number of layers and blocks.
            anywhere: count modules of any kind instead: drawings call single modules of a layer.
        """
        self._anywhere = anywhere
        self._fault = (kind, after)
        return True

    def do_repair(self) -> bool:
        """Remove a fault; returns whether it was still armed."""
        armed = self._fault is not None
        self._fault = None
        return armed

    def do_state(self) -> dict[str, int]:
        """What the server holds for its visitors."""
        blocks = self.site.demo
        sessions = list(blocks.state_holder.session_data.values())
        folder = Path(os.environ["GRADIO_TEMP_DIR"])
        drawing = self.site.shared.drawing
        return {
            "runs": len(drawing.runs),
            "findings": len(drawing.findings),
            "questions": sum(drawing.turns._waiting.values()),
            "jobs": len(self.site.shared.jobs._flags),
            "states": sum(len(_own_states(session)) for session in sessions),
            "sessions": len(sessions),
            "files": sum(path.is_file() for path in folder.rglob("*")),
            "threads": threading.active_count(),
            "waiting": len(blocks._queue),
        }

    def do_trim(self) -> bool:
        """Give back what the allocator keeps of freed memory; for ``benchmarks.users``."""
        gc.collect()
        return bool(ctypes.CDLL(None).malloc_trim(0))


def _event() -> str:
    from gradio.context import LocalContext

    return LocalContext.event_id.get(None) or ""


def _own_states(session: Any) -> set[int]:
    """The states that an event has set; the others have their initial values."""
    return set(session._state_ttl) & set(session.state_data)


def _with_nan(output: Any) -> Any:
    if isinstance(output, tuple):
        return (_with_nan(output[0]), *output[1:])
    spoiled = output.clone()
    spoiled[..., 0] = float("nan")
    return spoiled


def main() -> None:
    """Start the app, watched, and answer commands until standard input ends."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # the app's output goes to the log
    own = argparse.ArgumentParser(allow_abbrev=False)
    own.add_argument("--keep-s", type=int)
    options, arguments = own.parse_known_args()
    app.stay_offline(app.parse_arguments(arguments).model)
    observer = Observer()
    _wrap(observer, options.keep_s)
    threading.Thread(target=_answer, args=(observer, replies), daemon=True).start()
    app.main(arguments)


def _wrap(observer: Observer, keep_s: int | None) -> None:
    """Insert the observer into what the app builds."""
    from components.compute import engine_host
    from components.page import site

    build_site, load = site.build_site, engine_host.EngineHost.start

    def build(*args: Any, **kwargs: Any) -> Any:
        observer.site = build_site(*args, **kwargs)
        if keep_s is not None:
            observer.site.demo.delete_cache = (min(keep_s, 20), keep_s)
            _forget_sessions_after(keep_s)
        return observer.site

    def start(host: Any, then: Any = None) -> None:
        def watch_first(engine: Any) -> None:
            observer.watch(engine)
            if then is not None:
                then(engine)

        load(host, watch_first)

    site.build_site = build
    engine_host.EngineHost.start = start  # type: ignore[method-assign,assignment]  # to watch it


def _forget_sessions_after(seconds: int) -> None:
    """Keep states of closed pages for this long; Gradio keeps them for an hour."""
    from gradio.state_holder import SessionState

    begin = SessionState.__init__

    def start(session: Any, blocks: Any) -> None:
        begin(session, blocks)
        session.STATE_TTL_WHEN_CLOSED = seconds

    SessionState.__init__ = start  # type: ignore[method-assign,assignment]


def _answer(observer: Observer, replies: Any) -> None:
    for line in sys.stdin:
        command = json.loads(line)
        answer = getattr(observer, f"do_{command.pop('do')}")(**command)
        replies.write(json.dumps(answer) + "\n")
        replies.flush()
    os._exit(0)  # the watching script has ended


if __name__ == "__main__":
    main()
