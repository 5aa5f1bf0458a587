"""Another token at any place: its continuation grows from the cache as it was there."""

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
    choose_token,
    nothing_yet,
    prompt_of,
    read_name,
    read_step,
    require_lab,
)
from components.tabs.sampling.tree import chosen_html, tree_html
from components.views.facts import share_words
from components.views.picks import picks_html
from components.views.text import token_html
from playground.errors import InputError
from playground.language import mark, say
from playground.pipeline import Run
from playground.records import Candidate, Progress, SamplingSettings, TokenStep

if TYPE_CHECKING:
    from playground.sampling.branches import Branch

MOST_FIRST_WORDS = 8  # written as one batch

# A token to take at one place: the branch, the step from 0, and the token's id.
Alternative = tuple[str | int, int, int]


def read_alternative(raw: Any, run: Run) -> Alternative:
    """What a click on an alternative says.

    Raises:
        InputError: it is none.
    """
    if not isinstance(raw, list) or len(raw) != 3:
        raise InputError(say("The page reported no token."), remedy=say("Reload the page."))
    name, step, token_id = raw
    return read_name(name, run), read_step(step, run), read_step(token_id, run)


PART = Part(
    "branch",
    mark("Branch"),
    stage="sampling",
    intro=mark(
        "Click a token, take another one in its place, and see how the answer would have gone "
        "on. A branch starts on the keys and values that are there already: the prompt is not "
        "run again."
    ),
    controls=(
        Clicked(id="alternative", read=read_alternative),
        length_slider(),
        Number(
            id="count",
            label=mark("Likeliest first words"),
            info=mark("1 to 8, as one batch"),
            value=4,
            low=1,
            high=MOST_FIRST_WORDS,
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
    """The chosen token in a sentence."""
    if lab is None or not lab.branches:
        return nothing_yet()
    return chosen_html(*choose_token(lab, name, step))


@PART.html(needs=(*CHOSEN, "alternative"))
def alternatives(
    _run: Run,
    lab: Lab | None,
    name: str | int | None,
    step: int | None,
    alternative: Alternative | None,
) -> str:
    """Tokens to take in its place."""
    if lab is None or not lab.branches:
        return ""
    branch, index = choose_token(lab, name, step)
    options = [
        (
            Markup("{} {}").format(Markup(token_html(each.text)), share_words(each.raw_prob)),
            [branch.name, index, each.id],
        )
        for each in others_of(branch.trace.steps[index])
    ]
    taken = choose_alternative(branch, index, alternative)
    return picks_html(say("Take instead"), options, [branch.name, index, taken], "alternative")


@PART.html(needs=CHOSEN, live=True)
def tree(_run: Run, lab: Lab | None, name: str | int | None, step: int | None) -> str:
    """The branches, and what has been written of a new one."""
    if lab is None or not lab.branches:
        return ""
    if lab.is_live:
        name, step = lab.focus or (None, None)
    branch, index = choose_token(lab, name, step)
    return tree_html(lab.branches, branch.name, index)


def others_of(step: TokenStep) -> list[Candidate]:
    """What may be taken in a token's place."""
    return [each for each in step.top if each.id != step.id and each.removed_by != "vision_tokens"]


def choose_alternative(branch: Branch, index: int, clicked: Alternative | None) -> int | None:
    """The token to take: the clicked one, if that was at this place, else the likeliest."""
    others = others_of(branch.trace.steps[index])
    if clicked is not None and clicked[:2] == (branch.name, index):
        return clicked[2]
    return others[0].id if others else None


# ------------------------------------------------------------------------------------- growing


@PART.experiment(
    mark("Go on from this token"), needs=(*CHOSEN, "alternative", "length"), primary=True, **GROWS
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
    """Take the alternative, and write on; the branch grows in the tree."""
    lab = require_lab(lab)
    parent, index = choose_token(lab, name, step)
    token_id = choose_alternative(parent, index, alternative)
    if token_id is None:
        raise InputError(say("No token is chosen."), remedy=say("Choose one under “Take instead”."))
    check_room(lab, 1)
    sampler = playground.sampling.branches.start_branch(
        run.engine, prompt_of(run), parent, index, token_id, max_new_tokens=length
    )
    new_name = f"{parent.name}.{sum(each.parent == parent.name for each in lab.branches) + 1}"

    def grown() -> tuple[Branch, ...]:
        return (playground.sampling.branches.take_branch(sampler, new_name, parent, index),)

    yield from stream_branches(lab, sampler, progress, grown, index)


@PART.experiment(
    mark("Start with each of them"),
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
    """One branch for each of the likeliest first words, under the chosen column's settings."""
    lab = lab or Lab()
    settings = SamplingSettings()
    if lab.branches:
        settings = choose_branch(lab, name).trace.settings
    sampler = playground.sampling.branches.start_first_words(
        run.engine, prompt_of(run), count, settings, max_new_tokens=length
    )
    check_room(lab, count)
    used = sum(each.name.startswith("W") for each in lab.branches)
    names = [f"W{used + number + 1}" for number in range(count)]

    def grown() -> tuple[Branch, ...]:
        found: tuple[Branch, ...] = playground.sampling.branches.columns_as_branches(
            sampler.run, sampler.paths(), names
        )
        return found

    yield from stream_branches(lab, sampler, progress, grown, 0)


@PART.experiment(mark("Remove all branches"), needs=("side.columns",), **GROWS)
def clear(_run: Run, _progress: Progress, lab: Lab | None) -> Iterator[Lab]:
    """Leave the columns alone."""
    lab = require_lab(lab)
    kept = tuple(each for each in lab.branches if each.name in lab.names)
    if not kept:
        raise InputError(
            say("There are only scored texts."),
            remedy=say("Press “Write the columns” in “Side by side”."),
        )
    yield replace(lab, branches=kept, focus=(kept[0].name, 0))
