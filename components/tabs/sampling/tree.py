"""The branches as a tree of texts, and the selected token in a sentence."""

from __future__ import annotations

import html
import json
from typing import TYPE_CHECKING

import playground
from components.charts.sampling import filter_name
from components.tabs.sampling.chips import MAX_TITLES, picked_chips_html
from components.tabs.sampling.words import ENDINGS
from components.views.facts import count_tokens, fact_markup
from components.views.text import flowing, token_html, verbatim_html
from playground.language import say

if TYPE_CHECKING:
    from playground.sampling.branches import Branch
    from playground.sampling.trace import Candidate


def chosen_html(branch: Branch, index: int) -> str:
    """The selected token in a sentence."""
    step = branch.trace.steps[index]
    removed = [
        candidate for candidate in step.top if candidate.removed_by and candidate.id != step.id
    ]
    chosen = say(
        "Token {number} of {branch} is {token} ({raw:.1%} before the filters). Alternatives, with "
        "their probabilities before the filters:",
        number=index + 1,
        branch=branch.name,
        token=token_html(step.text),
        raw=step.raw_prob,
    )
    cuts = say("({cuts}; a branch can still use them.)", cuts=_cuts(removed)) if removed else ""
    return fact_markup(chosen, cuts)


def _cuts(removed: list[Candidate]) -> str:
    return say("; ").join(
        say(
            "{token} was removed by {filter}",
            token=token_html(candidate.text),
            filter=filter_name(candidate.removed_by),
        )
        for candidate in removed[:3]
    )


def tree_html(branches: tuple[Branch, ...], name: str, index: int) -> str:
    """The branches as nested lists, each with its joint log-probability."""
    titled = sum(len(branch.trace.steps) - branch.fork for branch in branches) <= MAX_TITLES
    roots = "".join(
        _node_html(branches, branch, name, index, titled)
        for branch in branches
        if branch.parent is None
    )
    return f'<ul class="pg-tree" aria-label="{say("Branches")}">{roots}</ul>'


def _node_html(
    branches: tuple[Branch, ...], branch: Branch, name: str, index: int, titled: bool
) -> str:
    steps = branch.trace.steps
    joint = playground.sampling.branches.joint_log_prob(steps)
    facts = [
        say("log-probability {joint:.2f} nats", joint=joint),
        count_tokens(len(steps)),
        say(ENDINGS[branch.trace.finish_reason]),
    ]
    if branch.parent is not None:
        leaves = say(
            "branches from {parent} at token {number}", parent=branch.parent, number=branch.fork + 1
        )
        facts.insert(0, leaves)
    before = "".join(flowing(step.text) for step in steps[: branch.fork])
    shared = verbatim_html(f"… {before[-28:]}") if before else ""
    marked = index if branch.name == name else None
    chips = picked_chips_html(
        steps, first=branch.fork, marked=marked, titled=titled, sets="side.step"
    )
    children = "".join(
        _node_html(branches, child, name, index, titled)
        for child in branches
        if child.parent == branch.name
    )
    inner = f"<ul>{children}</ul>" if children else ""
    chooses = html.escape(json.dumps({"side.branch": branch.name}))
    chosen = " pg-on" if branch.name == name else ""
    return (
        f'<li><div class="pg-branch{chosen}" data-set="{chooses}">'
        f'<div class="pg-branch-head"><strong>{html.escape(branch.name)}</strong>'
        f"<span>{html.escape(' · '.join(facts))}</span>{shared}</div>{chips}</div>{inner}</li>"
    )
