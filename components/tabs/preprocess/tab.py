"""Tab 1: from messages, images and video to the model's input tensors."""

from __future__ import annotations

from components.parts.part import Part, StageParts
from components.snippets.scripts import write_snippet
from components.tabs.preprocess import budget, overview, rows, spelling, tensors, text, video
from playground.language import mark
from playground.pipeline import Run

CODE = Part("code", mark("Show the code"), stage="preprocess")


@CODE.code(mark("Show the code"))
def script(run: Run) -> str:
    """The whole stage in plain transformers."""
    return write_snippet("preprocess", run)


TAB = StageParts(
    stage="preprocess",
    label=mark("1 Preprocess"),
    title=mark("Preprocess"),
    sentence=mark(
        "The chat template turns the messages into one string, the tokenizer turns the string "
        "into token ids, and the image processor cuts each image into square patches."
    ),
    head=overview.PART,
    parts=(text.PART, spelling.PART, rows.PART, video.PART, tensors.PART, budget.PART),
    foot=CODE,
)
