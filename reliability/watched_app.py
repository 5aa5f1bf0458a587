"""``app.py`` with an observer inside, for the scripts that must see or break the real model.

    python -m reliability.watched_app [--keep-s SECONDS] [arguments of app.py]

``--keep-s`` shortens how long files and the states of closed pages are kept, so that a script of
minutes sees them go.

Takes one JSON command a line on standard input, ``{"do": name, ...}``, and answers with one JSON
line on standard output; see ``Observer``. ``served.running_app(watched=True)`` speaks to it.
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
    """What the model does, for whom, and what goes wrong with it on purpose."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._here = threading.local()  # how deep this thread is inside the model
        self._inside: set[int] = set()
        self._most_inside = 0
        self._entries = 0
        self._last: dict[str, float] = {}  # when the newest module ended, by Gradio's event
        self._fault: tuple[str, int] | None = None  # the kind, and before how many layers
        self._anywhere = False  # whether it strikes before any module, as drawings enter them
        self._spoil_depth = 0
        self.site: Any = None

    # ------------------------------------------------------------------------------- hooks

    def watch(self, engine: Any) -> None:
        """Hook every module of the model, before any other hook is there."""
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
        if output is not None:  # None: it raised, as where it was stopped
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
        """How often the model was entered, by how many at a time, and when each event left it."""
        with self._lock:
            return {"entries": self._entries, "most": self._most_inside, "last": dict(self._last)}

    def do_break(self, kind: str, after: int, anywhere: bool = False) -> bool:
        """Arm a fault at the layer or block that comes after so many.

        Args:
            kind: "memory", "nan" or "mistake".
            after: so many layers and blocks.
            anywhere: at a module of any kind instead: drawings take single steps of a layer.
        """
        self._anywhere = anywhere
        self._fault = (kind, after)
        return True

    def do_mend(self) -> bool:
        """Take back a fault; returns whether it was still armed."""
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
    """The states that an event has set; the others are as built."""
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
    os.dup2(2, 1)  # what the app prints goes to the log
    own = argparse.ArgumentParser(allow_abbrev=False)
    own.add_argument("--keep-s", type=int)
    options, arguments = own.parse_known_args()
    app.stay_offline(app.parse_arguments(arguments).model)
    observer = Observer()
    _wrap(observer, options.keep_s)
    threading.Thread(target=_answer, args=(observer, replies), daemon=True).start()
    app.main(arguments)


def _wrap(observer: Observer, keep_s: int | None) -> None:
    """Put the observer between the app and what it builds."""
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
    """Keep states of closed pages for so long; Gradio does for an hour."""
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
    os._exit(0)  # the script that watched has ended


if __name__ == "__main__":
    main()
