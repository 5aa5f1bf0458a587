"""M-RoPE (Qwen2-VL, Wang et al. 2024) in one head: query, key and their score by distance.

All rotations use transformers' own ``Qwen3VLTextRotaryEmbedding`` and ``apply_rotary_pos_emb``
(5.24); only the positions are chosen here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers.models.qwen3_vl.modeling_qwen3_vl import apply_rotary_pos_emb

from playground.decoder.attention import QueryKey, layer_queries_keys
from playground.engine import Engine
from playground.errors import InputError
from playground.language import say
from playground.merge.mrope import read_frequencies
from playground.records import DecoderOutput

MAX_DISTANCE = 128  # positions in each direction


@dataclass(frozen=True, slots=True, eq=False)
class HeadRotation:
    """One head's query of a token, and the key of the token that it attends to."""

    query_index: int  # sequence index
    key_index: int
    query_before: np.ndarray  # (head_dim,) float32, after q_norm
    query: np.ndarray  # (head_dim,) float32, rotated
    key_before: np.ndarray  # (head_dim,) float32, after k_norm
    key: np.ndarray  # (head_dim,) float32, rotated
    distances: tuple[int, int, int]  # query position - key position, in t, h, w
    score: float  # query · key * scaling after the rotation: the input of the softmax
    axes: np.ndarray  # (head_dim / 2,) int64: pair i rotates with t, h or w (0, 1, 2)
    inv_freq: np.ndarray  # (head_dim / 2,) float32: radians per position


@dataclass(frozen=True, slots=True, eq=False)
class ScoreCurves:
    """The score if the key moves along one axis and keeps its position on the others."""

    distances: np.ndarray  # (n,) int64: query position - key position
    scores: np.ndarray  # (3, n) float32: moved in t, in h, in w


def rotate_head(
    engine: Engine,
    output: DecoderOutput,
    layer: int,
    head: int,
    query_index: int,
    key_index: int | None = None,
) -> HeadRotation:
    """Query and key of one head before and after the rotation.

    Args:
        engine: the loaded checkpoint.
        output: the record of ``run_decoder``.
        layer: from 0.
        head: query head, from 0; a group of query heads shares one key head.
        query_index: sequence index of the query's token.
        key_index: sequence index of the key's token; by default the token that this head attends
            to most, except for the first token and the query's own.

    Raises:
        InputError: there is no such layer, head or token, or the key comes after the query.
    """
    vectors = layer_queries_keys(engine, output, layer)
    heads, seq, _ = vectors.query.shape
    if not 0 <= head < heads or not 0 <= query_index < seq:
        raise InputError(
            say("Head {head} or token {token} does not exist.", head=head, token=query_index),
            limit=say("There are {heads} heads and {tokens} tokens.", heads=heads, tokens=seq),
        )
    kv_head = head // (heads // vectors.key.shape[0])
    if key_index is None:
        key_index = _most_attended(vectors, head, kv_head, query_index)
    if not 0 <= key_index <= query_index:
        raise InputError(
            say(
                "Token {query} cannot attend to token {key}, which comes later.",
                query=query_index,
                key=key_index,
            )
        )
    query, key = vectors.query[head, query_index], vectors.key[kv_head, key_index]
    positions = output.position_ids[:, 0]
    steps = (positions[:, query_index] - positions[:, key_index]).tolist()
    frequencies = read_frequencies(engine)
    return HeadRotation(
        query_index=query_index,
        key_index=key_index,
        query_before=_numbers(vectors.query_before[head, query_index]),
        query=_numbers(query),
        key_before=_numbers(vectors.key_before[kv_head, key_index]),
        key=_numbers(key),
        distances=(steps[0], steps[1], steps[2]),
        score=float(query.float() @ key.float()) * vectors.scaling,
        axes=frequencies.axes,
        inv_freq=frequencies.inv_freq,
    )


def _most_attended(vectors: QueryKey, head: int, kv_head: int, query_index: int) -> int:
    """The token that a query attends to most, except for the attention sink and itself."""
    scores = vectors.query[head, query_index].float() @ vectors.key[kv_head, :query_index].float().T
    return int(scores[1:].argmax()) + 1 if query_index > 1 else 0


def _numbers(vector: torch.Tensor) -> np.ndarray:
    return np.asarray(vector.float().cpu().numpy(), np.float32)


def score_curves(engine: Engine, rotation: HeadRotation, reach: int | None = None) -> ScoreCurves:
    """Move the key away from the query along t, h and w, one axis at a time.

    Args:
        engine: the loaded checkpoint.
        rotation: of ``rotate_head``.
        reach: largest distance in each direction; by default a little more than the actual one,
            between 16 and ``MAX_DISTANCE``.
    """
    if reach is None:
        reach = min(MAX_DISTANCE, max(16, *(abs(step) + 4 for step in rotation.distances)))
    distances = torch.arange(-reach, reach + 1)
    count = len(distances)
    # The query at the origin and keys around it: only the distance affects the score.
    positions = -torch.tensor(rotation.distances)[:, None, None].repeat(1, 3, count)
    for axis in range(3):
        positions[axis, axis] = -distances
    language_model: Any = engine.model.model.language_model
    query = torch.from_numpy(rotation.query_before)[None, None, None]
    keys = torch.from_numpy(rotation.key_before).expand(1, 1, 3 * count, -1)
    all_positions = torch.cat(
        [torch.zeros(3, 1, 1, dtype=torch.int64), positions.reshape(3, 1, -1)], -1
    )
    with engine.exclusive():
        vectors = torch.cat([query, keys], dim=2).to(engine.device)
        cos, sin = language_model.rotary_emb(vectors[0], all_positions.to(engine.device))
        rotated = apply_rotary_pos_emb(vectors, vectors, cos, sin)[0][0, 0].cpu()
    scaling = language_model.layers[0].self_attn.scaling
    scores = (rotated[1:] @ rotated[0] * scaling).reshape(3, count)
    return ScoreCurves(distances.numpy(), np.asarray(scores.numpy(), np.float32))
