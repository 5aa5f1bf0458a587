"""Preprocess, result: the input tensors, as a table and as strips over the sequence."""

from __future__ import annotations

import plotly.graph_objects as go

from components.charts.preprocess_sequence import plot_masks
from components.parts.part import Part, Text
from components.views.facts import fact_markup
from components.views.tables import format_bytes, tensors_table
from playground.language import mark, say
from playground.pipeline import Run

PART = Part(
    "tensors",
    mark("Tensors"),
    stage="preprocess",
    layout=(
        "words",
        "table",
        Text(
            mark(
                "These two tensors carry no content: `attention_mask` is 1 for every token (0 is "
                "padding), and `mm_token_type_ids` tells the model which positions receive image "
                "features and which kind of 3-D position each one gets."
            )
        ),
        "masks",
    ),
)


@PART.html()
def words(run: Run) -> str:
    """How many tensors and bytes there are, and which tensor is the largest."""
    tensors = run.inputs.tensors
    total = sum(tensor.nbytes for tensor in tensors.values())
    largest = max(tensors, key=lambda name: tensors[name].nbytes)
    return fact_markup(
        say(
            "The model receives {count} tensors, {bytes} in total; <code>{largest}</code> "
            "accounts for {share:.1%}.",
            count=len(tensors),
            bytes=format_bytes(total),
            share=tensors[largest].nbytes / total,
            largest=largest,
        )
    )


@PART.html()
def table(run: Run) -> str:
    """Each tensor with its shape, dtype, range and first values."""
    return tensors_table(run.inputs, str(run.engine.device))


@PART.chart(mark("attention_mask and mm_token_type_ids"))
def masks(run: Run) -> go.Figure:
    """``attention_mask`` and ``mm_token_type_ids`` over the sequence."""
    inputs = run.inputs
    return plot_masks(inputs.attention_mask[0].numpy(), inputs.mm_token_type_ids[0].numpy())
