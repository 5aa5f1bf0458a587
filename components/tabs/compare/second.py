"""The second checkpoint of the page: its run of the same prompt, and both names."""

from __future__ import annotations

from typing import TYPE_CHECKING

import playground
from playground.language import mark
from playground.pipeline import Run

if TYPE_CHECKING:
    from playground.engine import Engine

ABSENT = mark(
    "There is no second checkpoint. Start the app with --compare and a folder, an adapter or a Hub "
    "id of the same architecture."
)


def has_second(run: Run) -> bool:
    """Whether the host has loaded a second checkpoint."""
    return run.engine.other is not None


def second_engine(run: Run) -> Engine:
    """The second checkpoint; only for parts that are shown if there is one."""
    other: Engine | None = run.engine.other
    assert other is not None
    return other


def second_run(run: Run) -> Run:
    """The second checkpoint's run of the same prompt; made once, and kept with the run."""
    beside = playground.compare.drift.run_beside
    return run.memo("second checkpoint", lambda: beside(run, second_engine(run)))


def both_names(run: Run) -> tuple[str, str]:
    """The names of both checkpoints, without paths."""
    name = playground.dump.checkpoint_name
    return name(run.engine), name(second_engine(run))
