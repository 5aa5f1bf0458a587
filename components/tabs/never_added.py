"""The DeepStack taps of an unusual configuration that never add anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playground.language import say

if TYPE_CHECKING:
    from playground.model_facts import ModelFacts


def never_added_text(facts: ModelFacts) -> str:
    """Which configured taps add nothing, and why; empty for a usual configuration."""
    if not facts.never_added:
        return ""
    return say(
        "deepstack_visual_indexes also lists {blocks}, which adds nothing: transformers uses each "
        "block once, only blocks below {depth}, and one tap for each of the {layers} decoder "
        "layers.",
        blocks=say(", ").join(str(block) for block in facts.never_added),
        depth=facts.vision_depth,
        layers=facts.num_layers,
    )
