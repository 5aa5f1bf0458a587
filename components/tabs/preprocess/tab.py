"""Stage 1 on the page: from messages and pictures to the tensors that the model is given."""

from __future__ import annotations

import html
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import gradio as gr

from components.snippets.scripts import write_snippet
from components.tabs.preprocess.budget import build_budget_section
from components.tabs.preprocess.pictures import build_pictures_section
from components.tabs.preprocess.rows import build_resize_section, build_rows_section
from components.tabs.preprocess.tensors import build_tensors_section
from components.tabs.preprocess.tokens import build_spelling_section, build_text_section
from components.tabs.preprocess.video import build_video_section
from components.tabs.stage_tab import App, Section, StageTab, build_code_panel, build_stage_header
from components.views.html_view import build_html_view
from playground.language import say

if TYPE_CHECKING:
    from playground.pipeline import Run
    from playground.records import Progress


def build_preprocess_tab(app: App) -> StageTab:
    """Build the tab: pictures and sequence first, each step in detail behind a tab of its own."""
    run_button = build_stage_header(
        say("Preprocess"),
        say(
            "The chat template turns messages into one text, the tokenizer turns the text into "
            "ids, and the image processor turns each picture into patches of 16 × 16 pixels."
        ),
    )
    notices = build_html_view()
    sections = [build_pictures_section(app), *_build_details(app)]
    code = build_code_panel()

    return StageTab(
        "preprocess", run_button, (), (notices, code), stream_preprocess, tuple(sections)
    )


def stream_preprocess(run: Run, progress: Progress) -> Iterator[tuple[Any, ...]]:
    """Preprocess where it has not been done yet, and draw what stands around the parts."""
    run.ensure("preprocess", progress)
    yield notices_html(run.inputs.notices), write_snippet("preprocess", run)


def _build_details(app: App) -> list[Section]:
    with gr.Tabs(overflow_behavior="wrap", elem_classes="pg-parts"):
        with gr.Tab(say("Template and tokens")):
            text = build_text_section(app)
        with gr.Tab(say("What a token is")):
            spelling = build_spelling_section(app)
        with gr.Tab(say("Pixels to rows")):
            resize = build_resize_section(app)
            rows = build_rows_section(app)
        with gr.Tab(say("Video")):
            video = build_video_section(app)
        with gr.Tab(say("Tensors")):
            tensors = build_tensors_section(app)
        with gr.Tab(say("Token budget")):
            budget = build_budget_section(app)
    return [text, spelling, resize, rows, video, tensors, budget]


def notices_html(notices: tuple[str, ...]) -> str:
    """What was changed on the way in; empty where nothing was."""
    if not notices:
        return ""
    items = "".join(f"<li>{html.escape(notice)}</li>" for notice in notices)
    return f'<ul class="pg-notices" role="note" aria-label="{say("Notices")}">{items}</ul>'
