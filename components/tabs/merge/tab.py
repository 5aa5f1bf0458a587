"""Tab 3: image features take their places in the sequence, and every token gets a 3-D position."""

from __future__ import annotations

from collections.abc import Iterator

import gradio as gr

from components.snippets.scripts import write_snippet
from components.tabs.merge.deepstack import build_deepstack_section
from components.tabs.merge.distances import build_distances_section
from components.tabs.merge.embeddings import build_embeddings_section
from components.tabs.merge.frequencies import build_frequencies_section
from components.tabs.merge.positions import build_positions_section
from components.tabs.stage_tab import App, StageTab, build_code_panel, build_stage_header
from playground.language import say
from playground.pipeline import Run
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
            positions = build_positions_section(app)
        with gr.Tab(say("Beside 1-D")):
            distances = build_distances_section(app)
        with gr.Tab(say("Frequencies")):
            frequencies = build_frequencies_section(app)
        with gr.Tab(say("DeepStack")):
            deepstack = build_deepstack_section(app)
    code = build_code_panel()
    return StageTab(
        stage="merge",
        run_button=run_button,
        controls=(),
        outputs=(code,),
        stream=stream_merge,
        parts=(embeddings, positions, distances, frequencies, deepstack),
    )


def stream_merge(run: Run, progress: Progress) -> Iterator[tuple[str]]:
    """Merge where it has not been done yet, and draw what stands below the parts."""
    run.ensure("merge", progress)
    yield (write_snippet("merge", run),)
