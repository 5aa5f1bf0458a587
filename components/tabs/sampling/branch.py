"""Another token at any place: its continuation grows from the cache as it was there."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.components.base import Component

import playground
from components.charts.sampling import quote
from components.tabs.sampling.chips import TokenPicker, read_choice
from components.tabs.sampling.lab import Lab, LabStore, prompt_of
from components.tabs.sampling.one_step import build_token_slider, step_index
from components.tabs.sampling.one_step_words import share_words
from components.tabs.sampling.tree import chosen_html, tree_html
from components.tabs.stage_tab import App
from components.views.html_view import build_html_view
from playground.errors import InputError, StageCancelled
from playground.language import say
from playground.limits import Limits
from playground.records import Progress, SamplingSettings

if TYPE_CHECKING:
    from playground.pipeline import Run
    from playground.sampling.branches import Branch
    from playground.sampling.columns import Sampler

MAX_BRANCHES = 24
MIN_INTERVAL_S = 0.15
NEW_TOKENS = 32
MOST_NEW_TOKENS = 256


@dataclass(frozen=True, slots=True, eq=False)
class BranchPart:
    """The part's components."""

    branch: gr.Dropdown
    token: gr.Slider
    alternatives: gr.Radio
    chosen: gr.HTML
    tree: TokenPicker
    length: gr.Slider

    @property
    def outputs(self) -> tuple[Component, ...]:
        """What a choice of branch and token sets."""
        return (self.branch, self.token, self.alternatives, self.chosen, self.tree)


def build_branch(app: App, store: LabStore, lab_key: gr.State) -> BranchPart:
    """Build the part inside its tab."""
    gr.Markdown(
        say(
            "Click a token, take another one in its place, and see how the answer would have gone "
            "on. A branch starts on the keys and values that are there already: the prompt is not "
            "run again."
        )
    )
    with gr.Row():
        branch = gr.Dropdown([], label=say("Branch"), min_width=120)
        token = build_token_slider(say("Or click one below."))
    chosen = build_html_view()
    alternatives = gr.Radio([], label=say("Take instead"))
    with gr.Row():
        length = build_length_slider(app.host.limits)
        grow = gr.Button(say("Go on from this token"), variant="primary", min_width=180)
    with gr.Row():
        count = gr.Number(
            4,
            label=say("Likeliest first words"),
            info=say("1 to 8, as one batch"),
            min_width=180,
            step=1,
        )
        words = gr.Button(say("Start with each of them"), min_width=180)
        clear = gr.Button(say("Remove all branches"), min_width=150)
    tree = TokenPicker()
    part = BranchPart(branch, token, alternatives, chosen, tree, length)
    _wire_choice(app, store, lab_key, part)

    def stream_grow(run: Run, progress: Progress, key: str | None, *values: Any) -> Iterator[Any]:
        yield from grow_alternative(run, progress, store, key, *values)

    def stream_words(run: Run, progress: Progress, key: str | None, *values: Any) -> Iterator[Any]:
        yield from grow_first_words(run, progress, store, key, *values)

    results = [lab_key, *part.outputs]
    app.on_model(grow.click, stream_grow, [lab_key, branch, token, alternatives, length], results)
    app.on_model(words.click, stream_words, [lab_key, branch, count, length], results)

    def prune(run: Run, key: str | None) -> tuple[Any, ...]:
        lab = store.get(key, run)
        kept = tuple(each for each in lab.branches if each.name in lab.names)
        if not kept:
            raise InputError(
                say("There are only scored texts."), remedy=say("Press “Run this stage” first.")
            )
        return show_lab(store, replace(lab, branches=kept), kept[0].name, 0)

    app.on_view(clear.click, prune, [lab_key], results)
    return part


def build_length_slider(limits: Limits) -> gr.Slider:
    """How long what grows may get."""
    return gr.Slider(
        1,
        limits.at_most(MOST_NEW_TOKENS),
        value=limits.at_most(NEW_TOKENS),
        step=1,
        label=say("Max new tokens"),
        min_width=180,
    )


def _wire_choice(app: App, store: LabStore, lab_key: gr.State, part: BranchPart) -> None:
    def move(run: Run, key: str | None, name: str, token: Any) -> tuple[Any, ...]:
        lab = store.get(key, run)
        return branch_values(lab, name, step_index(lab.branch(name), token))

    for control in (part.branch, part.token):
        app.on_view(control.input, move, [lab_key, part.branch, part.token], part.outputs)

    def pick(run: Run, event: gr.EventData, key: str | None) -> tuple[Any, ...]:
        name, step = read_choice(event._data)
        return move(run, key, name, step + 1)

    app.on_choice(part.tree.select, pick, [lab_key], part.outputs)


# -------------------------------------------------------------------------------- what is shown


def branch_values(lab: Lab, name: str, index: int) -> tuple[Any, ...]:
    """All outputs of the part with one token chosen."""
    branch = lab.branch(name)
    step = branch.trace.steps[index]
    others = [
        each for each in step.top if each.id != step.id and each.removed_by != "vision_tokens"
    ]
    choices = [(f"{quote(each.text)} {share_words(each.raw_prob)}", each.id) for each in others]
    return (
        gr.Dropdown(choices=[each.name for each in lab.branches], value=name),
        gr.Slider(maximum=max(2, len(branch.trace.steps)), value=index + 1),
        gr.Radio(choices=choices, value=others[0].id if others else None),
        chosen_html(branch, index),
        tree_html(lab.branches, name, index),
    )


def show_lab(store: LabStore, lab: Lab, name: str, index: int) -> tuple[Any, ...]:
    """Keep a lab, and choose a token of it: the lab's key and all outputs of the part."""
    return store.add(lab), *branch_values(lab, name, index)


# ------------------------------------------------------------------------------------- growing


def grow_alternative(
    run: Run,
    progress: Progress,
    store: LabStore,
    key: str | None,
    name: str,
    token: Any,
    alternative: Any,
    length: Any,
) -> Iterator[tuple[Any, ...]]:
    """Take the alternative, and write on; the branch grows in the tree."""
    lab = store.get(key, run)
    parent = lab.branch(name)
    index = step_index(parent, token)
    if isinstance(alternative, bool) or not isinstance(alternative, int):
        raise InputError(say("No token is chosen."), remedy=say("Choose one under “Take instead”."))
    check_room(lab, 1)
    sampler = playground.sampling.branches.start_branch(
        run.engine, prompt_of(run), parent, index, alternative, max_new_tokens=length
    )
    new_name = f"{name}.{sum(each.parent == name for each in lab.branches) + 1}"

    def grown() -> tuple[Branch, ...]:
        return (playground.sampling.branches.take_branch(sampler, new_name, parent, index),)

    yield from stream_branches(store, lab, sampler, progress, grown, index)


def grow_first_words(
    run: Run,
    progress: Progress,
    store: LabStore,
    key: str | None,
    name: Any,
    count: Any,
    length: Any,
) -> Iterator[tuple[Any, ...]]:
    """One branch for each of the likeliest first words, under the chosen column's settings."""
    run.ensure("decoder", progress)
    lab = store.get(key, run)
    settings = lab.branch(name).trace.settings if name else SamplingSettings()
    sampler = playground.sampling.branches.start_first_words(
        run.engine, prompt_of(run), count, settings, max_new_tokens=length
    )
    check_room(lab, int(count))
    used = sum(each.name.startswith("W") for each in lab.branches)
    names = [f"W{used + number + 1}" for number in range(int(count))]

    def grown() -> tuple[Branch, ...]:
        found: tuple[Branch, ...] = playground.sampling.branches.columns_as_branches(
            sampler.run, sampler.paths(), names
        )
        return found

    yield from stream_branches(store, lab, sampler, progress, grown, 0)


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
    store: LabStore,
    lab: Lab,
    sampler: Sampler,
    progress: Progress,
    grown: Any,
    index: int,
) -> Iterator[tuple[Any, ...]]:
    """Write, showing the tree as it grows; what was written before a stop stays."""
    shown = time.perf_counter()
    cancelled: StageCancelled | None = None
    try:
        for _ in sampler.stream(progress):
            if time.perf_counter() - shown >= MIN_INTERVAL_S:
                added = grown()
                tree = tree_html((*lab.branches, *added), added[0].name, index)
                yield (*(gr.skip() for _ in range(5)), tree)
                shown = time.perf_counter()
    except StageCancelled as stop:
        cancelled = stop
    if any(trace.steps for trace in sampler.run.traces):
        added = grown()
        if added and len(added[0].trace.steps) > index:
            whole = replace(lab, branches=(*lab.branches, *added))
            yield show_lab(store, whole, added[0].name, index)
    if cancelled is not None:
        raise cancelled
