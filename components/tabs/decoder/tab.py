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
    what_if,
)
from components.views.facts import fact_html
from playground.language import mark, say
from playground.pipeline import Run

FACTS = Part("facts", mark("Decoder"), stage="decoder")
CODE = Part("code", mark("Show the code"), stage="decoder")


@FACTS.html()
def facts(run: Run) -> str:
    """The decoder's sizes in this run, and the layers followed by DeepStack."""
    sizes, output = run.engine.facts, run.decoded
    through = say(
        "{tokens:,} tokens pass through {layers} layers with hidden size {width:,} ({heads} query "
        "heads share {kv_heads} key/value heads).",
        tokens=output.num_tokens,
        layers=output.num_layers,
        width=sizes.hidden_size,
        heads=sizes.num_attention_heads,
        kv_heads=sizes.num_key_value_heads,
    )
    added = say("This prompt has no image, so DeepStack adds nothing.")
    if run.inputs.spans:
        added = say("This model has no DeepStack taps, so nothing is added to the layers' outputs.")
    if output.num_deepstack:
        added = say(
            "DeepStack adds features of the vision tower at the image tokens after layers "
            "{layers}. Below, ◆ marks the hidden states right after an addition.",
            layers=say(", ").join(str(layer) for layer in range(output.num_deepstack)),
        )
    return fact_html(through, added)


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
    head=FACTS,
    foot=CODE,
)
