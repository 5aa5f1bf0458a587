"""Branches: replace any token, and continue from the KV cache at that token."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

import playground
from components.compute.gpu_process import on_gpu
from components.parts.compound_controls import Clicked
from components.parts.controls import Number
from components.parts.part import Part
from components.tabs.sampling.growing import GROWS, check_room, length_slider, stream_branches
from components.tabs.sampling.lab import (
    CHOSEN,
    Lab,
    choose_branch,
    choose_step,
    nothing_yet,
    prompt_of,
    read_name,
    read_step,
    require_lab,
    run_of,
)
from components.tabs.sampling.tree import chosen_html, tree_html
from components.tabs.sampling.words import decoder_button_html
from components.views.facts import share_words
from components.views.picks import picks_html
from components.views.text import token_html
from playground.errors import InputError
from playground.language import mark, say
from playground.pipeline import Run
from playground.records import Progress
from playground.sampling.trace import Candidate, SamplingSettings, TokenStep

if TYPE_CHECKING:
    from playground.sampling.branches import Branch

MOST_FIRST_TOKENS = 8  # generated as one batch

# An alternative token: the branch, the step (from 0), and the token's id.
Alternative = tuple[str | int, int, int]


def read_alternative(raw: Any, run: Run) -> Alternative:
    """Check what a click on an alternative sends.

    Raises:
        InputError: not a branch, a step and a token id.
    """
    if not isinstance(raw, list) or len(raw) != 3:
        raise InputError(say("The page sent no valid token."), remedy=say("Reload the page."))
    name, step, token_id = raw
    return read_name(name, run), read_step(step, run), read_step(token_id, run)


PART = Part(
    "branch",
    mark("Branch"),
    stage="sampling",
    intro=mark(
        "Click a token, replace it with another one, and see how the answer continues. A branch "
        "reuses the cached keys and values, so the prompt is not run again."
    ),
    controls=(
        Clicked(id="alternative", read=read_alternative),
        length_slider(),
        Number(
            id="count",
            label=mark("Most likely first tokens"),
            info=mark("1 to 8, generated as one batch"),
            value=4,
            low=1,
            high=MOST_FIRST_TOKENS,
        ),
    ),
    layout=(
        "chosen",
        "alternatives",
        ("length", "grow"),
        ("count", "first_words", "clear"),
        "tree",
    ),
)


# ------------------------------------------------------------------------------- what is shown


@PART.html(needs=CHOSEN)
def chosen(_run: Run, lab: Lab | None, name: str | int | None, step: int | None) -> str:
    """The selected token in a sentence."""
    if lab is None or not lab.branches:
        return nothing_yet()
    return chosen_html(*choose_step(lab, name, step))


@PART.html(needs=(*CHOSEN, "alternative"))
def alternatives(
    _run: Run,
    lab: Lab | None,
    name: str | int | None,
    step: int | None,
    alternative: Alternative | None,
) -> str:
    """The tokens that can replace it."""
    if lab is None or not lab.branches:
        return ""
    branch, index = choose_step(lab, name, step)
    options = [
        (
            Markup("{} {}").format(
                Markup(token_html(candidate.text)), share_words(candidate.raw_prob)
            ),
            [branch.name, index, candidate.id],
        )
        for candidate in others_of(branch.trace.steps[index])
    ]
    taken = choose_alternative(branch, index, alternative)
    picks = picks_html(say("Replace with"), options, [branch.name, index, taken], "alternative")
    return picks + decoder_button_html(branch.trace, index)


@PART.html(needs=CHOSEN, live=True)
def tree(_run: Run, lab: Lab | None, name: str | int | None, step: int | None) -> str:
    """The branches, including one that is still being generated."""
    if lab is None or not lab.branches:
        return ""
    if lab.is_live:
        name, step = lab.focus or (None, None)
    branch, index = choose_step(lab, name, step)
    return tree_html(lab.branches, branch.name, index)


def others_of(step: TokenStep) -> list[Candidate]:
    """The candidates that can replace a token."""
    return [
        candidate
        for candidate in step.top
        if candidate.id != step.id and candidate.removed_by != "vision_tokens"
    ]


def choose_alternative(branch: Branch, index: int, clicked: Alternative | None) -> int | None:
    """The replacement: the clicked token if it belongs to this step, else the most likely one."""
    others = others_of(branch.trace.steps[index])
    if clicked is not None and clicked[:2] == (branch.name, index):
        return clicked[2]
    return others[0].id if others else None


# ------------------------------------------------------------------------------------- growing


@PART.experiment(
    mark("Continue from this token"),
    needs=(*CHOSEN, "alternative", "length"),
    primary=True,
    **GROWS,
)
@on_gpu
def grow(
    run: Run,
    progress: Progress,
    lab: Lab | None,
    name: str | int | None,
    step: int | None,
    alternative: Alternative | None,
    length: int,
) -> Iterator[Lab]:
    """Replace the token and continue; the branch grows in the tree."""
    lab = require_lab(lab)
    parent, index = choose_step(lab, name, step)
    token_id = choose_alternative(parent, index, alternative)
    if token_id is None:
        raise InputError(
            say("No token is selected."), remedy=say("Choose a token under “Replace with”.")
        )
    check_room(lab, 1)
    own = run_of(run, parent)
    sampler = playground.sampling.branches.start_branch(
        own.engine, prompt_of(own), parent, index, token_id, max_new_tokens=length
    )
    new_name = f"{parent.name}.{sum(branch.parent == parent.name for branch in lab.branches) + 1}"

    def grown() -> tuple[Branch, ...]:
        return (playground.sampling.branches.take_branch(sampler, new_name, parent, index),)

    yield from stream_branches(lab, sampler, progress, grown, index)


@PART.experiment(
    mark("Start with each of these"),
    needs=("side.columns", "side.branch", "count", "length"),
    **GROWS,
)
@on_gpu
def first_words(
    run: Run,
    progress: Progress,
    lab: Lab | None,
    name: str | int | None,
    count: int,
    length: int,
) -> Iterator[Lab]:
    """One branch for each of the most likely first tokens, with the selected column's settings."""
    lab = lab or Lab()
    settings = SamplingSettings()
    if lab.branches:
        settings = choose_branch(lab, name).trace.settings
    sampler = playground.sampling.branches.start_first_tokens(
        run.engine, prompt_of(run), count, settings, max_new_tokens=length
    )
    check_room(lab, count)
    used = sum(branch.name.startswith("W") for branch in lab.branches)
    names = [f"W{used + number + 1}" for number in range(count)]

    def grown() -> tuple[Branch, ...]:
        found: tuple[Branch, ...] = playground.sampling.branches.columns_as_branches(
            sampler.run, sampler.paths(), names
        )
        return found

    yield from stream_branches(lab, sampler, progress, grown, 0)


@PART.experiment(mark("Remove all branches"), needs=("side.columns",), **GROWS)
def clear(_run: Run, _progress: Progress, lab: Lab | None) -> Iterator[Lab]:
    """Keep only the columns."""
    lab = require_lab(lab)
    kept = tuple(branch for branch in lab.branches if branch.name in lab.names)
    if not kept:
        raise InputError(
            say("There are no columns to keep, only scored texts."),
            remedy=say("Press “Generate columns” in “Side by side”."),
        )
    yield replace(lab, branches=kept, focus=(kept[0].name, 0))
