"""Everything generated from a prompt: the columns, their branches, a scored text.

A lab is immutable: a new branch makes a new lab, which replaces the old one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import playground
from components.parts.compound_controls import Clicked
from components.tabs.compare.second import second_run
from components.views.facts import fact_html
from playground.errors import InputError
from playground.language import say
from playground.sampling.settings import MAX_COLUMNS
from playground.sampling.trace import SamplingRun, TokenStep

if TYPE_CHECKING:
    from playground.pipeline import Run
    from playground.sampling.branches import Branch
    from playground.sampling.paths import Prefix
    from playground.sampling.score import ScoredText

MAX_NAME_CHARS = 60  # of a branch: A.1.2


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """A given text with its scores, and the model's continuation."""

    text: ScoredText
    written: tuple[TokenStep, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Lab:
    """The latest columns and the tree of branches; empty before anything is generated."""

    sampled: SamplingRun | None = None  # None if there is only a scored text
    names: tuple[str, ...] = ()  # of the columns
    seconds: tuple[float, ...] = ()  # generation time of each column
    token_seconds: tuple[tuple[float, ...], ...] = ()  # when each token was generated, per column
    took_s: float = 0.0  # generation time of all columns
    max_new_tokens: int = 1
    problems: tuple[tuple[str, str], ...] = ()  # skipped columns, and why
    branches: tuple[Branch, ...] = ()  # the columns first
    focus: tuple[str, int] | None = None  # branch and token to show by default
    scored: Scored | None = None
    is_live: bool = False  # still being generated
    second: tuple[bool, ...] = ()  # per column, whether the second checkpoint writes it

    def branch(self, name: object) -> Branch:
        """The branch with this name.

        Raises:
            InputError: there is none.
        """
        found = next((branch for branch in self.branches if branch.name == name), None)
        if found is None:
            raise InputError(
                say("There is no branch {name}.", name=name),
                remedy=say("Choose a branch from the list."),
            )
        return found

    @property
    def branch_names(self) -> tuple[str, ...]:
        """All branches, the columns first."""
        return tuple(branch.name for branch in self.branches)


# ----------------------------------------------------------------------------------- selection


def read_name(raw: Any, _run: Run) -> str | int:
    """The name of a branch, or a column's number from 0, as a chart knows it.

    Raises:
        InputError: neither of these.
    """
    if isinstance(raw, str) and len(raw) <= MAX_NAME_CHARS:
        return raw
    if type(raw) is int and 0 <= raw < MAX_COLUMNS:
        return raw
    raise InputError(say("The page sent no valid token."), remedy=say("Reload the page."))


def read_step(raw: Any, _run: Run) -> int:
    """The index of a token, from 0.

    Raises:
        InputError: not a valid index.
    """
    if type(raw) is int and raw >= 0:
        return raw
    raise InputError(say("The page sent no valid token."), remedy=say("Reload the page."))


BRANCH = Clicked(id="branch", read=read_name)
STEP = Clicked(id="step", read=read_step)
# What the other parts need from the first one: the lab, and the selected token.
CHOSEN = ("side.columns", "side.branch", "side.step")


def choose_branch(lab: Lab, name: str | int | None, default: str = "") -> Branch:
    """The branch with this name or number.

    Args:
        lab: with at least one branch.
        name: as set by a click; None before any click.
        default: the branch to use if there is no such branch; by default the first.
    """
    if type(name) is int and name < len(lab.names):
        name = lab.names[name]
    names = lab.branch_names
    return lab.branch(next((wanted for wanted in (name, default) if wanted in names), names[0]))


def choose_step(lab: Lab, name: str | int | None, step: int | None) -> tuple[Branch, int]:
    """The selected branch and token; without a selection, the lab's focus."""
    focus, index = lab.focus or ("", 0)
    branch = choose_branch(lab, name, focus)
    if step is None:
        step = index
    return branch, min(step, len(branch.trace.steps) - 1)


def require_lab(lab: Lab | None) -> Lab:
    """The lab, with at least one branch.

    Raises:
        InputError: nothing has been generated from this prompt.
    """
    if lab is None or not lab.branches:
        raise InputError(
            say("There are no columns for this prompt yet."),
            remedy=say("Press “Generate columns” in “Side by side”."),
        )
    return lab


def nothing_yet() -> str:
    """Message of a part that needs columns, if there are none."""
    return fact_html(
        say("There are no columns for this prompt yet."), say("Generate them in “Side by side”.")
    )


def run_of(run: Run, branch: Branch) -> Run:
    """The run of the checkpoint that writes a branch: the page's, or the second checkpoint's."""
    return second_run(run) if branch.second else run


def prompt_of(run: Run) -> Prefix:
    """The prefix from which everything in a lab starts: the run's prefill."""
    return playground.sampling.paths.prompt_prefix(run.inputs, run.merged, run.decoded)
