"""The vision tower's 2-D RoPE: dimensions rotate with a patch's row or with its column.

Source: ``Qwen3VLVisionRotaryEmbedding`` and ``Qwen3VLVisionAttention``, transformers 5.24. A head's
dimensions rotate in pairs, dimension ``i`` with dimension ``i + head_dim / 2``. The first half of
the pairs rotates with the row, the second half with the column, both with the same
``head_dim / 4`` frequencies.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn.functional import linear
from transformers.models.qwen3_vl.modeling_qwen3_vl import apply_rotary_pos_emb_vision

from playground.engine import Engine
from playground.pointer import patch_rows
from playground.records import TowerOutput, VisualSpan


@dataclass(frozen=True, slots=True, eq=False)
class RopeAngles:
    """The rotation angle of each pair of dimensions, in radians."""

    inv_freq: np.ndarray  # (head_dim / 4,) float32: radians per patch
    by_row: np.ndarray  # (head_dim / 4, grid_h) float32: the first half of the pairs
    by_column: np.ndarray  # (head_dim / 4, grid_w) float32: the second half

    @property
    def wavelengths(self) -> np.ndarray:
        """``(head_dim / 4,)`` float32: patches per full turn."""
        return np.asarray(2 * np.pi / self.inv_freq, np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class HeadVectors:
    """One query and all keys of one head before rotation, for the patches of one image."""

    query: torch.Tensor  # (head_dim,) float32, of the selected patch
    keys: torch.Tensor  # (grid_h, grid_w, head_dim) float32
    scaling: float  # factor of the scores


@dataclass(frozen=True, slots=True, eq=False)
class PatchScores:
    """Attention scores of one patch to all patches of its image, before the softmax."""

    rotated: np.ndarray  # (grid_h, grid_w) float32: as the model computes them
    plain: np.ndarray  # (grid_h, grid_w) float32: the same vectors without RoPE


def rope_angles(engine: Engine, span: VisualSpan) -> RopeAngles:
    """The angles at every row and column of an image."""
    inv_freq = _inv_freq(engine).numpy()
    return RopeAngles(
        inv_freq=inv_freq,
        by_row=inv_freq[:, None] * np.arange(span.grid_h, dtype=np.float32),
        by_column=inv_freq[:, None] * np.arange(span.grid_w, dtype=np.float32),
    )


def head_vectors(
    engine: Engine,
    tower: TowerOutput,
    span: VisualSpan,
    *,
    block: int,
    head: int,
    patch: tuple[int, int],
) -> HeadVectors:
    """The query of one patch and the keys of all patches, in one head, before RoPE.

    Computes only this head's part of ``qkv``, unless its weight is packed or FP8.

    Args:
        engine: the loaded checkpoint.
        tower: the pass that the span belongs to.
        span: one image, or one temporal patch of a video; attention stays within it.
        block: index of the block.
        head: index of the head.
        patch: row and column of the query.
    """
    layer = engine.model.model.visual.blocks[block]
    attn = layer.attn
    weight = getattr(attn.qkv, "weight", None)  # GPTQ and AWQ have none of that name
    bias, head_dim = attn.qkv.bias, attn.head_dim
    query = slice(head * head_dim, (head + 1) * head_dim)
    key = slice(attn.dim + query.start, attn.dim + query.stop)
    with engine.exclusive():
        states = tower.hidden_states[block][torch.from_numpy(patch_rows(span))]
        states = layer.norm1(states.to(layer.norm1.weight.device))
        if weight is not None and weight.is_floating_point() and weight.itemsize > 1:
            queries = linear(states[patch], weight[query], bias[query])
            keys = linear(states, weight[key], bias[key])
        else:
            projected = attn.qkv(states)
            queries, keys = projected[patch][query], projected[..., key]
    return HeadVectors(queries.float().cpu(), keys.float().cpu(), float(attn.scaling))


def patch_scores(
    engine: Engine, span: VisualSpan, vectors: HeadVectors, patch: tuple[int, int]
) -> PatchScores:
    """The scores of one patch with the model's rotation, and without it."""
    rows, columns = np.indices((span.grid_h, span.grid_w))
    cos, sin = _cos_sin(engine, rows.ravel(), columns.ravel())
    keys = vectors.keys.flatten(0, 1)
    queries = vectors.query.expand_as(keys)
    rotated_queries, rotated_keys = apply_rotary_pos_emb_vision(
        queries[:, None], keys[:, None], cos, sin
    )
    own = patch[0] * span.grid_w + patch[1]
    shape = (span.grid_h, span.grid_w)
    rotated = (rotated_keys[:, 0] @ rotated_queries[own, 0]) * vectors.scaling
    plain = (keys @ vectors.query) * vectors.scaling
    return PatchScores(rotated.reshape(shape).numpy(), plain.reshape(shape).numpy())


def ones_kernel(engine: Engine, span: VisualSpan) -> np.ndarray:
    """The score of two vectors of ones by their distance, relative to the score at distance 0.

    Returns:
        ``(2 * grid_h - 1, 2 * grid_w - 1)`` float32; distance 0 is in the middle.
    """
    ones = torch.ones(4 * len(_inv_freq(engine)))
    return distance_kernel(engine, span, ones, ones / len(ones))


def head_kernel(engine: Engine, span: VisualSpan, vectors: HeadVectors) -> np.ndarray:
    """The score of the image's mean key at each distance from the query.

    With the same key everywhere, only the effect of position remains: whether a head prefers
    patches that are near or far, above or to the left. Since scores are linear in the key, this
    is also the mean score of all keys if each were placed at that distance.

    Returns:
        ``(2 * grid_h - 1, 2 * grid_w - 1)`` float32; row and column of the key minus those of the
        query, starting at ``-(grid_h - 1)`` and ``-(grid_w - 1)``.
    """
    average = vectors.keys.flatten(0, 1).mean(0)
    return distance_kernel(engine, span, vectors.query, average * vectors.scaling)


def distance_kernel(
    engine: Engine, span: VisualSpan, query: torch.Tensor, key: torch.Tensor
) -> np.ndarray:
    """The score of one query and one key by the key's distance, in rows and columns.

    Args:
        engine: the loaded checkpoint.
        span: the image that sets the range of distances.
        query: ``(head_dim,)`` before rotation; it stays at the origin.
        key: ``(head_dim,)`` before rotation.

    Returns:
        ``(2 * grid_h - 1, 2 * grid_w - 1)`` float32.
    """
    rows, columns = (np.arange(1 - size, size) for size in (span.grid_h, span.grid_w))
    scores = _axis_scores(_inv_freq(engine), query, key)
    by_row = scores(0, rows)
    by_column = scores(1, columns)
    kernel: np.ndarray = (by_row[:, None] + by_column[None, :]).numpy()
    return kernel


def _axis_scores(inv_freq: torch.Tensor, query: torch.Tensor, key: torch.Tensor) -> Any:
    """Each axis's share of the score: a score is a sum over the row pairs and the column pairs."""
    pairs = len(inv_freq)
    # (member of the pair, axis, frequency)
    q = query.reshape(2, 2, pairs)
    k = key.reshape(2, 2, pairs)
    even = (q * k).sum(0)
    odd = q[1] * k[0] - q[0] * k[1]

    def scores(axis: int, distances: np.ndarray) -> torch.Tensor:
        angles = torch.from_numpy(distances)[:, None].float() * inv_freq
        return angles.cos() @ even[axis] + angles.sin() @ odd[axis]

    return scores


def _inv_freq(engine: Engine) -> torch.Tensor:
    """``(head_dim / 4,)`` float32 on the CPU."""
    inv_freq: torch.Tensor = engine.model.model.visual.rotary_pos_emb.inv_freq.float().cpu()
    return inv_freq


def _cos_sin(
    engine: Engine, rows: np.ndarray, columns: np.ndarray
) -> tuple[torch.Tensor, torch.Tensor]:
    """The model's own cosines and sines, each ``(patches, head_dim)`` float32 on the CPU."""
    rotary = engine.model.model.visual.rotary_pos_emb
    positions = torch.from_numpy(np.stack([rows, columns], -1)).to(rotary.inv_freq.device)
    with engine.exclusive():
        cos, sin = rotary(positions, positions)
    return cos.cpu(), sin.cpu()
