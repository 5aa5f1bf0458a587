"""Writing the columns, and what every part of the tab shows of them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.components.base import Component

import playground
from components.chart_view.view import PlotlyView
from components.charts.sampling import plot_entropy, plot_probabilities
from components.tabs.sampling.branch import BranchPart, branch_values
from components.tabs.sampling.chips import ColourBy, colour_legend_html
from components.tabs.sampling.columns import NAMES, ReadColumns, problem_html, read_columns
from components.tabs.sampling.lab import Lab, LabStore, new_lab, prompt_of
from components.tabs.sampling.one_step import OneStepPart, one_step_values, step_index
from components.tabs.sampling.side_by_side import (
    SideBySide,
    check_colour,
    chosen_words,
    compare_html,
    winner_snippet,
)
from components.tabs.sampling.sweep import SweepPart
from components.tabs.sampling.words import columns_html, divergence_html, problems_html
from playground.errors import StageCancelled
from playground.language import say
from playground.records import Progress

if TYPE_CHECKING:
    from playground.pipeline import Run
    from playground.sampling.columns import Sampler

MIN_INTERVAL_S = 0.1  # between two updates of the text
TOKEN_INTERVAL_S = 1e-4  # more for each token on the page, since each update sends all of them

Values = dict[Any, Any]


@dataclass(frozen=True, slots=True, eq=False)
class SamplingParts:
    """All parts of the tab, and where their columns are kept."""

    store: LabStore
    lab_key: gr.State
    side: SideBySide
    glass: OneStepPart
    sweep: SweepPart
    branch: BranchPart
    score: tuple[Component, ...]  # what a new prompt empties

    @property
    def controls(self) -> tuple[Component, ...]:
        """What the stream reads."""
        side = self.side
        return (
            self.lab_key,
            side.length,
            side.same_numbers,
            side.colour_by,
            side.cards.count,
            *side.cards.fields,
        )

    @property
    def outputs(self) -> tuple[Component, ...]:
        """What the stream draws."""
        side = self.side
        return (
            self.lab_key,
            side.problems,
            side.verdict,
            side.legend,
            side.chosen,
            side.texts,
            side.probabilities,
            side.entropy,
            side.diff_first,
            side.diff_second,
            side.diff,
            side.winner,
            side.code,
            *side.cards.messages,
            *self.glass.outputs,
            self.sweep.base,
            *self.sweep.outputs,
            *self.branch.outputs,
            *self.score,
        )


def stream_columns(
    parts: SamplingParts,
    run: Run,
    progress: Progress,
    key: str | None,
    length: Any,
    same_numbers: Any,
    colour_by: Any,
    count: Any,
    *values: Any,
) -> Iterator[Values]:
    """Write all columns that can be written: text as it comes, charts once at the end."""
    side = parts.side
    colour = check_colour(colour_by)
    read = read_columns(count, values, same_numbers=bool(same_numbers))
    notices = _notices(side, read)
    if not read.settings:
        yield notices
        return
    if read.problems:
        yield notices
    run.ensure("decoder", progress)
    sampler = playground.sampling.columns.Sampler(
        run.engine,
        prompt_of(run),
        read.settings,
        max_new_tokens=length,
        keep_paths=True,
        keep_going=True,
    )
    started = time.perf_counter()
    cancelled: StageCancelled | None = None
    try:
        yield from _text_as_it_comes(side, sampler, progress, read.names, colour)
    except StageCancelled as stop:
        cancelled = stop  # what was written until then is worth looking at
    if cancelled is None or any(trace.steps for trace in sampler.run.traces):
        seconds = time.perf_counter() - started
        lab = _keep(run, sampler, read.names, int(length))
        is_new = parts.store.find(key, run) is None
        yield notices | _final_values(parts, run, lab, read, seconds, colour, is_new)
    if cancelled is not None:
        raise cancelled


def _notices(side: SideBySide, read: ReadColumns) -> Values:
    """What is wrong with columns, beside their fields and above the texts."""
    messages = [problem_html(read.problems.get(name)) for name in NAMES]
    notices: Values = dict(zip(side.cards.messages, messages, strict=True))
    notices[side.problems] = problems_html(read.problems)
    return notices


def _text_as_it_comes(
    side: SideBySide,
    sampler: Sampler,
    progress: Progress,
    names: tuple[str, ...],
    colour: ColourBy,
) -> Iterator[Values]:
    """Write to the end, with the texts so far now and then."""
    shown = time.perf_counter()
    for sampled in sampler.stream(progress):
        written = sum(len(trace.steps) for trace in sampled.traces)
        wait = MIN_INTERVAL_S + TOKEN_INTERVAL_S * written
        if time.perf_counter() - shown >= wait:
            texts = columns_html(
                sampled, names, seconds=sampler.seconds, colour_by=colour, live=True
            )
            words = say("Writing … {count:,} tokens", count=written)
            yield {side.verdict: f'<p class="pg-fact">{words}</p>', side.texts: texts}
            shown = time.perf_counter()


def _keep(run: Run, sampler: Sampler, names: tuple[str, ...], max_new_tokens: int) -> Lab:
    """What was written, with what each column left in the cache."""
    sampled = sampler.run
    return new_lab(
        run,
        sampled=sampled,
        names=names,
        seconds=sampler.seconds,
        max_new_tokens=max_new_tokens,
        branches=playground.sampling.branches.columns_as_branches(sampled, sampler.paths(), names),
    )


def _final_values(
    parts: SamplingParts,
    run: Run,
    lab: Lab,
    read: ReadColumns,
    seconds: float,
    colour: Any,
    is_new: bool,
) -> Values:
    """What the finished columns show everywhere in the tab."""
    side, sampled, names = parts.side, lab.sampled, list(lab.names)
    assert sampled is not None
    second = names[1] if len(names) > 1 else names[0]
    drawn: Values = {
        parts.lab_key: parts.store.add(lab),
        side.verdict: divergence_html(sampled, names, seconds),
        side.legend: colour_legend_html(colour),
        side.texts: columns_html(sampled, names, seconds=lab.seconds, colour_by=colour),
        side.probabilities: plot_probabilities(sampled, names),
        side.entropy: plot_entropy(sampled, names),
        side.diff_first: gr.Dropdown(choices=names, value=names[0]),
        side.diff_second: gr.Dropdown(choices=names, value=second),
        side.diff: compare_html(lab, names[0], second),
        side.winner: gr.Radio(choices=names, value=names[0]),
        side.code: winner_snippet(run, lab, names[0]),
        parts.sweep.base: gr.Dropdown(choices=names, value=names[0]),
    }
    if is_new:  # another prompt's results
        drawn |= {
            each: None if isinstance(each, PlotlyView) else "" for each in parts.sweep.outputs
        }
        drawn |= dict.fromkeys(parts.score, "")
    return drawn | _first_choice(parts, run, lab)


def _first_choice(parts: SamplingParts, run: Run, lab: Lab) -> Values:
    """The first difference, chosen in the parts that look at one token."""
    if not lab.branches:
        return {}
    assert lab.sampled is not None
    first = lab.branches[0]
    index = step_index(first, (lab.sampled.first_divergence or 0) + 1)
    words = chosen_words(first.name, index, first.trace.steps[index].text)
    glass = one_step_values(run, lab, first.name, index)
    tree = branch_values(lab, first.name, index)
    return {
        parts.side.chosen: words,
        **dict(zip(parts.glass.outputs, glass, strict=True)),
        **dict(zip(parts.branch.outputs, tree, strict=True)),
    }
