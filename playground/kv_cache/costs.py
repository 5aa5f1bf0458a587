"""What a request costs by formula, and so what a cache saves: operations and bytes.

One multiplication and one addition are two operations; only matrix products count (norms, softmax
and activations are less than a hundredth of them). The attention of a token counts the keys that
it may see, not the masked ones, which some kernels compute too.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch

from playground.model_facts import ModelFacts

COLORS = 3  # channels of a pixel


@dataclass(frozen=True, slots=True)
class Flops:
    """Operations of one request, by part."""

    projections: int  # q, k, v and o of all decoder layers
    attention: int  # queries times keys, weights times values
    mlp: int
    lm_head: int  # of the last token alone
    vision: int  # tower, merger and DeepStack taps

    @property
    def total(self) -> int:
        """All of them."""
        return self.projections + self.attention + self.mlp + self.lm_head + self.vision


def request_flops(
    facts: ModelFacts, num_tokens: int, start: int = 0, patches: Iterable[int] = ()
) -> Flops:
    """Operations from the pixels to the next token's logits.

    Args:
        facts: the model's sizes.
        num_tokens: length of the request.
        start: tokens that a cache serves; those from here on are computed.
        patches: of every image or frame that goes through the vision tower.
    """
    new = num_tokens - start
    query_width = facts.num_attention_heads * facts.head_dim
    key_width = facts.num_key_value_heads * facts.head_dim
    weights = facts.hidden_size * (2 * query_width + 2 * key_width)
    seen = (num_tokens * (num_tokens + 1) - start * (start + 1)) // 2  # keys, over all new tokens
    return Flops(
        projections=2 * facts.num_layers * weights * new,
        attention=2 * facts.num_layers * 2 * query_width * seen,
        mlp=2 * facts.num_layers * mlp_weights(facts) * new,
        lm_head=2 * facts.hidden_size * facts.vocab_size,
        vision=sum(picture_flops(facts, count) for count in patches),
    )


def mlp_weights(facts: ModelFacts) -> int:
    """Weights of one layer's MLP that one token meets: gate, up and down; of a mixture of experts
    those of the chosen experts, and the router.
    """
    one = 3 * facts.hidden_size * facts.intermediate_size
    if not facts.num_experts:
        return one
    return one * facts.num_experts_per_tok + facts.hidden_size * facts.num_experts


def picture_flops(facts: ModelFacts, num_patches: int) -> int:
    """Operations of the vision tower on one image or frame; every patch sees all of its own."""
    hidden, merged = facts.vision_hidden_size, facts.merge_size**2
    pixels = COLORS * facts.temporal_patch_size * facts.patch_size**2
    block = 4 * hidden * hidden + 2 * hidden * facts.vision_intermediate_size
    merger = merged * hidden * (merged * hidden + facts.out_hidden_size)
    mergers = 1 + len(facts.deepstack_visual_indexes)
    return 2 * (
        num_patches * (pixels * hidden + facts.vision_depth * block)
        + facts.vision_depth * 2 * hidden * num_patches**2
        + mergers * merger * (num_patches // merged)
    )


def kv_bytes(facts: ModelFacts, num_tokens: int, dtype: torch.dtype) -> int:
    """Bytes of the keys and values of so many tokens."""
    return num_tokens * facts.kv_bytes_per_token(dtype)
