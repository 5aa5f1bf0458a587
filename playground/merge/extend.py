"""The decoder's input with more text after it, and cut to its first tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from playground.engine import Engine
from playground.records import MergedInputs


def extend_merged(engine: Engine, merged: MergedInputs, token_ids: Sequence[int]) -> MergedInputs:
    """The decoder's input with text tokens after it, such as an answer.

    Args:
        engine: the loaded checkpoint.
        merged: the input so far.
        token_ids: no placeholders of images or videos.
    """
    if not token_ids:
        return merged
    embed: Any = engine.model.get_input_embeddings()
    count, seq = len(token_ids), merged.inputs_embeds.shape[1]
    with engine.exclusive():
        added = embed(torch.tensor([list(token_ids)], device=engine.device)).cpu()
    later = torch.arange(seq, seq + count) + int(merged.rope_deltas)
    mask = merged.visual_pos_masks
    if mask is not None:
        mask = torch.cat([mask, torch.zeros(1, count, dtype=torch.bool)], dim=1)
    return replace(
        merged,
        token_embeds=torch.cat([merged.token_embeds, added], dim=1),
        inputs_embeds=torch.cat([merged.inputs_embeds, added], dim=1),
        position_ids=torch.cat([merged.position_ids, later.expand(3, 1, -1)], dim=2),
        visual_pos_masks=mask,
    )


def head_of_merged(merged: MergedInputs, length: int) -> MergedInputs:
    """The first ``length`` tokens, as views; all images must be among them."""
    masks = merged.visual_pos_masks
    return replace(
        merged,
        token_embeds=merged.token_embeds[:, :length],
        inputs_embeds=merged.inputs_embeds[:, :length],
        visual_pos_masks=None if masks is None else masks[:, :length],
        position_ids=merged.position_ids[:, :, :length],
    )
