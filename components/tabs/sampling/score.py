"""Any text as the answer: the probability and the rank of each of its tokens."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.components.base import Component

import playground
from components.tabs.sampling.branch import (
    BranchPart,
    build_length_slider,
    check_room,
    show_lab,
    stream_branches,
)
from components.tabs.sampling.chips import (
    TokenPicker,
    colour_legend_html,
    picked_chips_html,
    surprisal,
)
from components.tabs.sampling.lab import LabStore, new_lab, prompt_of
from components.tabs.sampling.words import count_tokens, token_html
from components.tabs.stage_tab import App
from components.views.html_view import build_html_view
from components.views.strips import visible
from components.views.tables import Verbatim, table_html
from playground.language import say
from playground.records import Progress, SamplingSettings

if TYPE_CHECKING:
    from playground.pipeline import Run
    from playground.records import TokenStep
    from playground.sampling.branches import Branch
    from playground.sampling.score import ScoredText

EXAMPLE = "There is a blue circle."


def build_score(
    app: App, store: LabStore, lab_key: gr.State, branches: BranchPart
) -> tuple[Component, ...]:
    """Build the part inside its tab; returns what a new prompt empties."""
    gr.Markdown(
        say(
            "What if the model had to write this? The text goes through the decoder as its answer: "
            "how likely was each token, and how many words were likelier?"
        )
    )
    text = gr.Textbox(EXAMPLE, label=say("Text to score"), lines=2, max_lines=6, max_length=8192)
    with gr.Row():
        with gr.Column(min_width=240):
            with_end = gr.Checkbox(
                True,
                label=say("And there it ends"),
                info=say("Score the token that ends an answer, too."),
            )
        length = build_length_slider(app.host.limits)
    with gr.Row():
        score = gr.Button(say("Score this text"), variant="primary", min_width=160)
        go_on = gr.Button(say("Force it, and let the model go on"), min_width=220)
    words = build_html_view()
    chips = TokenPicker()
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
    sampler = playground.sampling.branches.start_branch(
        run.engine, prompt_of(run), branch, end, None, max_new_tokens=length, settings=settings
    )
    name = f"{branch.name}.1"

    def grown() -> tuple[Branch, ...]:
        return (playground.sampling.branches.take_branch(sampler, name, branch, end),)

    for values in stream_branches(store, lab, sampler, progress, grown, end):
        written = sampler.run.traces[0]
        yield *values, *score_views(scored, written.steps[end:])


def _read(
    run: Run, progress: Progress, store: LabStore, key: str | None, text: Any, *, with_end: bool
) -> tuple[Branch, ScoredText]:
    """The text as a branch from the prompt, with its scores."""
    ids = playground.sampling.score.read_answer(run.engine, text, with_end=with_end)
    run.ensure("decoder", progress)
    progress(say("text"), 0, 1)
    scored = playground.sampling.score.score_tokens(run.engine, prompt_of(run), ids)
    lab = store.find(key, run)
    taken = {each.name for each in lab.branches} if lab is not None else set()
    name = next(name for number in range(1, 99) if (name := f"T{number}") not in taken)
    branch = playground.sampling.branches.Branch(name, None, 0, scored.trace, scored.path)
    return branch, scored


def score_views(scored: ScoredText, written: Sequence[TokenStep] = ()) -> tuple[str, str, str]:
    """The scores in words, as chips and as a table.

    Args:
        scored: the text.
        written: tokens that the model wrote after it.
    """
    steps = scored.trace.steps
    rows = [
        (
            index + 1,
            Verbatim(visible(step.text)),
            f"{step.prob:.2%}",
            rank,
            f"{surprisal(step):.2f}",
            f"{step.entropy:.2f}",
            Verbatim(f"{visible(step.top[0].text)} {step.top[0].raw_prob:.1%}"),
        )
        for index, (step, rank) in enumerate(zip(steps, scored.ranks, strict=True))
    ]
    headers = (
        say("Token"),
        say("Text"),
        say("Probability"),
        say("Rank"),
        say("Surprisal (nats)"),
        say("Entropy there (nats)"),
        say("Likeliest there"),
    )
    chips = colour_legend_html("probability") + picked_chips_html(
        [*(replace(step, forced=False) for step in steps), *written]
    )
    return (
        score_html(scored, len(written)),
        chips,
        table_html(headers, rows, say("Every token of the text"), right=(2, 4, 5)),
    )


def score_html(scored: ScoredText, num_written: int) -> str:
    """The scores in a sentence, and how much the model wrote after the text."""
    nats = [surprisal(step) for step in scored.trace.steps]
    mean = sum(nats) / len(nats)
    worst = max(range(len(nats)), key=nats.__getitem__)
    words = say(
        "{tokens} with log-probability {joint:.2f} nats: {mean:.2f} a token, a perplexity of "
        "{perplexity:.2f}. {firsts} of them were the model’s first choice; the least expected is "
        "{token} ({nats:.2f} nats, rank {rank:,}).",
        tokens=count_tokens(len(nats)),
        joint=-sum(nats),
        mean=-mean,
        perplexity=math.exp(mean),
        firsts=sum(rank == 1 for rank in scored.ranks),
        token=token_html(scored.trace.steps[worst].text),
        nats=nats[worst],
        rank=scored.ranks[worst],
    )
    if num_written:
        words += " " + say("After it the model wrote {tokens}.", tokens=count_tokens(num_written))
    return f'<p class="pg-fact">{words}</p>'
