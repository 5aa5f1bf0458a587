"""How new branches are written: shown as they grow, and no more of them than there is room for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from components.parts.controls import Slider
from components.tabs.sampling.lab import Lab
from playground.errors import InputError, StageCancelled
from playground.language import mark, say
from playground.records import Progress

if TYPE_CHECKING:
    from playground.sampling.branches import Branch
    from playground.sampling.columns import Sampler

MAX_BRANCHES = 24
MIN_INTERVAL_S = 0.15
NEW_TOKENS = 32
MOST_NEW_TOKENS = 256

# The experiments that do so all write on what the first part's columns have left.
GROWS: dict[str, Any] = {
    "gives": "side.columns",
    "afterwards": {"side.branch": None, "side.step": None},
}


def length_slider() -> Slider:
    """How long what grows may get."""
    return Slider(
        id="length",
        label=mark("Max new tokens"),
        low=1,
        high=lambda run: run.engine.limits.at_most(MOST_NEW_TOKENS),
        value=NEW_TOKENS,
    )


def check_room(lab: Lab, count: int) -> None:
    """Refuse more branches than the tree may have.

    Raises:
        InputError: there would be too many.
    """
    if len(lab.branches) + count > MAX_BRANCHES:
        raise InputError(
            say("The tree has {count} branches.", count=len(lab.branches)),
            limit=say("At most {most:,}.", most=MAX_BRANCHES),
            remedy=say("Press “Remove all branches”."),
        )


def stream_branches(
    lab: Lab,
    sampler: Sampler,
    progress: Progress,
    grown: Callable[[], tuple[Branch, ...]],
    index: int,
) -> Iterator[Lab]:
    """Write, with the tree as it grows; what was written before a stop stays.

    Args:
        lab: what there is so far.
        sampler: writes the new branches.
        progress: reports, and stops.
        grown: the new branches as far as they are.
        index: the first token of their own.
    """
    shown = time.perf_counter()
    cancelled: StageCancelled | None = None
    try:
        for _ in sampler.stream(progress):
            if time.perf_counter() - shown >= MIN_INTERVAL_S:
                added = grown()
                yield _with(lab, added, index, is_live=True)
                shown = time.perf_counter()
    except StageCancelled as stop:
        cancelled = stop
    added = grown() if any(trace.steps for trace in sampler.run.traces) else ()
    if added and len(added[0].trace.steps) > index:
        yield _with(lab, added, index)
    if cancelled is not None:
        raise cancelled


def _with(lab: Lab, added: tuple[Branch, ...], index: int, *, is_live: bool = False) -> Lab:
    """The lab with more branches; the first of them is looked at."""
    return replace(
        lab, branches=(*lab.branches, *added), focus=(added[0].name, index), is_live=is_live
    )
