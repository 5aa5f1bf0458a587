"""Records of the merge made by hand."""

from __future__ import annotations

import torch

from playground.records import MergedInputs


def make_merged(before: torch.Tensor, after: torch.Tensor) -> MergedInputs:
    """What stands in a sequence of text before and after ``masked_scatter``."""
    seq = before.shape[1]
    return MergedInputs(
        token_embeds=before,
        inputs_embeds=after,
        visual_pos_masks=None,
        deepstack_visual_embeds=None,
        position_ids=torch.arange(3 * seq).reshape(3, 1, seq),
        rope_deltas=torch.zeros(1, 1, dtype=torch.int64),
    )
