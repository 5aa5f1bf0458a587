"""A stage's tab: its heading, its parts in tabs of their own, the code and the downloads."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import gradio as gr

from components.parts.drawing import Drawing
from components.parts.part import Part, StageParts
from components.parts.part_view import PartView
from components.share.downloads.panel import downloads_html
from playground.language import say


@dataclass(frozen=True, slots=True, eq=False)
class StageView:
    """A built tab."""

    stage: str
    run_button: gr.Button | None  # None where nothing is to run
    views: tuple[PartView, ...]


def build_stage(stage: StageParts, drawing: Drawing) -> StageView:
    """Build the tab inside the page's ``gr.Tabs``."""
    with gr.Tab(say(stage.label), id=stage.stage):
        run_button = _build_header(stage)
        views = tuple(_build_parts(stage, drawing))
        if stage.stage != "model":
            gr.HTML(downloads_html(stage.stage), apply_default_css=False)
    return StageView(stage.stage, run_button, views)


def _build_header(stage: StageParts) -> gr.Button | None:
    """The tab's heading, the sentence that says what the stage does, and its run button."""
    with gr.Row(elem_classes="stage-header"):
        heading = f"## {say(stage.title)}\n\n{say(stage.sentence)}"
        gr.Markdown(heading, elem_classes="stage-sentence")
        if stage.stage == "model":
            return None
        return gr.Button(say("Run this stage"), size="sm", scale=0, min_width=140)


def _build_parts(stage: StageParts, drawing: Drawing) -> Iterator[PartView]:
    if stage.head is not None:
        yield PartView(stage.head, drawing)
    if len(stage.parts) == 1:
        yield PartView(stage.parts[0], drawing)
    else:
        with gr.Tabs(overflow_behavior="wrap"):
            for part in stage.parts:
                yield _build_part(part, drawing)
    if stage.foot is not None:
        yield PartView(stage.foot, drawing)


def _build_part(part: Part, drawing: Drawing) -> PartView:
    with gr.Tab(say(part.title), id=part.key):
        return PartView(part, drawing)
