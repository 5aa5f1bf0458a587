"""Where did it look? Each part of the picture is taken away in turn, and the answer is watched.

Attention shows where a layer reads; what the answer depends on is another question. Here every
merged token (or block of tokens) is zeroed in ``inputs_embeds`` and in
``deepstack_visual_embeds``, and the log-probability of a chosen word is measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from playground.engine import Engine
from playground.errors import InputError
from playground.records import MergedInputs, ModelInputs, Progress, VisualSpan

MAX_ROWS = 16  # masked copies of the sequence in one forward
MAX_BATCH_TOKENS = 16_384  # of all copies together; a longer sequence goes in smaller batches


@dataclass(frozen=True, slots=True, eq=False)
class InfluenceMap:
    """What each block of a picture is worth to one word of the answer."""

    drop: np.ndarray  # (rows, columns) float32, nats: log p with the block - log p without it
    block: int  # tokens along each side of a block; fewer at the right and lower edge
    log_prob: float  # nats, of the word with the whole picture


def measure_influence(
    engine: Engine,
    inputs: ModelInputs,
    merged: MergedInputs,
    span: VisualSpan,
    answer_ids: Sequence[int],
    *,
    block: int = 1,
    progress: Progress | None = None,
) -> InfluenceMap:
    """Mask one block of tokens after the other and measure the last word of an answer.

    Args:
        engine: the loaded checkpoint; its lock is held per batch.
        inputs: the record of ``run_preprocess``.
        merged: the record of ``run_merge`` for the same inputs.
        span: the picture, or the frame of a video.
        answer_ids: the answer so far and, last, the token whose probability is measured.
        block: tokens along each side of a block.
        progress: called before every batch; ``StageCancelled`` raised in it stops.

    Raises:
        InputError: there is no word to measure, or the block has no size.
    """
    if not answer_ids or block < 1:
        raise InputError("There is nothing to measure: no word, or a block without tokens.")
    embeds, positions, mask = _extend(engine, inputs, merged, answer_ids[:-1])
    taps = list(merged.deepstack_visual_embeds or ())
    blocks = _blocks(span, block)
    rows = max(1, min(MAX_ROWS, MAX_BATCH_TOKENS // embeds.shape[1]))
    values: list[float] = []
    sets: list[list[int]] = [[], *blocks]  # the first copy keeps the whole picture
    for start in range(0, len(sets), rows):
        if progress is not None:
            progress("masked copy", start, len(sets))
        values += _log_probs(
            engine, embeds, positions, mask, taps, sets[start : start + rows], answer_ids[-1]
        )
    shape = (-(-span.merged_h // block), -(-span.merged_w // block))
    drop = values[0] - np.array(values[1:]).reshape(shape)
    return InfluenceMap(drop.astype(np.float32), block, values[0])


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's correlation: 1 where two maps order their places alike; NaN if one is constant."""
    a, b = (_ranks(each.ravel()) for each in (first, second))
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float(a @ b) / size if size else float("nan")


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1; equal values share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = counts.cumsum()
    mean: np.ndarray = (last - (counts - 1) / 2)[inverse]
    return mean


def _blocks(span: VisualSpan, block: int) -> list[list[int]]:
    """The sequence indices of each block, line by line."""
    tokens = np.arange(span.start, span.end).reshape(span.merged_h, span.merged_w)
    return [
        tokens[row : row + block, column : column + block].ravel().tolist()
        for row in range(0, span.merged_h, block)
        for column in range(0, span.merged_w, block)
    ]


def _extend(
    engine: Engine, inputs: ModelInputs, merged: MergedInputs, answer_ids: Sequence[int]
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """``inputs_embeds``, ``position_ids`` and ``visual_pos_masks`` with the answer so far."""
    seq, count = inputs.num_tokens, len(answer_ids)
    mask = merged.visual_pos_masks
    if mask is None:
        raise InputError("There is no picture in this prompt.", remedy="Add one.")
    if not count:
        return merged.inputs_embeds, merged.position_ids, mask
    embed: Any = engine.model.get_input_embeddings()
    with engine.exclusive():
        added = embed(torch.tensor([list(answer_ids)], device=engine.device)).cpu()
    later = torch.arange(seq, seq + count) + int(merged.rope_deltas)
    return (
        torch.cat([merged.inputs_embeds, added], dim=1),
        torch.cat([merged.position_ids, later.expand(3, 1, -1)], dim=2),
        torch.cat([mask, torch.zeros(1, count, dtype=torch.bool)], dim=1),
    )


def _log_probs(
    engine: Engine,
    embeds: torch.Tensor,
    positions: torch.Tensor,
    mask: torch.Tensor,
    taps: Sequence[torch.Tensor],
    sets: Sequence[Sequence[int]],
    token_id: int,
) -> list[float]:
    """Log-probability of a token after each masked copy of the sequence."""
    rows, visual = len(sets), mask[0]
    kept = torch.ones(rows, embeds.shape[1], 1, dtype=embeds.dtype)
    for row, tokens in enumerate(sets):
        kept[row, list(tokens)] = 0
    model: Any = engine.model
    with engine.exclusive():
        hidden = model.model.language_model(
            inputs_embeds=(embeds * kept).to(engine.device),
            position_ids=positions.expand(-1, rows, -1).to(engine.device),
            visual_pos_masks=mask.expand(rows, -1).to(engine.device),
            deepstack_visual_embeds=[
                (tap * kept[:, visual]).flatten(0, 1).to(engine.device) for tap in taps
            ],
            use_cache=False,
        ).last_hidden_state[:, -1:]
        log_probs: torch.Tensor = model.lm_head(hidden)[:, 0].float().log_softmax(-1)
        return log_probs[:, token_id].cpu().tolist()
