"""Sweep one setting over a range: the answers and how often they occur."""

from __future__ import annotations

import html
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import plotly.graph_objects as go

import playground
from components.charts.sampling_sweep import (
    plot_answers,
    plot_lengths,
    plot_sweep_entropy,
)
from components.compute.gpu_process import on_gpu
from components.parts.compound_controls import Clicked
from components.parts.controls import Choice, Number
from components.parts.part import Part
from components.tabs.sampling.lab import Lab, choose_branch, prompt_of, read_name
from components.tabs.sampling.presets import setting_name
from components.views.facts import fact_html, fact_markup
from components.views.picks import picks_html
from components.views.tables import Verbatim, table_html
from components.views.text import flowing
from playground.errors import StageCancelled
from playground.language import mark, say
from playground.pipeline import Run
from playground.records import Progress
from playground.sampling.settings import LIMITS
from playground.sampling.trace import SamplingSettings

if TYPE_CHECKING:
    from playground.sampling.sweep import Sweep

RANGES: dict[str, tuple[float, float]] = {
    "temperature": (0, 2),
    "top_k": (1, 50),
    "top_p": (0.1, 1),
    "min_p": (0, 0.5),
    "typical_p": (0.1, 1),
    "repetition_penalty": (0.8, 1.6),
    "frequency_penalty": (-1, 2),
    "presence_penalty": (-1, 2),
    "no_repeat_ngram_size": (0, 6),
}
NOT_SWEPT = {"seed", "thinking_budget"}
assert RANGES.keys() == LIMITS.keys() - NOT_SWEPT
MAX_ROWS = 40
MOST = 16  # values, and answers per value; as in sampling.sweep, without torch
EMPTY = mark("Press “Sweep” to draw this chart.")
NEW_TOKENS = 24
MOST_NEW_TOKENS = 256  # sampling_sweep.MAX_SWEEP_TOKENS, without torch

LENGTH = Number(
    id="length",
    label=mark("Max new tokens"),
    value=lambda run: run.engine.limits.at_most(NEW_TOKENS),
    low=1,
    high=lambda run: run.engine.limits.at_most(MOST_NEW_TOKENS),
)
PART = Part(
    "sweep",
    mark("Sweep"),
    stage="sampling",
    intro=mark(
        "Vary one setting over a range. The model generates several answers at each value, always "
        "with the same seeds; all other settings come from the selected column."
    ),
    controls=(
        Choice(
            id="parameter",
            label=mark("Setting"),
            options=lambda _run: [(setting_name(name), name) for name in RANGES],
            compact=True,
        ),
        # Empty fields stand for the whole range of the setting.
        Number(id="low", label=mark("From"), step=0.1, whole=False, follows=("parameter",)),
        Number(id="high", label=mark("To"), step=0.1, whole=False, follows=("parameter",)),
        Number(id="values", label=mark("Values"), value=6, low=1, high=MOST),
        Number(id="samples", label=mark("Answers per value"), value=8, low=1, high=MOST),
        LENGTH,
        Clicked(id="base", read=read_name),
    ),
    layout=(
        ("parameter", "low", "high", "values", "samples", "length"),
        "plan",
        ("sweep",),
        "words",
        "answers",
        ("lengths", "entropy"),
        "table",
    ),
)


@dataclass(frozen=True, slots=True, eq=False)
class SweepSoFar:
    """A sweep so far."""

    sweep: Sweep
    column: str  # column that gives the other settings; empty for neutral settings
    seconds: float | None = None  # None while it is running


@PART.html(needs=("parameter", "side.columns", "base"))
def plan(_run: Run, parameter: str, lab: Lab | None, base: str | int | None) -> str:
    """Choice of the column that gives the other settings; also sets the default range."""
    low, high = RANGES[parameter]
    ends = html.escape(json.dumps({"low": low, "high": high}))
    picks = ""
    if lab is not None and lab.branches:
        options = [(name, name) for name in lab.branch_names]
        picks = picks_html(
            say("Other settings from"), options, choose_branch(lab, base).name, "base"
        )
    return f'<div data-defaults="{ends}">{picks}</div>'


@PART.experiment(
    mark("Sweep"),
    needs=("side.columns", "base", "parameter", "low", "high", "values", "samples", "length"),
    primary=True,
)
@on_gpu
def sweep(
    run: Run,
    progress: Progress,
    lab: Lab | None,
    base: str | int | None,
    parameter: str,
    low: float | None,
    high: float | None,
    values: int,
    samples: int,
    length: int,
) -> Iterator[SweepSoFar]:
    """Generate all answers, and yield the sweep so far after each batch."""
    first, last = RANGES[parameter]
    column, settings = "", SamplingSettings()
    if lab is not None and lab.branches:
        branch = choose_branch(lab, base)
        column, settings = branch.name, branch.trace.settings
    sweeps = playground.sampling.sweep
    planned = sweeps.plan_sweep(
        settings, parameter, first if low is None else low, last if high is None else high, values
    )
    started = time.perf_counter()
    found: Sweep | None = None
    cancelled: StageCancelled | None = None
    try:
        for found in sweeps.stream_sweep(
            run.engine,
            prompt_of(run),
            parameter,
            planned,
            num_samples=samples,
            max_new_tokens=length,
            progress=progress,
        ):
            yield SweepSoFar(found, column)
    except StageCancelled as stop:
        cancelled = stop
    if found is not None:
        yield SweepSoFar(found, column, time.perf_counter() - started)
    if cancelled is not None:
        raise cancelled


# ------------------------------------------------------------------------------------- outputs


@PART.html(needs=("sweep",), live=True)
def words(_run: Run, swept: SweepSoFar | None) -> str:
    """The sweep in a sentence; while it is running, the number of answers."""
    if swept is None:
        return ""
    if swept.seconds is None:
        done = sum(len(point.answers) for point in swept.sweep.points)
        return fact_html(f"{count_answers(done)} …")
    return sweep_html(swept)


@PART.chart(mark("Answers"), needs=("sweep",), empty=EMPTY)
def answers(_run: Run, swept: SweepSoFar | None) -> go.Figure | None:
    """How often each answer occurs at each value."""
    if swept is None:
        return None
    return plot_answers(swept.sweep, setting_name(swept.sweep.parameter))


@PART.chart(mark("Lengths"), needs=("sweep",), empty=EMPTY)
def lengths(_run: Run, swept: SweepSoFar | None) -> go.Figure | None:
    """Answer length at each value."""
    if swept is None:
        return None
    return plot_lengths(swept.sweep, setting_name(swept.sweep.parameter))


@PART.chart(mark("Entropy"), needs=("sweep",), empty=EMPTY)
def entropy(_run: Run, swept: SweepSoFar | None) -> go.Figure | None:
    """Mean entropy at each value."""
    if swept is None:
        return None
    return plot_sweep_entropy(swept.sweep, setting_name(swept.sweep.parameter))


@PART.html(needs=("sweep",))
def table(_run: Run, swept: SweepSoFar | None) -> str:
    """Every distinct answer."""
    return "" if swept is None else answers_html(swept.sweep)


def count_answers(count: int) -> str:
    """``1 answer``, ``2 answers``."""
    return say("1 answer") if count == 1 else say("{count:,} answers", count=count)


def sweep_html(swept: SweepSoFar) -> str:
    """The sweep in a sentence."""
    points = swept.sweep.points
    answers = [answer for point in points for answer in point.answers]
    first, last = points[0], points[-1]
    words = say(
        "{answers} in {seconds:.1f} s, {distinct:,} of them distinct: {first_kinds} at "
        "{parameter} {first:.3g}, {last_kinds} at {last:.3g}.",
        answers=count_answers(len(answers)),
        seconds=swept.seconds,
        distinct=len({answer.text for answer in answers}),
        parameter=setting_name(swept.sweep.parameter).lower(),
        first_kinds=len(first.counts),
        first=first.value,
        last_kinds=len(last.counts),
        last=last.value,
    )
    base = say("All other settings are those of {name}.", name=swept.column) if swept.column else ""
    return fact_markup(words, base)


def answers_html(sweep: Sweep) -> str:
    """The answers at each value, the most frequent first."""
    rows = []
    for point in sweep.points:
        by_text = {answer.text: answer for answer in point.answers}
        for text, count in point.counts.most_common():
            answer = by_text[text]
            rows.append(
                (
                    f"{point.value:.3g}",
                    count,
                    Verbatim(flowing(text) or say("(empty)")),
                    answer.num_tokens,
                    say("yes") if answer.is_whole else say("no"),
                    f"{answer.log_prob:.2f}",
                )
            )
    caption = say("Distinct answers")
    if len(rows) > MAX_ROWS:
        caption = say(
            "Distinct answers (first {shown} of {count:,})",
            shown=MAX_ROWS,
            count=len(rows),
        )
    headers = (
        setting_name(sweep.parameter),
        say("Count"),
        say("Answer"),
        say("Tokens"),
        say("Ended by the model"),
        say("Log-probability (nats)"),
    )
    return table_html(headers, rows[:MAX_ROWS], caption, right=(0, 5))
