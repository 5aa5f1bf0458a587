"""Stage 5 on the page: settings side by side, and what stands behind each token."""

from __future__ import annotations

import html
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.components.base import Component

import playground
from components.charts.sampling import plot_entropy, plot_probabilities, quote
from components.html_view import build_html_view
from components.plotly_view import PlotlyView
from components.sampling_chips import COLOURS, TokenPicker, colour_legend_html, read_choice
from components.sampling_words import columns_html, diff_html, divergence_html, problems_html
from components.snippets import write_snippet
from components.stage_tab import App, StageTab, build_code_panel, build_stage_header, user_messages
from components.tabs.sampling.branch import BranchPart, branch_values, build_branch
from components.tabs.sampling.columns import (
    NAMES,
    ColumnCards,
    ReadColumns,
    build_columns,
    problem_html,
    read_columns,
)
from components.tabs.sampling.lab import Lab, LabStore, new_lab, prompt_of
from components.tabs.sampling.one_step import (
    OneStepPart,
    build_one_step,
    one_step_values,
    step_index,
)
from components.tabs.sampling.score import build_score
from components.tabs.sampling.sweep import SweepPart, build_sweep
from playground.errors import InputError, StageCancelled
from playground.records import Progress, SamplingRun

if TYPE_CHECKING:
    from playground.pipeline import Run

MIN_INTERVAL_S = 0.1  # between two updates of the text
TOKEN_INTERVAL_S = 1e-4  # more for each token on the page, since each update sends all of them
STATE_LIFE_S = 3600
NEW_TOKENS = 48
MOST_NEW_TOKENS = 512  # on the slider; the engine takes more

Values = dict[Any, Any]


@dataclass(frozen=True, slots=True, eq=False)
class SideBySide:
    """The first part's components."""

    length: gr.Slider
    same_numbers: gr.Checkbox
    colour_by: gr.Radio
    cards: ColumnCards
    problems: gr.HTML
    verdict: gr.HTML
    legend: gr.HTML
    chosen: gr.HTML
    texts: TokenPicker
    probabilities: PlotlyView
    entropy: PlotlyView
    diff_first: gr.Dropdown
    diff_second: gr.Dropdown
    diff: gr.HTML
    winner: gr.Radio
    code: gr.Code


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


def build_sampling_tab(app: App) -> StageTab:
    """Build the tab."""
    run_button = build_stage_header(
        "Sampling",
        "The logits become the next token: penalties, temperature and cuts first, then one draw. "
        "All columns start from the same prefill, so all that differs is their settings.",
    )
    store = LabStore()
    lab_key = gr.State(None, time_to_live=STATE_LIFE_S, delete_callback=store.discard)
    with gr.Tabs(overflow_behavior="wrap"):
        with gr.Tab("Side by side"):
            side = build_side_by_side(app)
        with gr.Tab("One step"):
            glass = build_one_step(app, store, lab_key)
        with gr.Tab("Sweep"):
            sweep = build_sweep(app, store, lab_key)
        with gr.Tab("Branch"):
            branch = build_branch(app, store, lab_key)
        with gr.Tab("Score a text"):
            score = build_score(app, store, lab_key, branch)
    parts = SamplingParts(store, lab_key, side, glass, sweep, branch, score)
    _wire(app, parts)

    def stream(run: Run, progress: Progress, *values: Any) -> Iterator[tuple[Any, ...]]:
        for drawn in stream_columns(parts, run, progress, *values):
            yield tuple(drawn.get(output, gr.skip()) for output in parts.outputs)

    return StageTab("sampling", run_button, parts.controls, parts.outputs, stream)


def build_side_by_side(app: App) -> SideBySide:
    """Build the first part: the cards of settings, then the columns of text."""
    with gr.Accordion("Settings of the columns", open=True):
        cards = build_columns(app)
    with gr.Row():
        length = gr.Slider(
            1,
            MOST_NEW_TOKENS,
            value=NEW_TOKENS,
            step=1,
            label="Max new tokens",
            info="The model may end its answer earlier.",
            min_width=200,
        )
        with gr.Column(min_width=220):
            same_numbers = gr.Checkbox(
                False,
                label="Same random numbers",
                info="All columns draw with column A’s seed: only the settings differ.",
            )
        colour_by = gr.Radio(
            list(COLOURS), value=COLOURS[0], label="Colour the tokens by", min_width=200
        )
    problems = build_html_view()
    verdict = build_html_view()
    legend = build_html_view(colour_legend_html(COLOURS[0]))
    texts = TokenPicker()
    chosen = build_html_view()
    with gr.Row():
        probabilities = PlotlyView(label="Probability of each token")
        entropy = PlotlyView(label="Entropy of each choice")
    gr.Markdown("### What differs")
    with gr.Row():
        diff_first = gr.Dropdown([], label="Compare column", min_width=120)
        diff_second = gr.Dropdown([], label="With column", min_width=120)
    diff = build_html_view()
    gr.Markdown("### Take the winner’s settings along")
    winner = gr.Radio([], label="Column")
    code = build_code_panel()
    return SideBySide(
        length,
        same_numbers,
        colour_by,
        cards,
        problems,
        verdict,
        legend,
        chosen,
        texts,
        probabilities,
        entropy,
        diff_first,
        diff_second,
        diff,
        winner,
        code,
    )


def _wire(app: App, parts: SamplingParts) -> None:
    side, store = parts.side, parts.store

    def recolour(run: Run, key: str | None, colour_by: Any) -> tuple[str, str]:
        lab = store.get(key, run)
        assert lab.sampled is not None
        chosen = check_colour(colour_by)
        texts = columns_html(lab.sampled, lab.names, seconds=lab.seconds, colour_by=chosen)
        return colour_legend_html(chosen), texts

    app.on_view(
        side.colour_by.input, recolour, [parts.lab_key, side.colour_by], [side.legend, side.texts]
    )

    def compare(run: Run, key: str | None, first: Any, second: Any) -> str:
        return compare_html(store.get(key, run), first, second)

    for control in (side.diff_first, side.diff_second):
        app.on_view(
            control.input, compare, [parts.lab_key, side.diff_first, side.diff_second], [side.diff]
        )

    def write(run: Run, key: str | None, name: Any) -> str:
        return winner_snippet(run, store.get(key, run), name)

    app.on_view(side.winner.input, write, [parts.lab_key, side.winner], [side.code])

    pick_outputs = [side.chosen, *parts.glass.outputs, *parts.branch.outputs]

    def pick(run_key: str | None, key: str | None, event: gr.EventData) -> tuple[Any, ...]:
        with user_messages():
            run = app.runs.get(run_key)
            return pick_values(run, store.get(key, run), *read_choice(event._data))

    def pick_point(run_key: str | None, key: str | None, event: gr.EventData) -> tuple[Any, ...]:
        with user_messages():
            run = app.runs.get(run_key)
            lab = store.get(key, run)
            name, step = read_point(lab, event.points)
            return pick_values(run, lab, name, step)

    for component, handler in (
        (side.texts, pick),
        (side.probabilities, pick_point),
        (side.entropy, pick_point),
    ):
        component.select(
            handler,
            [app.run_key, parts.lab_key],
            pick_outputs,
            show_progress="hidden",
            trigger_mode="always_last",
            concurrency_limit=None,
            api_visibility="private",
        )


# ------------------------------------------------------------------------------------- writing


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
    messages = [problem_html(read.problems.get(name)) for name in NAMES]
    notices: Values = dict(zip(side.cards.messages, messages, strict=True))
    notices[side.problems] = problems_html(read.problems)
    if not read.settings:
        yield notices
        return
    if read.problems:
        yield notices
    run.ensure("decoder", progress)
    sampler = playground.sampling.Sampler(
        run.engine,
        prompt_of(run),
        read.settings,
        max_new_tokens=length,
        keep_paths=True,
        keep_going=True,
    )
    started = shown = time.perf_counter()
    sampled: SamplingRun | None = None
    cancelled: StageCancelled | None = None
    try:
        for sampled in sampler.stream(progress):
            written = sum(len(trace.steps) for trace in sampled.traces)
            wait = MIN_INTERVAL_S + TOKEN_INTERVAL_S * written
            if time.perf_counter() - shown >= wait:
                yield {
                    side.verdict: f'<p class="pg-fact">Writing … {written} tokens</p>',
                    side.texts: columns_html(
                        sampled, read.names, seconds=sampler.seconds, colour_by=colour, live=True
                    ),
                }
                shown = time.perf_counter()
    except StageCancelled as stop:
        cancelled = stop  # what was written until then is worth looking at
    if sampled is not None:
        seconds = time.perf_counter() - started
        lab = new_lab(
            run,
            sampled=sampled,
            names=read.names,
            seconds=sampler.seconds,
            max_new_tokens=int(length),
            branches=playground.sampling_branches.columns_as_branches(
                sampled, sampler.paths(), read.names
            ),
        )
        is_new = parts.store.find(key, run) is None
        yield notices | _final_values(parts, run, lab, read, seconds, colour, is_new)
    if cancelled is not None:
        raise cancelled


def check_colour(colour_by: Any) -> Any:
    """One of ``COLOURS``.

    Raises:
        InputError: it is none of them.
    """
    if colour_by not in COLOURS:
        raise InputError(f"There is no colour by {colour_by}.", limit=f"One of {COLOURS}.")
    return colour_by


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
    if lab.branches:
        first = lab.branches[0]
        index = step_index(first, (sampled.first_divergence or 0) + 1)
        drawn[side.chosen] = chosen_words(first.name, index, quote(first.trace.steps[index].text))
        glass = one_step_values(run, lab, first.name, index)
        drawn |= dict(zip(parts.glass.outputs, glass, strict=True))
        tree = branch_values(lab, first.name, index)
        drawn |= dict(zip(parts.branch.outputs, tree, strict=True))
    return drawn


# ------------------------------------------------------------------------------------- choosing


def pick_values(run: Run, lab: Lab, name: str, step: int) -> tuple[Any, ...]:
    """A token that was clicked: under the glass, and at the tree."""
    branch = lab.branch(name)
    index = step_index(branch, step + 1)
    return (
        chosen_words(name, index, quote(branch.trace.steps[index].text)),
        *one_step_values(run, lab, name, index),
        *branch_values(lab, name, index),
    )


def chosen_words(name: str, index: int, text: str) -> str:
    """Which token is chosen, and what can be done with it."""
    return (
        f'<p class="pg-fact">Chosen: token {index + 1} of column {name}, {html.escape(text)}. '
        "“One step” shows how it came about, “Branch” takes another one in its place; click any "
        "token to choose it.</p>"
    )


def read_point(lab: Lab, points: Sequence[dict[str, Any]]) -> tuple[str, int]:
    """Column and step of a point that was clicked in a chart of lines.

    Raises:
        InputError: the page reported none.
    """
    if not points:
        raise InputError("The chart reported no point.", remedy="Click on one of its marks.")
    row = min(max(int(points[0]["curve"]), 0), len(lab.names) - 1)
    return lab.names[row], int(points[0]["x"]) - 1


def compare_html(lab: Lab, first: Any, second: Any) -> str:
    """Two columns against each other."""
    one, other = lab.branch(first).trace, lab.branch(second).trace
    return diff_html(one, other, (str(first), str(second)))


def winner_snippet(run: Run, lab: Lab, name: Any) -> str:
    """The chosen column's settings as a script on plain transformers."""
    settings = lab.branch(name).trace.settings
    head = f"# Column {name}: writes the same tokens.\n"
    return head + write_snippet(
        "sampling", run, settings=settings, max_new_tokens=lab.max_new_tokens
    )
