"""Tab 4: what the decoder's layers do with the sequence, and the next token."""

from __future__ import annotations

from components.parts.part import Part, StageParts
from components.snippets.scripts import write_snippet
from components.tabs.decoder import (
    attention,
    cache,
    check_port,
    deepstack,
    experts,
    influence,
    layers,
    patching,
    rotation,
    sequence,
    what_if,
)
from playground.language import mark
from playground.pipeline import Run

CODE = Part("code", mark("Show the code"), stage="decoder")


@CODE.code(mark("Show the code"))
def script(run: Run) -> str:
    """The whole stage in plain transformers."""
    return write_snippet("decoder", run, top_k=layers.TOP_K)


TAB = StageParts(
    stage="decoder",
    label=mark("4 Decoder"),
    title=mark("Decoder"),
    sentence=mark(
        "Each layer updates the hidden state of every token, based on that token and the ones "
        "before it. The final norm and lm_head turn the last token's hidden state into a "
        "probability for every token in the vocabulary."
    ),
    parts=(
        layers.PART,
        attention.PART,
        rotation.PART,
        deepstack.PART,
        influence.PART,
        what_if.PART,
        patching.PART,
        experts.PART,
        cache.PART,
        check_port.PART,
    ),
    head=sequence.PART,
    foot=CODE,
    shown_run=sequence.SHOWN,
)
