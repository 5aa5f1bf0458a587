"""The Compare tab: what other weights would change in the run."""

from __future__ import annotations

from components.parts.part import StageParts
from components.tabs.compare import drift, rounding, swap, weights
from playground.language import mark

TAB = StageParts(
    stage="compare",
    label=mark("Compare"),
    title=mark("Compare"),
    sentence=mark(
        "The same prompt through two sets of weights: how far the weights are apart, at which "
        "step of the forward pass the hidden states part, and what that changes in the answer."
    ),
    parts=(weights.PART, drift.PART, swap.PART, rounding.PART),
)
