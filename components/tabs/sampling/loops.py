"""Loops: how a repeated stretch locks in, and which setting breaks it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import plotly.graph_objects as go

import playground
from components.charts.sampling_loops import plot_rounds
from components.compute.gpu_process import on_gpu
from components.parts.compound_controls import Clicked
from components.parts.controls import Slider, TextField
from components.parts.part import Heading, Part, Text
from components.tabs.sampling.chips import MAX_TITLES, colour_legend_html, picked_chips_html
from components.tabs.sampling.lab import Lab, prompt_of, read_name
from components.tabs.sampling.looping import (
    count_given,
    find_own_loop,
    loop_legend_html,
    loop_words,
    round_text,
)
from components.tabs.sampling.loops_words import (
    BrokenSoFar,
    cost_table_html,
    outcome_html,
    outcome_table_html,
)
from components.views.facts import fact_html, fact_markup
from components.views.picks import picks_html
from playground.errors import InputError, StageCancelled
from playground.language import mark, say
from playground.pipeline import Run
from playground.records import Progress
from playground.sampling.loops import split_rounds
from playground.sampling.trace import SamplingSettings, SamplingTrace

if TYPE_CHECKING:
    from playground.sampling.loops import Loop

# The shipped checkpoint goes on from it in a loop that some of the settings do not stop.
START = "red and " * 30
GREEDY = SamplingSettings(temperature=0.0)
TYPED = "text"  # the source that is no column or branch
MAX_CHARS = 8192  # sampling.score.MAX_SCORED_CHARS, without torch
NEW_TOKENS = 64
MOST_NEW_TOKENS = 256
OWN_TOKENS = 64  # of the reference answer
MIN_INTERVAL_S = 0.15
EMPTY = mark("There is no loop to draw.")

PART = Part(
    "loops",
    mark("Loops"),
    stage="sampling",
    intro=mark(
        "Why does a model repeat itself? Each round is one more example in the context, so the "
        "next one becomes more likely: the loop locks in. A column of “Side by side” that ends in "
        "a loop can be chosen here. Or start the answer with a text that repeats, and let the "
        "model go on greedily."
    ),
    controls=(
        TextField(
            id="text", label=mark("Start of the answer"), value=START, lines=2, max_chars=MAX_CHARS
        ),
        Slider(
            id="length",
            label=mark("Max new tokens"),
            low=1,
            high=lambda run: run.engine.limits.at_most(MOST_NEW_TOKENS),
            value=NEW_TOKENS,
        ),
        Clicked(id="source", read=read_name),
        TextField(
            id="reference",
            label=mark("Text that rightly repeats"),
            info=mark("Empty: the model's own greedy answer to this prompt, twice."),
            lines=2,
            max_chars=MAX_CHARS,
        ),
    ),
    layout=(
        ("text", "length"),
        ("start",),
        "sources",
        "words",
        "tokens",
        "rounds",
        Heading(mark("Break it here")),
        Text(
            mark(
                "The same state, the second round of the loop, under one setting at a time: each "
                "penalty, an n-gram ban and sampling; then once more with the visual tokens "
                "masked. Whatever stops a loop also changes texts that rightly repeat, such as a "
                "table, so each setting is scored on such a text, too."
            )
        ),
        ("reference",),
        ("broken",),
        "outcome",
        "outcomes",
        "costs",
    ),
)
SOURCE = ("side.columns", "start", "source")


# ------------------------------------------------------------------------------------- the loop


@PART.experiment(
    mark("Start the answer with this text"),
    needs=("text", "length"),
    auto=True,
    early=False,
    afterwards={"source": None},
)
@on_gpu
def start(run: Run, progress: Progress, text: str, length: int) -> Iterator[SamplingTrace]:
    """Let the model continue the text greedily."""
    sampler = playground.sampling.branches.start_from_text(
        run.engine, prompt_of(run), text, GREEDY, max_new_tokens=length
    )
    shown = time.perf_counter()
    cancelled: StageCancelled | None = None
    try:
        for sampled in sampler.stream(progress):
            if time.perf_counter() - shown >= MIN_INTERVAL_S:
                yield sampled.traces[0]
                shown = time.perf_counter()
    except StageCancelled as stop:
        cancelled = stop  # keep what was generated so far
    yield sampler.run.traces[0]
    if cancelled is not None:
        raise cancelled


def choose_source(
    lab: Lab | None, typed: SamplingTrace | None, name: str | int | None
) -> tuple[str, SamplingTrace] | None:
    """The chosen branch or the typed text, and its tokens.

    Args:
        lab: the columns and branches.
        typed: the text with its continuation.
        name: of a branch, or ``TYPED``; None for the typed text, or without it for the first
            branch that loops.
    """
    found = _sources(lab, typed)
    if name not in found:
        name = next(iter(found), None)
    return None if name is None else (str(name), found[name])


def _sources(lab: Lab | None, typed: SamplingTrace | None) -> dict[str | int, SamplingTrace]:
    """The typed text, and the branches that loop, by name."""
    found: dict[str | int, SamplingTrace] = {} if typed is None else {TYPED: typed}
    for branch in lab.branches if lab is not None else ():
        if find_own_loop(branch.trace) is not None:
            found[branch.name] = branch.trace
    return found


def _choose_loop(
    lab: Lab | None, typed: SamplingTrace | None, name: str | int | None
) -> tuple[SamplingTrace, Loop] | None:
    """The chosen tokens and their loop; None without one."""
    chosen = choose_source(lab, typed, name)
    loop = None if chosen is None else find_own_loop(chosen[1])
    return None if chosen is None or loop is None else (chosen[1], loop)


def source_name(name: str) -> str:
    """``Column A``, or that the text was typed."""
    return say("typed text") if name == TYPED else name


@PART.html(needs=SOURCE)
def sources(_run: Run, lab: Lab | None, typed: SamplingTrace | None, name: str | int | None) -> str:
    """Choice among the typed text and the branches that loop."""
    found = _sources(lab, typed)
    chosen = choose_source(lab, typed, name)
    if chosen is None or len(found) < 2:
        return ""
    options = [(source_name(str(each)), each) for each in found]
    return picks_html(say("Loop of"), options, chosen[0], "source")


@PART.html(needs=SOURCE)
def words(_run: Run, lab: Lab | None, typed: SamplingTrace | None, name: str | int | None) -> str:
    """The loop in a sentence."""
    chosen = choose_source(lab, typed, name)
    if chosen is None:
        return ""
    found = _choose_loop(lab, typed, name)
    if found is None:
        return fact_html(
            say("The model has not repeated itself here."),
            say("Start the answer with a longer repetition, or allow more tokens."),
        )
    trace, loop = found
    rounds = split_rounds(loop, [step.raw_log_prob for step in trace.steps])
    locks = say(
        "Its first round has {first:.2f} nats per token, its last {last:.2f}.",
        first=rounds[0].mean_log_prob,
        last=rounds[-1].mean_log_prob,
    )
    return fact_markup(loop_words(trace, loop), locks)


@PART.html(needs=SOURCE, live=True)
def tokens(_run: Run, lab: Lab | None, typed: SamplingTrace | None, name: str | int | None) -> str:
    """The tokens, with the loop marked."""
    chosen = choose_source(lab, typed, name)
    if chosen is None:
        return ""
    steps = chosen[1].steps
    loop = find_own_loop(chosen[1])
    chips = picked_chips_html(steps, titled=len(steps) <= MAX_TITLES, loop=loop)
    legend = loop_legend_html() if loop is not None else ""
    return colour_legend_html("probability") + chips + legend


@PART.chart(mark("Log-probability of each round"), needs=SOURCE, empty=EMPTY)
def rounds(
    _run: Run, lab: Lab | None, typed: SamplingTrace | None, name: str | int | None
) -> go.Figure | None:
    """How sure the model is of each round."""
    found = _choose_loop(lab, typed, name)
    if found is None:
        return None
    trace, loop = found
    parts = split_rounds(loop, [step.raw_log_prob for step in trace.steps])
    texts = [round_text(trace, part.start, part.num_tokens) for part in parts]
    return plot_rounds(parts, texts, count_given(trace))


# ------------------------------------------------------------------------------------- breaking


@PART.experiment(mark("Break this loop"), needs=(*SOURCE, "length", "reference"), primary=True)
@on_gpu
def broken(
    run: Run,
    progress: Progress,
    lab: Lab | None,
    typed: SamplingTrace | None,
    name: str | int | None,
    length: int,
    reference: str,
) -> Iterator[BrokenSoFar]:
    """Continue from the loop's second round under each setting, and score a text under each."""
    chosen = choose_source(lab, typed, name)
    loop = None if chosen is None else find_own_loop(chosen[1])
    if chosen is None or loop is None:
        raise InputError(
            say("There is no loop to break."),
            remedy=say("Start the answer with a longer repetition, or choose a column that loops."),
        )
    source, trace = chosen
    began = time.perf_counter()
    ids = read_reference(run, reference, progress)
    text = run.engine.tokenizer.decode(ids)
    loops = playground.experiments.loops
    for rows in loops.stream_broken_loops(
        run.engine,
        run.inputs,
        run.merged,
        run.decoded,
        steps=trace.steps,
        loop=loop,
        planned=loops.plan_remedies(trace.settings),
        reference_ids=ids,
        max_new_tokens=length,
        progress=progress,
    ):
        yield BrokenSoFar(source_name(source), text, rows, time.perf_counter() - began)


def read_reference(run: Run, text: str, progress: Progress) -> list[int]:
    """The tokens of the reference text; without one, the model's own greedy answer twice."""
    if text.strip():
        ids: list[int] = playground.sampling.score.read_answer(run.engine, text)
        return ids
    prompt = prompt_of(run)
    sampler = playground.sampling.columns.Sampler(
        run.engine,
        prompt,
        [GREEDY],
        max_new_tokens=run.engine.limits.at_most(OWN_TOKENS),
        top=1,
    )
    for _ in sampler.stream(progress):
        pass
    trace = sampler.run.traces[0]
    ids = [step.id for step in trace.steps]
    if trace.finish_reason == "stop":
        ids.pop()
    room = playground.sampling.paths.room_in_window(run.engine, prompt)
    return ids[: room // 2] * 2


@PART.html(needs=("broken",), live=True)
def outcome(_run: Run, found: BrokenSoFar | None) -> str:
    """Which settings stop the loop."""
    return "" if found is None else outcome_html(found)


@PART.html(needs=("broken",), live=True)
def outcomes(_run: Run, found: BrokenSoFar | None) -> str:
    """How the text goes on under each setting."""
    return "" if found is None else outcome_table_html(found)


@PART.html(needs=("broken",))
def costs(_run: Run, found: BrokenSoFar | None) -> str:
    """What each setting costs on the reference text."""
    return "" if found is None else cost_table_html(found)
