"""Score any text as the model's answer: the probability and the rank of each token."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import playground
from components.compute.gpu_process import on_gpu
from components.parts.controls import TextField, Toggle
from components.parts.part import Part
from components.tabs.sampling.chips import colour_legend_html, picked_chips_html, surprisal
from components.tabs.sampling.growing import GROWS, check_room, length_slider, stream_branches
from components.tabs.sampling.lab import Lab, Scored, prompt_of
from components.views.facts import count_tokens, fact_markup
from components.views.tables import Verbatim, table_html
from components.views.text import token_html, visible
from playground.language import mark, say
from playground.pipeline import Run
from playground.records import Progress
from playground.sampling.trace import SamplingSettings

if TYPE_CHECKING:
    from playground.sampling.branches import Branch
    from playground.sampling.score import ScoredText

EXAMPLE = "There is a blue circle."
MAX_CHARS = 8192  # sampling.score.MAX_SCORED_CHARS, without torch

PART = Part(
    "score",
    mark("Score a text"),
    stage="sampling",
    intro=mark(
        "How likely is this text as the model's answer? The text goes through the decoder as if "
        "the model had generated it (teacher forcing), which gives the probability and the rank "
        "of each token."
    ),
    controls=(
        TextField(
            id="text", label=mark("Text to score"), value=EXAMPLE, lines=2, max_chars=MAX_CHARS
        ),
        Toggle(
            id="with-end",
            label=mark("Include the end token"),
            info=mark("Also score the token that ends the answer."),
            value=True,
        ),
        length_slider(),
    ),
    layout=("text", ("with-end", "length"), ("score", "go_on"), "words", "chips", "table"),
)


# ------------------------------------------------------------------------------------- scoring


@PART.experiment(
    mark("Score this text"), needs=("side.columns", "text", "with-end"), primary=True, **GROWS
)
@on_gpu
def score(
    run: Run, progress: Progress, lab: Lab | None, text: str, with_end: bool
) -> Iterator[Lab]:
    """Score a text and add it to the tree."""
    lab = lab or Lab()
    branch, scored = _read(run, progress, lab, text, with_end=with_end)
    check_room(lab, 1)
    yield replace(
        lab, branches=(*lab.branches, branch), focus=(branch.name, 0), scored=Scored(scored)
    )


@PART.experiment(
    mark("Let the model continue this text"), needs=("side.columns", "text", "length"), **GROWS
)
@on_gpu
def go_on(run: Run, progress: Progress, lab: Lab | None, text: str, length: int) -> Iterator[Lab]:
    """Let the model continue a text, with the first column's settings."""
    lab = lab or Lab()
    branch, scored = _read(run, progress, lab, text, with_end=False)
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

    for found in stream_branches(lab, sampler, progress, grown, end):
        written = sampler.run.traces[0].steps[end:]
        yield replace(found, scored=Scored(scored, written))


def _read(
    run: Run, progress: Progress, lab: Lab, text: str, *, with_end: bool
) -> tuple[Branch, ScoredText]:
    """Return the text as a branch from the prompt, and its scores."""
    ids = playground.sampling.score.read_answer(run.engine, text, with_end=with_end)
    progress(say("text"), 0, 1)
    scored = playground.sampling.score.score_tokens(run.engine, prompt_of(run), ids)
    names = (f"T{number}" for number in range(1, 99))
    name = next(free for free in names if free not in lab.branch_names)
    branch = playground.sampling.branches.Branch(name, None, 0, scored.trace, scored.path)
    return branch, scored


# ------------------------------------------------------------------------------------- outputs


@PART.html(needs=("side.columns",), live=True)
def words(_run: Run, lab: Lab | None) -> str:
    """The scores in a sentence."""
    if lab is None or lab.scored is None:
        return ""
    return score_html(lab.scored.text, len(lab.scored.written))


@PART.html(needs=("side.columns",), live=True)
def chips(_run: Run, lab: Lab | None) -> str:
    """The tokens of the text, and the model's continuation."""
    if lab is None or lab.scored is None:
        return ""
    steps = (replace(step, forced=False) for step in lab.scored.text.trace.steps)
    legend = colour_legend_html("probability")
    return legend + picked_chips_html([*steps, *lab.scored.written])


@PART.html(needs=("side.columns",))
def table(_run: Run, lab: Lab | None) -> str:
    """Every token of the text with its rank."""
    if lab is None or lab.scored is None:
        return ""
    scored = lab.scored.text
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
        say("Entropy (nats)"),
        say("Most likely token"),
    )
    return table_html(headers, rows, say("Tokens of the text"), right=(2, 4, 5))


def score_html(scored: ScoredText, num_written: int) -> str:
    """The scores in a sentence, and the length of the model's continuation."""
    nats = [surprisal(step) for step in scored.trace.steps]
    mean = sum(nats) / len(nats)
    worst = max(range(len(nats)), key=nats.__getitem__)
    scores = say(
        "{tokens} with log-probability {joint:.2f} nats: {mean:.2f} per token, perplexity "
        "{perplexity:.2f}. The model ranks {firsts} of them first; the least expected is {token} "
        "({nats:.2f} nats, rank {rank:,}).",
        tokens=count_tokens(len(nats)),
        joint=-sum(nats),
        mean=-mean,
        perplexity=math.exp(mean),
        firsts=sum(rank == 1 for rank in scored.ranks),
        token=token_html(scored.trace.steps[worst].text),
        nats=nats[worst],
        rank=scored.ranks[worst],
    )
    written = ""
    if num_written:
        written = say("The model continued it with {tokens}.", tokens=count_tokens(num_written))
    return fact_markup(scores, written)
