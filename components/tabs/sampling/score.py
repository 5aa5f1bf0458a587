"""Any text as the answer: the probability and the rank of each of its tokens."""

from __future__ import annotations

import html
import math
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.components.base import Component

import playground
from components.html_view import build_html_view
from components.sampling_chips import colour_legend_html, picked_chips_html, surprisal
from components.sampling_words import count_words
from components.stage_tab import App
from components.strips import visible
from components.tables import table_html
from components.tabs.sampling.branch import (
    MOST_NEW_TOKENS,
    NEW_TOKENS,
    BranchPart,
    check_room,
    show_lab,
    stream_branches,
)
from components.tabs.sampling.lab import LabStore, new_lab, prompt_of
from playground.records import Progress, SamplingSettings

if TYPE_CHECKING:
    from playground.pipeline import Run
    from playground.sampling_branches import Branch
    from playground.sampling_score import ScoredText

EXAMPLE = "There is a blue circle."


def build_score(
    app: App, store: LabStore, lab_key: gr.State, branches: BranchPart
) -> tuple[Component, ...]:
    """Build the part inside its tab; returns what a new prompt empties."""
    gr.Markdown(
        "What if the model had to write this? The text goes through the decoder as its answer: how "
        "likely was each token, and how many words were likelier?"
    )
    text = gr.Textbox(EXAMPLE, label="Text to score", lines=2, max_lines=6, max_length=8192)
    with gr.Row():
        with gr.Column(min_width=240):
            with_end = gr.Checkbox(
                True, label="And there it ends", info="Score the token that ends an answer, too."
            )
        limits = app.host.limits
        length = gr.Slider(
            1,
            limits.at_most(MOST_NEW_TOKENS),
            value=limits.at_most(NEW_TOKENS),
            step=1,
            label="Max new tokens",
            min_width=180,
        )
    with gr.Row():
        score = gr.Button("Score this text", variant="primary", min_width=160)
        go_on = gr.Button("Force it, and let the model go on", min_width=220)
    words = build_html_view()
    chips = build_html_view()
    table = build_html_view()
    drawn = (words, chips, table)
    results = [lab_key, *branches.outputs, *drawn]

    def stream_score(run: Run, progress: Progress, key: str | None, *values: Any) -> Iterator[Any]:
        yield from score_text(run, progress, store, key, *values)

    def stream_on(run: Run, progress: Progress, key: str | None, *values: Any) -> Iterator[Any]:
        yield from force_text(run, progress, store, key, *values)

    app.on_model(score.click, stream_score, [lab_key, text, with_end], results)
    app.on_model(go_on.click, stream_on, [lab_key, text, length], results)
    return drawn


def score_text(
    run: Run, progress: Progress, store: LabStore, key: str | None, text: Any, with_end: Any
) -> Iterator[tuple[Any, ...]]:
    """Score a text and add it to the tree."""
    branch, scored = _read(run, progress, store, key, text, with_end=bool(with_end))
    lab = store.find(key, run) or new_lab(run)
    check_room(lab, 1)
    whole = replace(lab, branches=(*lab.branches, branch))
    yield *show_lab(store, whole, branch.name, 0), *score_views(scored)


def force_text(
    run: Run, progress: Progress, store: LabStore, key: str | None, text: Any, length: Any
) -> Iterator[tuple[Any, ...]]:
    """Let the model go on after a text, under the first column's settings."""
    branch, scored = _read(run, progress, store, key, text, with_end=False)
    lab = store.find(key, run) or new_lab(run)
    check_room(lab, 2)
    settings = lab.branches[0].trace.settings if lab.names else SamplingSettings()
    lab = replace(lab, branches=(*lab.branches, branch))
    end = scored.num_tokens
    sampler = playground.sampling_branches.start_branch(
        run.engine, prompt_of(run), branch, end, None, max_new_tokens=length, settings=settings
    )
    name = f"{branch.name}.1"

    def grown() -> tuple[Branch, ...]:
        return (playground.sampling_branches.take_branch(sampler, name, branch, end),)

    for values in stream_branches(store, lab, sampler, progress, grown, end):
        written = sampler.run.traces[0]
        yield *values, *score_views(scored, written.steps[end:])


def _read(
    run: Run, progress: Progress, store: LabStore, key: str | None, text: Any, *, with_end: bool
) -> tuple[Branch, ScoredText]:
    """The text as a branch from the prompt, with its scores."""
    ids = playground.sampling_score.read_answer(run.engine, text, with_end=with_end)
    run.ensure("decoder", progress)
    progress("text", 0, 1)
    scored = playground.sampling_score.score_tokens(run.engine, prompt_of(run), ids)
    lab = store.find(key, run)
    taken = {each.name for each in lab.branches} if lab is not None else set()
    name = next(name for number in range(1, 99) if (name := f"T{number}") not in taken)
    branch = playground.sampling_branches.Branch(name, None, 0, scored.trace, scored.path)
    return branch, scored


def score_views(scored: ScoredText, written: Any = ()) -> tuple[str, str, str]:
    """The scores in words, as chips and as a table.

    Args:
        scored: the text.
        written: tokens that the model wrote after it.
    """
    steps = scored.trace.steps
    joint = -sum(surprisal(step) for step in steps)
    count = len(steps)
    worst = max(range(count), key=lambda index: surprisal(steps[index]))
    firsts = sum(rank == 1 for rank in scored.ranks)
    on = f" After it the model wrote {count_words(len(written), 'token')}." if written else ""
    words = (
        f"{count_words(count, 'token')} with log-probability {joint:.2f} nats: {joint / count:.2f} "
        f"a token, a perplexity of {math.exp(-joint / count):.2f}. {firsts} of them were the "
        f"model’s first choice; the least expected is “{visible(steps[worst].text)}” "
        f"({surprisal(steps[worst]):.2f} nats, rank {scored.ranks[worst]:,}).{on}"
    )
    rows = [
        (
            index + 1,
            visible(step.text),
            f"{step.prob:.2%}",
            rank,
            f"{surprisal(step):.2f}",
            f"{step.entropy:.2f}",
            f"{visible(step.top[0].text)} {step.top[0].raw_prob:.1%}",
        )
        for index, (step, rank) in enumerate(zip(steps, scored.ranks, strict=True))
    ]
    headers = (
        "Token",
        "Text",
        "Probability",
        "Rank",
        "Surprisal (nats)",
        "Entropy there (nats)",
        "Likeliest there",
    )
    chips = colour_legend_html("probability") + picked_chips_html(
        [*(replace(step, forced=False) for step in steps), *written]
    )
    return (
        f'<p class="pg-fact">{html.escape(words)}</p>',
        chips,
        table_html(headers, rows, "Every token of the text", right=(2, 4, 5)),
    )
