"""The answers whose boxes are read: the greedy one, a column or branch, or any text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import playground
from components.tabs.decoder.answer import continue_greedily
from components.tabs.sampling.lab import Lab, choose_branch, require_lab, run_of
from playground.pipeline import Run
from playground.records import Progress

if TYPE_CHECKING:
    from playground.grounding.locate import GroundedAnswer, Located

GREEDY, COLUMN, TYPED = "greedy", "column", "text"


@dataclass(frozen=True, slots=True, eq=False)
class ReadAnswer:
    """An answer with its boxes and points on one image."""

    name: str  # ``GREEDY``, ``TYPED`` or a branch's
    grounded: GroundedAnswer

    @property
    def items(self) -> tuple[Located, ...]:
        """The boxes and points, in the order of the answer."""
        return self.grounded.items


def run_of_answer(run: Run, answer: str, lab: Lab | None, branch: str | int | None) -> Run:
    """The run of the checkpoint that wrote the chosen answer."""
    return run_of(run, choose_branch(require_lab(lab), branch)) if answer == COLUMN else run


def choose_answer(
    run: Run,
    progress: Progress,
    answer: str,
    lab: Lab | None,
    branch: str | int | None,
    text: str,
    length: int,
) -> tuple[str, tuple[int, ...]]:
    """The name of the chosen answer, see ``ReadAnswer``, and its tokens.

    Raises:
        InputError: there is no column yet, or the text is empty.
    """
    if answer == TYPED:
        return TYPED, tuple(playground.sampling.score.read_answer(run.engine, text))
    if answer == COLUMN:
        chosen = choose_branch(require_lab(lab), branch)
        return chosen.name, tuple(step.id for step in chosen.trace.steps)
    trace = continue_greedily(run, progress, most=length, memo="greedy answer with boxes")
    return GREEDY, tuple(step.id for step in trace.steps)
