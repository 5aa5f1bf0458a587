"""Tab 6: how a request reuses the cached keys and values of an earlier one."""

from __future__ import annotations

from components.parts.part import StageParts
from components.tabs.cache import conversation, inside, policy, requests
from playground.language import mark

TAB = StageParts(
    stage="cache",
    label=mark("6 Cache reuse"),
    title=mark("Cache reuse"),
    sentence=mark(
        "The KV cache stores a request's keys and values. A later request with the same prefix "
        "reuses them and computes only the remaining tokens, with the same logits."
    ),
    parts=(requests.PART, inside.PART, policy.PART, conversation.PART),
)
