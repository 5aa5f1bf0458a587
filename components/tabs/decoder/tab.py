"""Tab 4: what the decoder's layers do with the sequence, and the word that comes next."""

from __future__ import annotations

from components.part import Part, StageParts
from components.snippets.scripts import write_snippet
from components.tabs.decoder import (
    attention,
    cache,
    deepstack,
    experts,
    influence,
    layers,
    patching,
    porters,
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
    """The decoder's sizes in this run, with the layers that DeepStack feeds."""
    sizes, output = run.engine.facts, run.decoded
    through = say(
        "{tokens:,} tokens go through {layers} layers as vectors of {width:,} numbers ({heads} "
        "query heads share {kv_heads} key and value heads).",
        tokens=output.num_tokens,
        layers=output.num_layers,
        width=sizes.hidden_size,
        heads=sizes.num_attention_heads,
        kv_heads=sizes.num_key_value_heads,
    )
    added = say("There is no picture, so DeepStack adds nothing.")
    if output.num_deepstack:
        added = say(
            "DeepStack adds tower features to the picture's positions after layers {layers}; the "
            "states just after an add are marked ◆ below.",
            layers=say(", ").join(str(layer) for layer in range(output.num_deepstack)),
        )
    return fact_html(through, added)


@CODE.code(mark("Show the code"))
def script(run: Run) -> str:
    """The whole stage with plain transformers."""
    return write_snippet("decoder", run, top_k=layers.TOP_K)


TAB = StageParts(
    stage="decoder",
    label=mark("4 Decoder"),
    title=mark("Decoder"),
    sentence=mark(
        "Every layer reads the whole sequence and adds to each token's vector; the last vector, "
        "through the final norm and lm_head, gives a probability for every word of the vocabulary."
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
        porters.PART,
    ),
    head=FACTS,
    foot=CODE,
)
