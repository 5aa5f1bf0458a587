"""Tab 6: what a request saves when an earlier one has left its keys and values behind."""

from __future__ import annotations

from components.part import StageParts
from components.tabs.cache import conversation, inside, policy, requests
from playground.language import mark

TAB = StageParts(
    stage="cache",
    label=mark("6 Cache reuse"),
    title=mark("Cache reuse"),
    sentence=mark(
        "A request leaves its keys and values behind. The next one takes over those of the "
        "shared beginning and computes only the rest, with the same logits in the end."
    ),
    parts=(requests.PART, inside.PART, policy.PART, conversation.PART),
)
