"""The vision tower's attention weights, recomputed from a block's recorded input.

The tower runs with the model's own attention kernel, which returns no weights. This module reruns
one block's ``norm1``, ``qkv`` and rotary embedding on the hidden states that entered it, and
computes the weights only for the requested rows, never for the whole tower.

Source: ``Qwen3VLVisionAttention.forward`` and ``eager_attention_forward``, transformers 5.24.
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
MAX_QUERIES = 512  # query patches that heads are averaged over: more hardly change the mean


@dataclass(frozen=True, slots=True, eq=False)
class BlockHeads:
    """Statistics of each head of one block, over all patches of one image or frame."""

    num_queries: int  # patches in the means: all of them, or an evenly spaced sample
    entropy: np.ndarray  # (heads,) float32, nats: mean over the queries
    distance: np.ndarray  # (heads,) float32, patches: mean distance from query to key
    received: np.ndarray  # (heads, grid_h, grid_w) float32: mean weight that each patch receives


@dataclass(frozen=True, slots=True, eq=False)
class UniformAttention:
    """The same statistics for uniform attention over all patches, as a baseline."""

    entropy: float  # nats: log of the number of patches
    distance: float  # patches


def patch_attention(
    engine: Engine, tower: TowerOutput, span: VisualSpan, block: int, row: int, column: int
) -> np.ndarray:
    """One patch's attention weights over all patches, in each head of one block.

    Args:
        engine: the loaded checkpoint.
        tower: the pass that the span belongs to.
        span: one image, or one temporal patch of a video.
        block: index of the block, from 0.
        row: of the query patch, from the top.
        column: of the query patch, from the left.

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
        index = int(order[row, column])
        weights = (query[:, index : index + 1] @ key.mT).softmax(-1)[:, 0].cpu()
    attention: np.ndarray = weights[:, order].numpy()
    return attention


def measure_block(
    engine: Engine,
    tower: TowerOutput,
    span: VisualSpan,
    block: int,
    *,
    max_queries: int = MAX_QUERIES,
) -> BlockHeads:
    """Entropy, mean distance and received attention of each head of one block.

    At most ``CHUNK_SCORES`` scores are in memory at a time.

    Args:
        engine: the loaded checkpoint.
        tower: the pass that the span belongs to.
        span: one image, or one temporal patch of a video.
        block: index of the block, from 0.
        max_queries: in a larger image, the means are over this many evenly spaced query patches,
            each attending to all patches.
    """
    order = torch.from_numpy(patch_rows(span) - span.patch_start)
    # In row-major order, so that evenly spaced indices cover the whole image.
    query_rows = order.flatten()[_even_indices(span.num_patches, max_queries)]
    with engine.exclusive():
        query, key = _query_key(engine, tower, span, block)
        positions = _patch_positions(span).to(query.device)
        num_heads = len(query)
        entropy, distance = query.new_zeros(num_heads), query.new_zeros(num_heads)
        received = query.new_zeros(num_heads, span.num_patches)
        for part in query_rows.to(query.device).split(
            max(1, CHUNK_SCORES // (num_heads * span.num_patches))
        ):
            scores = query[:, part] @ key.mT
            highest = scores.amax(-1, keepdim=True)
            weights = (scores - highest).exp_()
            total = weights.sum(-1)
            # -sum(w log w) without taking the log of each weight: log w = score - logsumexp.
            mean_score = torch.einsum("hqk,hqk->hq", weights, scores) / total
            entropy += (highest[..., 0] + total.log() - mean_score).sum(-1)
            away = torch.cdist(positions[part], positions)
            distance += (torch.einsum("hqk,qk->hq", weights, away) / total).sum(-1)
            received += torch.einsum("hqk,hq->hk", weights, total.reciprocal())
        means = [(sums / len(query_rows)).cpu() for sums in (entropy, distance, received)]
    return BlockHeads(
        num_queries=len(query_rows),
        entropy=means[0].clamp_min(0).numpy(),
        distance=means[1].numpy(),
        received=means[2][:, order].numpy(),
    )


def measure_uniform(span: VisualSpan) -> UniformAttention:
    """Entropy and mean distance of uniform attention over an image's patches."""
    positions = _patch_positions(span)
    total = sum(float(torch.cdist(part, positions).sum()) for part in positions.split(1024))
    return UniformAttention(math.log(span.num_patches), total / span.num_patches**2)


def count_scores(engine: Engine, span: VisualSpan) -> int:
    """Number of scores that ``measure_block`` computes over all blocks: a measure of its cost."""
    facts, num_queries = engine.facts, min(span.num_patches, MAX_QUERIES)
    return facts.vision_depth * facts.vision_num_heads * num_queries * span.num_patches


def _query_key(
    engine: Engine, tower: TowerOutput, span: VisualSpan, block: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Rotated and scaled queries, and rotated keys, of one span; hold ``Engine.exclusive``.

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


def _even_indices(count: int, limit: int) -> torch.Tensor:
    """At most ``limit`` evenly spaced indices below ``count``, including the first and the last."""
    return torch.linspace(0, count - 1, min(count, limit), dtype=torch.float64).round().long()


def _patch_positions(span: VisualSpan) -> torch.Tensor:
    """``(patches, 2)`` float32: row and column of each patch, in merge-block order."""
    order = torch.from_numpy(patch_rows(span) - span.patch_start).flatten()
    positions = torch.cartesian_prod(torch.arange(span.grid_h), torch.arange(span.grid_w)).float()
    return positions[order.argsort()]
