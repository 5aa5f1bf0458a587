"""Cost of a request by formula, in FLOPs and bytes, and so the savings from a cache.

A multiply-add counts as two FLOPs, and only matrix products count (norms, softmax and activations
add less than 1 %). Attention counts only the keys that a token attends to, not the masked ones,
which some kernels also compute.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch

from playground.model_facts import ModelFacts

COLORS = 3  # channels of a pixel


@dataclass(frozen=True, slots=True)
class Flops:
    """FLOPs of one request, by part."""

    projections: int  # q, k, v and o of all decoder layers
    attention: int  # queries times keys, weights times values
    mlp: int
    lm_head: int  # last token only
    vision: int  # tower, merger and DeepStack taps

    @property
    def total(self) -> int:
        """The sum of all parts."""
        return self.projections + self.attention + self.mlp + self.lm_head + self.vision


def request_flops(
    facts: ModelFacts, num_tokens: int, start: int = 0, patches: Iterable[int] = ()
) -> Flops:
    """FLOPs from the pixels to the next token's logits.

    Args:
        facts: the model's dimensions.
        num_tokens: length of the request.
        start: number of cached tokens; the rest are computed.
        patches: number of patches of each image or frame that the vision tower encodes.
    """
    new = num_tokens - start
    query_width = facts.num_attention_heads * facts.head_dim
    key_width = facts.num_key_value_heads * facts.head_dim
    weights = facts.hidden_size * (2 * query_width + 2 * key_width)
    seen = (num_tokens * (num_tokens + 1) - start * (start + 1)) // 2  # (new token, key) pairs
    return Flops(
        projections=2 * facts.num_layers * weights * new,
        attention=2 * facts.num_layers * 2 * query_width * seen,
        mlp=2 * facts.num_layers * mlp_weights(facts) * new,
        lm_head=2 * facts.hidden_size * facts.vocab_size,
        vision=sum(image_flops(facts, count) for count in patches),
    )


def mlp_weights(facts: ModelFacts) -> int:
    """Weights that one token uses in one layer's MLP: gate, up and down. In a mixture of experts,
    those of the selected experts and the router.
    """
    one = 3 * facts.hidden_size * facts.intermediate_size
    if not facts.num_experts:
        return one
    return one * facts.num_experts_per_tok + facts.hidden_size * facts.num_experts


def image_flops(facts: ModelFacts, num_patches: int) -> int:
    """FLOPs of the vision tower for one image or frame, whose patches all attend to each other."""
    hidden, merged = facts.vision_hidden_size, facts.merge_size**2
    pixels = COLORS * facts.temporal_patch_size * facts.patch_size**2
    block = 4 * hidden * hidden + 2 * hidden * facts.vision_intermediate_size
    merger = merged * hidden * (merged * hidden + facts.out_hidden_size)
    mergers = 1 + len(facts.taps)
    return 2 * (
        num_patches * (pixels * hidden + facts.vision_depth * block)
        + facts.vision_depth * 2 * hidden * num_patches**2
        + mergers * merger * (num_patches // merged)
    )


def kv_bytes(facts: ModelFacts, num_tokens: int, dtype: torch.dtype) -> int:
    """Bytes of the keys and values of ``num_tokens`` tokens."""
    return num_tokens * facts.kv_bytes_per_token(dtype)
