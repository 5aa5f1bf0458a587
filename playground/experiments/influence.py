"""Occlusion (Zeiler and Fergus 2014): mask one part of the image at a time and score the answer.

Attention shows what a layer reads, not what the answer depends on. Here each part of an image is
zeroed in ``inputs_embeds`` and in ``deepstack_visual_embeds``, and the log-probability of one
answer token is measured. A part is a block of image tokens with a margin around it: neighbouring
tokens carry similar information, so masking a single one changes little.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from playground.cache import fork_cache
from playground.capture import capture_inputs
from playground.decoder.attention import row_queries
from playground.engine import Engine
from playground.errors import InputError
from playground.experiments.answers import watch_layers
from playground.language import say
from playground.merge.extend import extend_merged
from playground.records import DecoderOutput, MergedInputs, ModelInputs, Progress, VisualSpan

MAX_ROWS = 16  # masked copies of the sequence in one forward
# Size of the MLP's widest activation for all copies together. Narrow models are faster in larger
# batches (three copies of 1,000 tokens take 0.6 of the time of single ones at hidden size 512);
# the 2B model runs copies of 1,000 tokens one by one, each little slower than a prefill.
MAX_MLP_BYTES = 24_000_000


@dataclass(frozen=True, slots=True, eq=False)
class InfluenceMap:
    """The drop in one answer token's log-probability for each masked part of an image."""

    drop: (
        np.ndarray
    )  # (rows, columns) float32, nats: log p with the part - log p with the part masked
    block: int  # tokens along each side of a block; fewer at the right and lower edge
    margin: int  # tokens around each block that are masked with it
    log_prob: float  # nats, of the answer token with the whole image
    parts: tuple[tuple[int, ...], ...]  # sequence indices of each part, row by row

    @property
    def strongest(self) -> tuple[int, ...]:
        """Sequence indices of the part that the answer token depends on most."""
        return self.parts[int(self.drop.argmax())]


def measure_influence(
    engine: Engine,
    inputs: ModelInputs,
    merged: MergedInputs,
    span: VisualSpan,
    answer_ids: Sequence[int],
    *,
    block: int = 1,
    margin: int = 0,
    progress: Progress | None = None,
) -> InfluenceMap:
    """Mask each part of the image separately and measure the last token of an answer.

    Args:
        engine: the loaded checkpoint; its lock is held per batch.
        inputs: the record of ``run_preprocess``.
        merged: the record of ``run_merge`` for the same inputs.
        span: the image, or the frame of a video.
        answer_ids: the answer so far and, last, the token whose probability is measured.
        block: tokens along each side of a block.
        margin: tokens around each block that are masked with it.
        progress: called before every layer of every batch; ``StageCancelled`` raised in it stops.

    Raises:
        InputError: the answer or the block is empty, or the prompt has no image.
    """
    if not answer_ids or block < 1 or margin < 0:
        raise InputError(
            say("There is nothing to measure: the answer is empty, or a masked part has no tokens.")
        )
    if merged.visual_pos_masks is None:
        raise InputError(say("This prompt has no image."), remedy=say("Add an image or a video."))
    extended = extend_merged(engine, merged, answer_ids[:-1])
    parts = span_parts(span, block, margin)
    copy_bytes = (
        extended.inputs_embeds.shape[1]
        * engine.facts.intermediate_size
        * extended.inputs_embeds.element_size()
    )
    rows = max(1, min(MAX_ROWS, MAX_MLP_BYTES // copy_bytes))
    values: list[float] = []
    sets: list[tuple[int, ...]] = [(), *parts]  # the first copy keeps the whole image
    for start in range(0, len(sets), rows):
        report = _report_copies(progress, start, len(sets))
        values += _log_probs(engine, extended, sets[start : start + rows], answer_ids[-1], report)
    shape = (-(-span.merged_h // block), -(-span.merged_w // block))
    drop = values[0] - np.array(values[1:]).reshape(shape)
    return InfluenceMap(drop.astype(np.float32), block, margin, values[0], tuple(parts))


def _report_copies(progress: Progress | None, start: int, total: int) -> Progress | None:
    """Report the batch's progress at each layer, so that the run can stop there."""
    if progress is None:
        return None
    return lambda what, _layer, _layers: progress(what, start, total)


def span_parts(span: VisualSpan, block: int, margin: int) -> list[tuple[int, ...]]:
    """The sequence indices of each part: a block and the margin around it, row by row."""
    tokens = np.arange(span.start, span.end).reshape(span.merged_h, span.merged_w)
    return [
        tuple(
            tokens[
                max(0, row - margin) : row + block + margin,
                max(0, column - margin) : column + block + margin,
            ]
            .ravel()
            .tolist()
        )
        for row in range(0, span.merged_h, block)
        for column in range(0, span.merged_w, block)
    ]


def attention_by_head(
    engine: Engine,
    merged: MergedInputs,
    decoded: DecoderOutput,
    answer_ids: Sequence[int],
    *,
    progress: Progress | None = None,
) -> np.ndarray:
    """Attention of every head of every layer at the position that predicts the next token.

    The prefill's cache holds the prompt's keys, so that only the answer runs, on a fork of it.

    Args:
        engine: the loaded checkpoint.
        merged: the record of ``run_merge``.
        decoded: the record of ``run_decoder``.
        answer_ids: the answer before the predicted token; may be empty.
        progress: called before every layer; ``StageCancelled`` raised in it stops.

    Returns:
        ``(layers, heads, seq + len(answer_ids))`` float32 weights.
    """
    language_model: Any = engine.model.model.language_model
    cache: Any = fork_cache(decoded.cache)
    states = [state[None, -1:] for state in decoded.hidden_states[:-1]]
    last = decoded.position_ids[:, :, -1:].to(engine.device)
    layers = []
    with engine.exclusive():
        if answer_ids:
            start = decoded.num_tokens + int(merged.rope_deltas)
            later = torch.arange(start, start + len(answer_ids)).expand(3, 1, -1)
            with capture_inputs(
                language_model.layers, progress=progress, what=say("answer, layer")
            ) as captured:
                language_model(
                    input_ids=torch.tensor([list(answer_ids)], device=engine.device),
                    position_ids=later.to(engine.device),
                    cache=cache,
                    use_cache=True,
                )
            states = [state[:, -1:] for state in captured]
            last = later[:, :, -1:].to(engine.device)
        for layer, state in enumerate(states):
            module = language_model.layers[layer]
            query = row_queries(engine, module, state, last)[:, 0].float()
            keys = cache.layers[layer].keys[0].float()
            scores = query.view(len(keys), -1, query.shape[-1]) @ keys.mT
            weights = (scores * module.self_attn.scaling).softmax(-1)
            layers.append(weights.flatten(0, 1).cpu())
    return torch.stack(layers).numpy()


def agreement_by_head(measured: InfluenceMap, attention: np.ndarray) -> np.ndarray:
    """Rank correlation of an occlusion map with each head's attention on the same parts.

    Args:
        measured: the map.
        attention: ``(layers, heads, seq)`` of the position that predicts the token.

    Returns:
        ``(layers, heads)`` float32 in [-1, 1]; NaN where a head's attention is uniform.
    """
    seen = attention_on_parts(measured, attention)
    return np.array(
        [[rank_correlation(measured.drop, head) for head in layer] for layer in seen], np.float32
    )


def attention_on_parts(measured: InfluenceMap, attention: np.ndarray) -> np.ndarray:
    """``(..., parts)``: the sum of weights ``(..., seq)`` on each part of a map."""
    return np.stack([attention[..., list(part)].sum(-1) for part in measured.parts], -1)


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's rank correlation of two maps; NaN if one is constant."""
    a, b = (_ranks(values.ravel()) for values in (first, second))
    a, b = a - a.mean(), b - b.mean()
    size = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float(a @ b) / size if size else float("nan")


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks from 1; equal values share their mean rank."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = counts.cumsum()
    mean: np.ndarray = (last - (counts - 1) / 2)[inverse]
    return mean


def _log_probs(
    engine: Engine,
    merged: MergedInputs,
    sets: Sequence[Sequence[int]],
    token_id: int,
    report: Progress | None,
) -> list[float]:
    """Log-probability of a token after each masked copy of the sequence."""
    mask, embeds = merged.visual_pos_masks, merged.inputs_embeds
    assert mask is not None
    rows, visual = len(sets), mask[0]
    kept = torch.ones(rows, embeds.shape[1], 1, dtype=embeds.dtype)
    for row, tokens in enumerate(sets):
        kept[row, list(tokens)] = 0
    model: Any = engine.model
    with engine.exclusive(), watch_layers(engine, report, say("masked copy")):
        hidden = model.model.language_model(
            inputs_embeds=(embeds * kept).to(engine.device),
            position_ids=merged.position_ids.expand(-1, rows, -1).to(engine.device),
            visual_pos_masks=mask.expand(rows, -1).to(engine.device),
            deepstack_visual_embeds=[
                (tap * kept[:, visual]).flatten(0, 1).to(engine.device)
                for tap in merged.deepstack_visual_embeds or ()
            ],
            use_cache=False,
        ).last_hidden_state[:, -1:]
        log_probs: torch.Tensor = model.lm_head(hidden)[:, 0].float().log_softmax(-1)
        return log_probs[:, token_id].cpu().tolist()
