"""Thinking: how likely the answer is when the thinking is cut after every n tokens."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import plotly.graph_objects as go

import playground
from components.charts.sampling_thinking import plot_curve
from components.compute.gpu_process import on_gpu
from components.parts.compound_controls import Clicked
from components.parts.controls import Number
from components.parts.part import Part
from components.tabs.sampling.lab import Lab, nothing_yet, prompt_of, read_name
from components.tabs.sampling.presets import can_think
from components.tabs.sampling.sections import read_sections
from components.views.facts import fact_html
from components.views.picks import picks_html
from playground.errors import InputError
from playground.language import mark, say
from playground.pipeline import Run
from playground.records import Progress

if TYPE_CHECKING:
    from playground.experiments.thinking import ThinkingCurve
    from playground.sampling.branches import Branch

MOST_ANSWER = 256  # tokens that are scored; experiments.thinking.MAX_ANSWER, without torch
EMPTY = mark("Press “Cut the thinking” to draw this chart.")

PART = Part(
    "thinking",
    mark("Thinking"),
    stage="sampling",
    intro=mark(
        "When did the model make up its mind? The thinking of a column is cut after every n "
        "tokens and closed with </think>, and the column's own answer is scored after it. Give a "
        "column a thinking budget in “Side by side” to cut it while it is generated."
    ),
    controls=(
        Clicked(id="source", read=read_name),
        Number(
            id="interval",
            label=mark("Cut after every"),
            info=mark("tokens; leave it empty for about 64 cuts"),
            low=1,
            high=1_000_000,
        ),
    ),
    layout=("sources", ("interval",), ("cut",), "words", "curve"),
    shown=can_think,
    absent=mark(
        "This checkpoint does not think: its chat template has no <think> and </think>. A "
        "checkpoint such as Qwen3-VL-2B-Thinking does."
    ),
)


@dataclass(frozen=True, slots=True, eq=False)
class CurveSoFar:
    """A curve so far, and whose answer it is."""

    name: str
    curve: ThinkingCurve


@dataclass(frozen=True, slots=True)
class Thought:
    """The tokens of a branch that has finished its thinking."""

    name: str
    thinking_ids: tuple[int, ...]
    answer_ids: tuple[int, ...]


def finished_thoughts(run: Run, lab: Lab | None) -> dict[str, Thought]:
    """The branches with thinking and an answer, by name."""
    found = {}
    for branch in lab.branches if lab is not None else ():
        thought = _read_thought(run, branch)
        if thought is not None:
            found[branch.name] = thought
    return found


def _read_thought(run: Run, branch: Branch) -> Thought | None:
    sections = read_sections(run, branch.trace)
    if sections is None or sections.split.thinking is None:
        return None
    ids = [step.id for step in branch.trace.steps]
    start, end = sections.split.answer
    if branch.trace.finish_reason == "stop":
        end -= 1
    # The white space after </think> is not part of the answer.
    while start < end and not branch.trace.steps[start].text.strip():
        start += 1
    answer = tuple(ids[start:end][:MOST_ANSWER])
    first, last = sections.split.thinking
    return Thought(branch.name, tuple(ids[first:last]), answer) if answer else None


def choose_thought(run: Run, lab: Lab | None, name: str | int | None) -> Thought | None:
    """The chosen branch's, or the first one's."""
    found = finished_thoughts(run, lab)
    if name not in found:
        name = next(iter(found), None)
    return None if name is None else found[str(name)]


@PART.html(needs=("side.columns", "source"))
def sources(run: Run, lab: Lab | None, name: str | int | None) -> str:
    """Choice among the branches that have finished their thinking."""
    if lab is None or not lab.branches:
        return nothing_yet()
    chosen = choose_thought(run, lab, name)
    if chosen is None:
        return fact_html(
            say("No column has finished its thinking and begun an answer."),
            say("Allow more tokens, or set a thinking budget."),
        )
    options = [(each, each) for each in finished_thoughts(run, lab)]
    return picks_html(say("Answer of"), options, chosen.name, "source")


@PART.experiment(
    mark("Cut the thinking"), needs=("side.columns", "source", "interval"), primary=True
)
@on_gpu
def cut(
    run: Run, progress: Progress, lab: Lab | None, name: str | int | None, every: int | None
) -> Iterator[CurveSoFar]:
    """Score the answer after every n thinking tokens."""
    thought = choose_thought(run, lab, name)
    if thought is None:
        raise InputError(
            say("No column has finished its thinking and begun an answer."),
            remedy=say("Allow more tokens, or set a thinking budget."),
        )
    curves = playground.experiments.thinking.stream_thinking_curve(
        run.engine,
        prompt_of(run),
        thought.thinking_ids,
        thought.answer_ids,
        every=every,
        progress=progress,
    )
    for curve in curves:
        yield CurveSoFar(thought.name, curve)


@PART.html(needs=("cut",), live=True)
def words(_run: Run, found: CurveSoFar | None) -> str:
    """From when on the answer is likely."""
    if found is None:
        return ""
    curve = found.curve
    last = curve.cuts[-1]
    if last.num_thinking < curve.num_thinking:
        return fact_html(say("{count} cuts so far …", count=len(curve.cuts)))
    settled = curve.settled_at
    if settled is None:
        return fact_html(
            say(
                "Even after all {count:,} thinking tokens, the answer of {name} is less likely "
                "than not.",
                count=curve.num_thinking,
                name=found.name,
            )
        )
    return fact_html(
        say(
            "From {settled:,} of {count:,} thinking tokens on, the answer of {name} is always "
            "more likely than not.",
            settled=settled,
            count=curve.num_thinking,
            name=found.name,
        )
    )


@PART.chart(mark("The answer's probability"), needs=("cut",), empty=EMPTY)
def curve(_run: Run, found: CurveSoFar | None) -> go.Figure | None:
    """The answer's probability when the thinking is cut."""
    return None if found is None else plot_curve(found.curve)
