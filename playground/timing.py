"""Time a forward pass, without the wait for other users."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

from playground.engine import Engine
from playground.errors import InputError
from playground.language import say


def time_ms(engine: Engine, run: Callable[[], torch.Tensor]) -> tuple[torch.Tensor, float]:
    """The logits of one run, and its duration in milliseconds.

    The clock starts once the lock is held and all queued work on the device is done. Copying the
    logits to the CPU waits for the device.
    """
    with engine.exclusive():
        if engine.device.type == "cuda":
            torch.cuda.synchronize(engine.device)
        started = time.perf_counter()
        logits = run()
        return logits, (time.perf_counter() - started) * 1e3


def check_repeats(repeats: int, most: int) -> None:
    """Check the number of timed repeats.

    Raises:
        InputError: ``repeats`` is not 1 to ``most``.
    """
    if not 1 <= repeats <= most:
        raise InputError(
            say("`repeats` is {value}.", value=repeats),
            limit=say("It must be 1 to {most}.", most=most),
        )
