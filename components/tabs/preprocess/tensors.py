"""Preprocess, the result: the tensors, in a table and as strips over the sequence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gradio as gr

from components.chart_view.view import PlotlyView
from components.charts.preprocess_sequence import plot_masks
from components.tabs.choices import fact_markup
from components.tabs.stage_tab import App, Section
from components.views.html_view import build_html_view
from components.views.tables import format_bytes, tensors_table
from playground.language import say

if TYPE_CHECKING:
    from playground.pipeline import Run
    from playground.records import ModelInputs


def build_tensors_section(app: App) -> Section:
    """Build the table and the strips; nothing in them can be set."""
    del app
    words = build_html_view()
    table = build_html_view()
    gr.Markdown(
        say(
            "The two masks say nothing about the content: `attention_mask` is 1 wherever there is "
            "a token (0 is padding), and `mm_token_type_ids` tells the model which positions take "
            "picture features and which kind of 3-D position each one gets."
        )
    )
    masks = PlotlyView(label=say("attention_mask and mm_token_type_ids"))

    def draw(run: Run) -> tuple[Any, ...]:
        inputs = run.inputs
        return (
            tensor_words(inputs),
            tensors_table(inputs, str(run.engine.device)),
            plot_masks(
                inputs.attention_mask[0].numpy(),
                inputs.mm_token_type_ids[0].numpy(),
            ),
        )

    return Section((), (words, table, masks), draw)


def tensor_words(inputs: ModelInputs) -> str:
    """How many tensors and bytes there are, and which tensor has most of them."""
    total = sum(tensor.nbytes for tensor in inputs.tensors.values())
    largest = max(inputs.tensors, key=lambda name: inputs.tensors[name].nbytes)
    return fact_markup(
        say(
            "{count} tensors, {bytes} in all, are everything that the model gets; {share:.1%} of "
            "it is <code>{largest}</code>.",
            count=len(inputs.tensors),
            bytes=format_bytes(total),
            share=inputs.tensors[largest].nbytes / total,
            largest=largest,
        )
    )
