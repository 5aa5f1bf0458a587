"""How long a forward takes, without the wait for other users."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from playground.engine import Engine
from playground.errors import InputError
from playground.language import say


def time_ms(engine: Engine, run: Callable[[], torch.Tensor]) -> tuple[torch.Tensor, float]:
    """The logits of one run and its milliseconds.

    The lock is taken before the clock starts, and work queued on the device is waited for. The
    logits come back to the CPU, which waits for the device.
    """
    with engine.exclusive():
        if engine.device.type == "cuda":
            torch.cuda.synchronize(engine.device)
        started = time.perf_counter()
        logits = run()
        return logits, (time.perf_counter() - started) * 1e3


def check_repeats(repeats: int, most: int) -> None:
    """That something is timed as often as somebody asks for.

    Raises:
        InputError: ``repeats`` is not 1 to ``most``.
    """
    if not 1 <= repeats <= most:
        raise InputError(
            say("`repeats` is {value}.", value=repeats),
            limit=say("It must be 1 to {most}.", most=most),
        )
