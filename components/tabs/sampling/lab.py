"""What was written after a prompt: the columns, the branches grown from them, a scored text.

A lab is a finding and never changed: a new branch makes a new lab, which takes the old one's place.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import playground
from components.parts.compound_controls import Clicked
from components.views.facts import fact_html
from playground.errors import InputError
from playground.language import say
from playground.records import SamplingRun, TokenStep
from playground.sampling.settings import MAX_COLUMNS

if TYPE_CHECKING:
    from playground.pipeline import Run
    from playground.sampling.branches import Branch
    from playground.sampling.paths import Prefix
    from playground.sampling.score import ScoredText

MAX_NAME_CHARS = 60  # of a branch: A.1.2


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """A text that the model had to write, and what it wrote after it."""

    text: ScoredText
    written: tuple[TokenStep, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Lab:
    """The columns written last, and the tree grown from them; empty before anything is written."""

    sampled: SamplingRun | None = None  # None where nothing but a scored text is there
    names: tuple[str, ...] = ()  # of the columns
    seconds: tuple[float, ...] = ()  # how long each was written on
    took_s: float = 0.0  # how long all were written on together
    max_new_tokens: int = 1
    problems: tuple[tuple[str, str], ...] = ()  # columns that were left out, and why
    branches: tuple[Branch, ...] = ()  # the columns first
    focus: tuple[str, int] | None = None  # branch and token that are worth a look
    scored: Scored | None = None
    is_live: bool = False  # still being written

    def branch(self, name: object) -> Branch:
        """The branch of this name.

        Raises:
            InputError: there is none.
        """
        found = next((each for each in self.branches if each.name == name), None)
        if found is None:
            raise InputError(
                say("There is no branch {name}.", name=name),
                remedy=say("Choose a branch from the list."),
            )
        return found

    @property
    def branch_names(self) -> tuple[str, ...]:
        """All branches, the columns first."""
        return tuple(each.name for each in self.branches)


# ------------------------------------------------------------------------------ what is chosen


def read_name(raw: Any, _run: Run) -> str | int:
    """The name of a branch, or a column's number from 0, as a chart knows it.

    Raises:
        InputError: it is neither.
    """
    if isinstance(raw, str) and len(raw) <= MAX_NAME_CHARS:
        return raw
    if type(raw) is int and 0 <= raw < MAX_COLUMNS:
        return raw
    raise InputError(say("The page sent no valid token."), remedy=say("Reload the page."))


def read_step(raw: Any, _run: Run) -> int:
    """The number of a token, from 0.

    Raises:
        InputError: it is none.
    """
    if type(raw) is int and raw >= 0:
        return raw
    raise InputError(say("The page sent no valid token."), remedy=say("Reload the page."))


BRANCH = Clicked(id="branch", read=read_name)
STEP = Clicked(id="step", read=read_step)
# What the other parts need of the first one: everything written, and the token that is chosen.
CHOSEN = ("side.columns", "side.branch", "side.step")


def choose_branch(lab: Lab, name: str | int | None, default: str = "") -> Branch:
    """The branch of this name or number.

    Args:
        lab: with at least one branch.
        name: as a click has set it; None where nothing has been clicked.
        default: the branch to take instead where there is no such one; the first by default.
    """
    if type(name) is int and name < len(lab.names):
        name = lab.names[name]
    names = lab.branch_names
    return lab.branch(next((each for each in (name, default) if each in names), names[0]))


def choose_token(lab: Lab, name: str | int | None, step: int | None) -> tuple[Branch, int]:
    """Branch and token that are looked at: where nothing is chosen, those worth a look."""
    focus, index = lab.focus or ("", 0)
    branch = choose_branch(lab, name, focus)
    if step is None:
        step = index
    return branch, min(step, len(branch.trace.steps) - 1)


def require_lab(lab: Lab | None) -> Lab:
    """The lab, with at least one branch.

    Raises:
        InputError: nothing has been written after this prompt.
    """
    if lab is None or not lab.branches:
        raise InputError(
            say("There are no columns for this prompt yet."),
            remedy=say("Press “Generate columns” in “Side by side”."),
        )
    return lab


def nothing_yet() -> str:
    """What a part says that needs the columns and has none."""
    return fact_html(
        say("There are no columns for this prompt yet."), say("Generate them in “Side by side”.")
    )


def prompt_of(run: Run) -> Prefix:
    """Where everything in a lab starts; the run's prefill is there already."""
    return playground.sampling.paths.prompt_prefix(run.inputs, run.merged, run.decoded)
