"""Tab 3: image features replace the placeholder tokens, and every token gets a 3-D position."""

from __future__ import annotations

from components.parts.part import Part, StageParts
from components.snippets.scripts import write_snippet
from components.tabs.merge import deepstack, distances, embeddings, frequencies, positions
from playground.language import mark
from playground.pipeline import Run

CODE = Part("code", mark("Show the code"), stage="merge")


@CODE.code(mark("Show the code"))
def script(run: Run) -> str:
    """The whole stage in plain transformers."""
    return write_snippet("merge", run)


TAB = StageParts(
    stage="merge",
    label=mark("3 Merge"),
    title=mark("Merge"),
    sentence=mark(
        "The vision tower's features replace the placeholder tokens in the sequence, and each "
        "token gets a three-part position: time, height and width (M-RoPE, Wang et al. 2024)."
    ),
    parts=(embeddings.PART, positions.PART, distances.PART, frequencies.PART, deepstack.PART),
    foot=CODE,
)
