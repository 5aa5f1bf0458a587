"""Attention weights of one decoder layer, recomputed from the states that the prefill recorded.

sdpa returns no weights, and all maps of a 28-layer, 16-head model at 1,000 tokens are 1.8 GB. The
queries and keys of a layer are therefore recomputed from its recorded input, and from them only the
rows that are shown.

Source: ``Qwen3VLTextAttention.forward`` and ``eager_attention_forward``, transformers 5.24.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers.models.qwen3_vl.modeling_qwen3_vl import apply_rotary_pos_emb

from playground.engine import Engine
from playground.errors import InputError
from playground.language import say
from playground.records import DecoderOutput, ModelInputs, Progress

SCORE_BYTES = 64 << 20  # scores held at once: a chunk of query rows of all heads, float32


@dataclass(frozen=True, slots=True, eq=False)
class QueryKey:
    """Queries and keys of one layer, before and after the rotation; on the model's device."""

    query: torch.Tensor  # (heads, seq, head_dim), rotated
    key: torch.Tensor  # (kv_heads, seq, head_dim), rotated
    query_before: torch.Tensor  # after q_norm
    key_before: torch.Tensor  # after k_norm
    scaling: float


@dataclass(frozen=True, slots=True, eq=False)
class HeadSummary:
    """What the heads of one layer attend to, averaged over the last tokens of the prompt."""

    entropy: np.ndarray  # (heads,) nats
    on_visual: np.ndarray  # (heads,) share on image and video tokens
    on_text: np.ndarray  # (heads,) share on all other tokens except the first
    on_first: (
        np.ndarray
    )  # (heads,) share on the first token, the usual attention sink (Xiao et al. 2023)
    num_queries: int


def layer_queries_keys(engine: Engine, output: DecoderOutput, layer: int) -> QueryKey:
    """Queries and keys of a layer, from its recorded input.

    Args:
        engine: the loaded checkpoint.
        output: the record of ``run_decoder``.
        layer: from 0.

    Raises:
        InputError: there is no such layer.
    """
    if not 0 <= layer < output.num_layers:
        raise InputError(
            say("There is no layer {layer}.", layer=layer),
            limit=say("The model has {count} layers.", count=output.num_layers),
        )
    language_model: Any = engine.model.model.language_model
    module = language_model.layers[layer]
    attention = module.self_attn
    with engine.exclusive():
        hidden = output.hidden_states[layer][None].to(engine.device)
        normed = module.input_layernorm(hidden)
        shape = (1, normed.shape[1], -1, attention.head_dim)
        query = attention.q_norm(attention.q_proj(normed).view(shape)).transpose(1, 2)
        key = attention.k_norm(attention.k_proj(normed).view(shape)).transpose(1, 2)
        cos, sin = language_model.rotary_emb(hidden, output.position_ids.to(engine.device))
        rotated_query, rotated_key = apply_rotary_pos_emb(query, key, cos, sin)
    return QueryKey(rotated_query[0], rotated_key[0], query[0], key[0], attention.scaling)


def attention_rows(vectors: QueryKey, rows: Sequence[int]) -> torch.Tensor:
    """Attention weights of some queries over the whole sequence.

    Args:
        vectors: of the layer.
        rows: sequence indices of the queries.

    Returns:
        ``(heads, rows, seq)`` in the model's dtype, on the CPU; 0 for tokens after the query.
    """
    heads, seq, _ = vectors.query.shape
    chunk = max(1, SCORE_BYTES // (4 * heads * seq))
    key, parts = vectors.key.repeat_interleave(heads // len(vectors.key), dim=0), []
    for start in range(0, len(rows), chunk):
        chosen = rows[start : start + chunk]
        query = vectors.query[:, torch.tensor(chosen, device=key.device)]
        parts.append(_weigh(query, key, chosen, vectors.scaling).cpu())
    return torch.cat(parts, dim=1)


def mean_attention(
    engine: Engine,
    output: DecoderOutput,
    rows: Sequence[int],
    *,
    progress: Progress | None = None,
) -> np.ndarray:
    """Attention weights of some queries, the mean over all heads of all layers.

    The keys are those of the KV cache, so that only the queries of these rows are recomputed.

    Args:
        engine: the loaded checkpoint.
        output: the record of ``run_decoder``.
        rows: sequence indices of the queries.
        progress: called before every layer; ``StageCancelled`` raised in it stops.

    Returns:
        ``(rows, seq)`` float32, which sums to 1 over ``seq``.
    """
    heads, seq = engine.facts.num_attention_heads, output.num_tokens
    chunk = max(1, SCORE_BYTES // (4 * heads * seq))
    total = torch.zeros(len(rows), seq)
    layers: Any = output.cache.layers
    language_model: Any = engine.model.model.language_model
    for index, cached in enumerate(layers):
        if progress is not None:
            progress(say("decoder layer"), index, len(layers))
        module = language_model.layers[index]
        for start in range(0, len(rows), chunk):
            chosen = list(rows[start : start + chunk])
            states = output.hidden_states[index][None, chosen]
            with engine.exclusive():
                query = row_queries(engine, module, states, output.position_ids[:, :, chosen])
                key = cached.keys[0].repeat_interleave(heads // cached.keys.shape[1], dim=0)
                weights = _weigh(query, key, chosen, module.self_attn.scaling)
                total[start : start + chunk] += weights.float().mean(0).cpu()
    return np.asarray((total / len(layers)).numpy())


def row_queries(
    engine: Engine, layer: Any, states: torch.Tensor, position_ids: torch.Tensor
) -> torch.Tensor:
    """The rotated queries of some tokens; the caller holds the engine's lock.

    Args:
        engine: the loaded checkpoint.
        layer: its decoder layer.
        states: (1, rows, hidden), the layer's input.
        position_ids: (3, 1, rows).

    Returns:
        ``(heads, rows, head_dim)`` on the layer's device.
    """
    attention, states = layer.self_attn, states.to(engine.device)
    normed = layer.input_layernorm(states)
    shape = (1, normed.shape[1], -1, attention.head_dim)
    query = attention.q_norm(attention.q_proj(normed).view(shape)).transpose(1, 2)
    rotary = engine.model.model.language_model.rotary_emb
    cos, sin = rotary(states, position_ids.to(engine.device))
    rotated: torch.Tensor = apply_rotary_pos_emb(query, query, cos, sin)[0]
    return rotated[0]


@torch.no_grad()
def _weigh(
    query: torch.Tensor, key: torch.Tensor, rows: Sequence[int], scaling: float
) -> torch.Tensor:
    """``(heads, rows, seq)`` weights of queries ``(heads, rows, head_dim)`` on all keys."""
    scores = query @ key.mT * scaling
    chosen = torch.tensor(list(rows), device=key.device)
    later = torch.arange(key.shape[1], device=key.device) > chosen[:, None]
    scores = scores.masked_fill(later, torch.finfo(scores.dtype).min)
    return scores.softmax(-1, dtype=torch.float32).to(scores.dtype)


def summarise_heads(
    vectors: QueryKey, inputs: ModelInputs, *, num_queries: int = 16
) -> HeadSummary:
    """Entropy and shares of every head of a layer, averaged over the prompt's last tokens.

    Args:
        vectors: of the layer.
        inputs: the record of ``run_preprocess``.
        num_queries: how many of the last tokens to average over; fewer in a shorter prompt.
    """
    first = max(0, inputs.num_tokens - num_queries)
    rows = range(first, inputs.num_tokens)
    weights = attention_rows(vectors, rows).float()
    visual = inputs.mm_token_type_ids[0] > 0
    on_visual, on_first = weights[..., visual].sum(-1), weights[..., 0]
    if visual[0]:  # never with a chat template
        on_first = torch.zeros_like(on_first)
    return HeadSummary(
        entropy=torch.special.entr(weights).sum(-1).mean(-1).numpy(),
        on_visual=on_visual.mean(-1).numpy(),
        on_text=(1 - on_visual - on_first).clamp_min(0).mean(-1).numpy(),
        on_first=on_first.mean(-1).numpy(),
        num_queries=len(rows),
    )


def without_sink(weights: np.ndarray, neutral: np.ndarray) -> np.ndarray:
    """Attention on an image minus that of a neutral prompt: the attention sink is removed.

    Args:
        weights: ``(visual tokens,)`` of a query.
        neutral: the same for the last token of a neutral prompt on the same image.

    Returns:
        ``(visual tokens,)`` float32; positive where this query attends more than the neutral one.
    """
    return np.asarray(weights - neutral, np.float32)
