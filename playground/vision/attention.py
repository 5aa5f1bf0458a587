"""Who looks at whom in the vision tower: attention recomputed from a block's recorded input.

The tower runs with the model's own attention kernel, which returns no weights. Here one block's
``norm1``, ``qkv`` and rotary embedding run again on the hidden state that entered it, and the
weights are computed for the rows that are looked at, never for a whole tower.

Source: ``Qwen3VLVisionAttention.forward`` and ``eager_attention_forward``, transformers 5.23.
Each image, and each temporal patch of a video, is a sequence of its own (``cu_seqlens``): exactly
a ``VisualSpan``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from transformers.models.qwen3_vl.modeling_qwen3_vl import apply_rotary_pos_emb_vision
from transformers.vision_utils import get_vision_position_ids

from playground.engine import Engine
from playground.errors import InputError
from playground.language import say
from playground.pointer import patch_rows
from playground.records import TowerOutput, VisualSpan

CHUNK_SCORES = 1 << 22  # attention scores held at once: 16 MiB in float32, twice over
MAX_LOOKERS = 512  # patches over which heads are measured: the mean of more is hardly another


@dataclass(frozen=True, slots=True, eq=False)
class BlockHeads:
    """Each head of one block, over all patches of one picture or frame."""

    num_lookers: int  # patches that the means are over: all, or this many evenly spread
    entropy: np.ndarray  # (heads,) float32, nats: mean over the lookers
    distance: np.ndarray  # (heads,) float32, patches: mean distance from looker to looked at
    received: np.ndarray  # (heads, grid_h, grid_w) float32: mean weight that each patch gets


@dataclass(frozen=True, slots=True, eq=False)
class EvenAttention:
    """What attention that is spread evenly over all patches would measure: the yardstick."""

    entropy: float  # nats: log of the number of patches
    distance: float  # patches


def patch_attention(
    engine: Engine, tower: TowerOutput, span: VisualSpan, block: int, row: int, column: int
) -> np.ndarray:
    """How much one patch looks at every patch, in each head of one block.

    Args:
        engine: the loaded checkpoint.
        tower: the pass that the span belongs to.
        span: one image, or one temporal patch of a video.
        block: index of the block, from 0.
        row: of the patch that looks, from the top.
        column: of the patch that looks, from the left.

    Returns:
        ``(heads, grid_h, grid_w)`` float32; each head sums to 1.

    Raises:
        InputError: there is no such block or patch.
    """
    if not (0 <= row < span.grid_h and 0 <= column < span.grid_w):
        raise InputError(
            say("There is no patch at row {row}, column {column}.", row=row, column=column),
            limit=say(
                "The image has {rows} rows and {columns} columns of patches.",
                rows=span.grid_h,
                columns=span.grid_w,
            ),
        )
    order = torch.from_numpy(patch_rows(span) - span.patch_start)
    with engine.exclusive():
        query, key = _query_key(engine, tower, span, block)
        looker = int(order[row, column])
        weights = (query[:, looker : looker + 1] @ key.mT).softmax(-1)[:, 0].cpu()
    attention: np.ndarray = weights[:, order].numpy()
    return attention


def measure_block(
    engine: Engine,
    tower: TowerOutput,
    span: VisualSpan,
    block: int,
    *,
    max_lookers: int = MAX_LOOKERS,
) -> BlockHeads:
    """Entropy, mean distance and received attention of each head of one block.

    A chunk of at most ``CHUNK_SCORES`` scores is held at a time.

    Args:
        engine: the loaded checkpoint.
        tower: the pass that the span belongs to.
        span: one image, or one temporal patch of a video.
        block: index of the block, from 0.
        max_lookers: in a larger picture, the means are over so many evenly spread patches, each
            looking at all.
    """
    order = torch.from_numpy(patch_rows(span) - span.patch_start)
    # Line by line, so that evenly spread means spread over the picture.
    lookers = order.flatten()[_spread(span.num_patches, max_lookers)]
    with engine.exclusive():
        query, key = _query_key(engine, tower, span, block)
        places = _places(span).to(query.device)
        num_heads = len(query)
        entropy, distance = query.new_zeros(num_heads), query.new_zeros(num_heads)
        received = query.new_zeros(num_heads, span.num_patches)
        for part in lookers.to(query.device).split(
            max(1, CHUNK_SCORES // (num_heads * span.num_patches))
        ):
            scores = query[:, part] @ key.mT
            highest = scores.amax(-1, keepdim=True)
            weights = (scores - highest).exp_()
            total = weights.sum(-1)
            # -sum(w log w) without a logarithm for each weight: log w = score - logsumexp.
            mean_score = torch.einsum("hqk,hqk->hq", weights, scores) / total
            entropy += (highest[..., 0] + total.log() - mean_score).sum(-1)
            away = torch.cdist(places[part], places)
            distance += (torch.einsum("hqk,qk->hq", weights, away) / total).sum(-1)
            received += torch.einsum("hqk,hq->hk", weights, total.reciprocal())
        means = [(sums / len(lookers)).cpu() for sums in (entropy, distance, received)]
    return BlockHeads(
        num_lookers=len(lookers),
        entropy=means[0].clamp_min(0).numpy(),
        distance=means[1].numpy(),
        received=means[2][:, order].numpy(),
    )


def measure_even(span: VisualSpan) -> EvenAttention:
    """Entropy and mean distance of attention that is spread evenly over a picture's patches."""
    places = _places(span)
    total = sum(float(torch.cdist(part, places).sum()) for part in places.split(1024))
    return EvenAttention(math.log(span.num_patches), total / span.num_patches**2)


def count_scores(engine: Engine, span: VisualSpan) -> int:
    """Scores that ``measure_block`` computes for all blocks of a picture: what it costs."""
    facts, lookers = engine.facts, min(span.num_patches, MAX_LOOKERS)
    return facts.vision_depth * facts.vision_num_heads * lookers * span.num_patches


def _query_key(
    engine: Engine, tower: TowerOutput, span: VisualSpan, block: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Rotated queries, already scaled, and keys of one span; hold ``Engine.exclusive``.

    Returns:
        Two of ``(heads, patches, head_dim)`` float32 in merge-block order.
    """
    visual = engine.model.model.visual
    if not 0 <= block < len(visual.blocks):
        raise InputError(
            say("The vision tower has no block {block}.", block=block),
            limit=say("It has {count} blocks, counted from 0.", count=len(visual.blocks)),
        )
    layer = visual.blocks[block]
    device = layer.norm1.weight.device
    rows = slice(span.patch_start, span.patch_start + span.num_patches)
    states = tower.hidden_states[block][rows].to(device)
    grid = torch.tensor([[1, span.grid_h, span.grid_w]], device=device)
    position_ids = get_vision_position_ids(grid, span.merge_size)
    cos, sin = visual.rotary_pos_emb(states, position_ids)
    attn = layer.attn
    projected = attn.qkv(layer.norm1(states)).reshape(len(states), 3, attn.num_heads, -1)
    query, key = apply_rotary_pos_emb_vision(projected[:, 0], projected[:, 1], cos, sin)
    return query.transpose(0, 1).float() * attn.scaling, key.transpose(0, 1).float()


def _spread(count: int, limit: int) -> torch.Tensor:
    """At most ``limit`` indices below ``count``, evenly spread, the first and the last included."""
    return torch.linspace(0, count - 1, min(count, limit), dtype=torch.float64).round().long()


def _places(span: VisualSpan) -> torch.Tensor:
    """``(patches, 2)`` float32: row and column of each patch, in merge-block order."""
    order = torch.from_numpy(patch_rows(span) - span.patch_start).flatten()
    places = torch.cartesian_prod(torch.arange(span.grid_h), torch.arange(span.grid_w)).float()
    return places[order.argsort()]
