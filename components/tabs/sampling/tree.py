"""The branches as a tree of texts, and the chosen token in a sentence."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

import playground
from components.charts.sampling import filter_name, quote
from components.sampling_chips import MAX_TITLES, picked_chips_html
from components.sampling_words import ENDINGS, count_words
from components.strips import visible

if TYPE_CHECKING:
    from playground.sampling_branches import Branch


def chosen_html(branch: Branch, index: int) -> str:
    """The chosen token in a sentence."""
    step = branch.trace.steps[index]
    raw = playground.sampling_branches.raw_prob(step)
    removed = [each for each in step.top if each.removed_by and each.id != step.id]
    cuts = "; ".join(
        f"{quote(each.text)} was removed by the {filter_name(each.removed_by)}"
        for each in removed[:3]
    )
    words = (
        f"Token {index + 1} of {branch.name} is {quote(step.text)}, {raw:.1%} before the filters. "
        "Others that could stand in its place, with their probabilities before the filters:"
    )
    note = f" ({cuts}; a branch may take them all the same.)" if cuts else ""
    return f'<p class="pg-fact">{html.escape(words + note)}</p>'


def tree_html(branches: tuple[Branch, ...], name: str, index: int) -> str:
    """The branches as a list of lists, each with its joint log-probability."""
    titled = sum(len(each.trace.steps) - each.fork for each in branches) <= MAX_TITLES
    roots = "".join(
        _node_html(branches, each, name, index, titled) for each in branches if each.parent is None
    )
    return f'<ul class="pg-tree" aria-label="Branches">{roots}</ul>'


def _node_html(
    branches: tuple[Branch, ...], branch: Branch, name: str, index: int, titled: bool
) -> str:
    steps = branch.trace.steps
    joint = playground.sampling_branches.joint_log_prob(steps)
    facts = [f"log-probability {joint:.2f} nats", count_words(len(steps), "token")]
    facts.append(ENDINGS[branch.trace.finish_reason])
    if branch.parent is not None:
        facts.insert(0, f"leaves {branch.parent} at token {branch.fork + 1}")
    before = "".join(visible(step.text) for step in steps[: branch.fork]).replace("␣", " ")
    shared = f"<span>… {html.escape(before[-28:])}</span>" if before else ""
    mark = index if branch.name == name else None
    chips = picked_chips_html(steps, first=branch.fork, mark=mark, titled=titled)
    children = "".join(
        _node_html(branches, each, name, index, titled)
        for each in branches
        if each.parent == branch.name
    )
    inner = f"<ul>{children}</ul>" if children else ""
    chosen = " pg-on" if branch.name == name else ""
    return (
        f'<li><div class="pg-branch{chosen}" data-branch="{html.escape(branch.name)}">'
        f'<div class="pg-branch-head"><strong>{html.escape(branch.name)}</strong>'
        f"<span>{html.escape(' · '.join(facts))}</span>{shared}</div>{chips}</div>{inner}</li>"
    )
