"""Stage 5 on the page: settings side by side, and how each token was sampled."""

from __future__ import annotations

from components.parts.part import StageParts
from components.tabs.sampling import (
    branch,
    grounding,
    loops,
    one_step,
    score,
    side,
    sweep,
    thinking,
)
from playground.language import mark

TAB = StageParts(
    stage="sampling",
    label=mark("5 Sampling"),
    title=mark("Sampling"),
    sentence=mark(
        "How the logits become the next token: penalties, temperature and truncation, then one "
        "random sample. All columns start from the same prefill and differ only in their settings."
    ),
    parts=(
        side.PART,
        one_step.PART,
        sweep.PART,
        branch.PART,
        score.PART,
        grounding.PART,
        loops.PART,
        thinking.PART,
    ),
)
