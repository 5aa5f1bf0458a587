"""Stage 5 on the page: settings side by side, and what stands behind each token."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import gradio as gr

from components.tabs.sampling.branch import branch_values, build_branch
from components.tabs.sampling.chips import read_choice
from components.tabs.sampling.lab import Lab, LabStore
from components.tabs.sampling.one_step import build_one_step, one_step_values, step_index
from components.tabs.sampling.score import build_score
from components.tabs.sampling.side_by_side import build_side_by_side, chosen_words
from components.tabs.sampling.sweep import build_sweep
from components.tabs.sampling.writing import SamplingParts, stream_columns
from components.tabs.stage_tab import App, StageTab, build_stage_header
from playground.errors import InputError
from playground.language import say
from playground.records import Progress

if TYPE_CHECKING:
    from playground.pipeline import Run

STATE_LIFE_S = 3600


def build_sampling_tab(app: App) -> StageTab:
    """Build the tab."""
    run_button = build_stage_header(
        say("Sampling"),
        say(
            "The logits become the next token: penalties, temperature and cuts first, then one "
            "draw. All columns start from the same prefill, so all that differs is their settings."
        ),
    )
    store = LabStore()
    lab_key = gr.State(None, time_to_live=STATE_LIFE_S, delete_callback=store.discard)
    with gr.Tabs(overflow_behavior="wrap"):
        with gr.Tab(say("Side by side")):
            side = build_side_by_side(app, store, lab_key)
        with gr.Tab(say("One step")):
            glass = build_one_step(app, store, lab_key)
        with gr.Tab(say("Sweep")):
            sweep = build_sweep(app, store, lab_key)
        with gr.Tab(say("Branch")):
            branch = build_branch(app, store, lab_key)
        with gr.Tab(say("Score a text")):
            score = build_score(app, store, lab_key, branch)
    parts = SamplingParts(store, lab_key, side, glass, sweep, branch, score)
    _wire(app, parts)

    def stream(run: Run, progress: Progress, *values: Any) -> Iterator[tuple[Any, ...]]:
        for drawn in stream_columns(parts, run, progress, *values):
            yield tuple(drawn.get(output, gr.skip()) for output in parts.outputs)

    return StageTab(
        "sampling",
        run_button,
        parts.controls,
        parts.outputs,
        stream,
        found=partial(_find_columns, store),
        found_in=(lab_key,),
    )


def _find_columns(store: LabStore, run: Run, key: str | None) -> Lab | None:
    """The lab with the columns written last, if there are any."""
    lab = store.find(key, run)
    return lab if lab is not None and lab.sampled is not None else None


def _wire(app: App, parts: SamplingParts) -> None:
    """A token that is clicked, in a text or in a chart, is chosen in all parts."""
    side, store = parts.side, parts.store
    pick_outputs = [side.chosen, *parts.glass.outputs, *parts.branch.outputs]

    def pick(run: Run, event: gr.EventData, key: str | None) -> tuple[Any, ...]:
        return pick_values(run, store.get(key, run), *read_choice(event._data))

    def pick_point(run: Run, event: gr.EventData, key: str | None) -> tuple[Any, ...]:
        lab = store.get(key, run)
        return pick_values(run, lab, *read_point(lab, event.points))

    app.on_choice(side.texts.select, pick, [parts.lab_key], pick_outputs)
    for chart in (side.probabilities, side.entropy):
        app.on_choice(chart.select, pick_point, [parts.lab_key], pick_outputs)


def pick_values(run: Run, lab: Lab, name: str, step: int) -> tuple[Any, ...]:
    """A token that was clicked: under the glass, and at the tree."""
    branch = lab.branch(name)
    index = step_index(branch, step + 1)
    return (
        chosen_words(name, index, branch.trace.steps[index].text),
        *one_step_values(run, lab, name, index),
        *branch_values(lab, name, index),
    )


def read_point(lab: Lab, points: Sequence[dict[str, Any]]) -> tuple[str, int]:
    """Column and step of a point that was clicked in a chart of lines.

    Raises:
        InputError: the page reported none.
    """
    if not points:
        raise InputError(
            say("The chart reported no point."), remedy=say("Click on one of its marks.")
        )
    row = min(max(int(points[0]["curve"]), 0), len(lab.names) - 1)
    return lab.names[row], int(points[0]["x"]) - 1
