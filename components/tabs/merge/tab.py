"""Tab 3: image features take their places in the sequence, and every token gets a 3-D position."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import gradio as gr

from components.snippets.scripts import write_snippet
from components.tabs.merge.deepstack import build_deepstack_section
from components.tabs.merge.distances import build_distances_section
from components.tabs.merge.embeddings import build_embeddings_section
from components.tabs.merge.frequencies import build_frequencies_section
from components.tabs.merge.positions import build_positions_section
from components.tabs.stage_tab import App, Section, StageTab, build_code_panel, build_stage_header
from playground.language import say
from playground.pipeline import Run
from playground.pointer import Place
from playground.records import Progress


def build_merge_tab(app: App) -> StageTab:
    """Build the tab inside the page's ``with gr.Tab(...)``."""
    run_button = build_stage_header(
        say("Merge"),
        say(
            "The tower's features replace the placeholders in the sequence, and each token gets a "
            "position with three parts: time, height and width (M-RoPE)."
        ),
    )
    with gr.Tabs(overflow_behavior="wrap"):
        with gr.Tab(say("Embeddings")):
            embeddings = build_embeddings_section(app)
        with gr.Tab(say("Positions")):
            positions, table = build_positions_section(app)
        with gr.Tab(say("Beside 1-D")):
            distances, nearness = build_distances_section(app)
        with gr.Tab(say("Frequencies")):
            frequencies, angles = build_frequencies_section(app)
        with gr.Tab(say("DeepStack")):
            deepstack, tap = build_deepstack_section(app)
    code = build_code_panel()
    follow_pointer(app, (table, nearness, angles, tap))
    return StageTab(
        stage="merge",
        run_button=run_button,
        controls=(),
        outputs=(code,),
        stream=stream_merge,
        parts=(embeddings, positions, distances, frequencies, deepstack),
    )


def follow_pointer(app: App, followers: Sequence[Section]) -> None:
    """Redraw all that follows the pointer with one request for each click."""
    controls = [control for section in followers for control in section.controls]
    outputs = [output for section in followers for output in section.outputs]
    app.on_point(partial(redraw_followers, followers), controls, outputs)


def redraw_followers(
    followers: Sequence[Section], run: Run, place: Place | None, *values: Any
) -> tuple[Any, ...]:
    """What follows the pointer; a click alone never runs the model.

    Args:
        followers: sections whose ``draw`` takes the place before its controls' values.
        run: the page's run.
        place: what is pointed at.
        values: of the followers' controls, in order.
    """
    if not run.has("merge"):
        return tuple(gr.skip() for section in followers for _ in section.outputs)
    drawn: list[Any] = []
    remaining = iter(values)
    for section in followers:
        drawn += section.draw(run, place, *[next(remaining) for _ in section.controls])
    return tuple(drawn)


def stream_merge(run: Run, progress: Progress) -> Iterator[tuple[str]]:
    """Merge where it has not been done yet, and draw what stands below the parts."""
    run.ensure("merge", progress)
    yield (write_snippet("merge", run),)
