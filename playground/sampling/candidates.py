"""A fast path of the filters for the decode loop, on the most likely tokens only.

``logits_filters`` is the reference: it works on the whole vocabulary of 151,936 tokens, in the
order and precision of transformers. Here the same chain runs only on the most likely tokens,
found in two stages: the maximum of each block of 128, then the tokens of the blocks that matter.
If a cut could fall differently (equal logits across it, a sum within rounding of the limit, more
tokens kept than were examined), the reference decides, so the kept set is always the same.

Few numbers remain of a vocabulary, and for those a numpy call costs a third of a torch call. This
runs for every token of every column.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from playground.sampling.filter_chain import (
    NO_REPEAT_NGRAM,
    VISION_TOKENS,
    FilterContext,
    filter_logits,
    removed_by,
)
from playground.sampling.logits_filters import REMOVED
from playground.sampling.ngrams import completing_ids
from playground.sampling.trace import SamplingSettings

BLOCK = 128  # tokens; 151,936 is 1,187 blocks of it
SMALL_VOCAB = 8192  # up to this many tokens are searched without blocks
POOLS = (128, 1024)  # tokens examined if there is no top-k: first a few, then more
MAX_TOP_K = 1024  # above this the reference is as fast
MARGIN = 1e-5
"""Cuts within this margin (of probability, or in nats) are left to the reference.

float32 sums over a vocabulary are off by a few times 1e-6 at most.
"""

Ids = NDArray[np.int64]
Numbers = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class KeptTokens:
    """The tokens of one row that the filters keep."""

    ids: Ids  # (kept,) int64, ascending
    logits: Numbers  # (kept,) float32, after penalties and temperature
    remover: Callable[[int], str | None]  # name of the filter that removed a token


class LikelyTokens:
    """The most likely tokens of one row, found by block maxima in a large vocabulary."""

    def __init__(self, logits: Numbers) -> None:
        """Prepare the search.

        Args:
            logits: (vocab,) float32; not modified.
        """
        self._logits = logits
        self._blocks: Numbers | None = None
        if len(logits) > SMALL_VOCAB:
            if padding := -len(logits) % BLOCK:
                logits = np.pad(logits, (0, padding), constant_values=REMOVED)
            self._blocks = logits.reshape(-1, BLOCK)
            # Over a whole vocabulary, torch is faster.
            self._maxima = torch.from_numpy(self._blocks).amax(-1).numpy()

    def top(self, count: int) -> tuple[Ids, Numbers]:
        """The ``count`` most likely tokens and ties with the last: ids (ascending) and logits.

        The ``count`` blocks with the largest maxima contain at least ``count`` tokens that reach
        the smallest of these maxima, so all top tokens are in blocks that reach it.
        """
        if self._blocks is None:
            ids = _largest(self._logits, count).nonzero()[0]
            return ids, self._logits[ids]
        blocks = _largest(self._maxima, count).nonzero()[0]
        values = self._blocks[blocks]
        rows, columns = _largest(values, count).nonzero()
        return blocks[rows] * BLOCK + columns, values[rows, columns]


def _largest(values: Numbers, count: int) -> Mask:
    """Mask of the ``count`` largest values and ties with the last; removed tokens are excluded."""
    flat = values.ravel()
    smallest = np.partition(flat, -count)[-count] if count < len(flat) else REMOVED
    kept: Mask = values >= smallest if smallest > REMOVED else values > REMOVED
    return kept


def keep_tokens(logits: torch.Tensor, context: FilterContext) -> KeptTokens:
    """The tokens that ``filter_logits`` keeps of one row, usually from few candidates.

    Args:
        logits: (vocab,) float32, finite, on the CPU.
        context: the row's settings and tokens.
    """
    # If the temperature overflows float32, no token can be sampled; that is checked later.
    with np.errstate(over="ignore", invalid="ignore"):
        found = _keep_candidates(logits.numpy(), context)
    if found is not None:
        return found
    steps = filter_logits(logits[None], context)
    filtered = (steps[-1].logits[0] if steps else logits).numpy()
    ids = (filtered != REMOVED).nonzero()[0]
    return KeptTokens(ids, filtered[ids], lambda token_id: removed_by(steps, 0, token_id))


def _keep_candidates(logits: Numbers, context: FilterContext) -> KeptTokens | None:
    """The chain on the most likely tokens; None if the reference has to decide."""
    settings = context.settings
    if not _has_cut(settings) or settings.top_k > MAX_TOP_K or bool(context.closing_rows.any()):
        return None
    changed = _penalise(logits, context)
    if settings.no_repeat_ngram_size and not (changed > REMOVED).any():
        return None
    if settings.temperature == 0:
        best = np.array([changed.argmax()])
        return _kept(best, changed[best], [("temperature", best)], context)
    likely, heat = LikelyTokens(changed), np.float32(settings.temperature)
    if settings.top_k:
        ids, values = likely.top(settings.top_k + 1)
        values = values / heat
        if len(values) > settings.top_k:
            keep = _largest(values, settings.top_k)
            # The division may create ties at the limit, also with tokens outside these.
            if keep.all():
                return None
            ids, values = ids[keep], values[keep]
        return _cut(ids, values, None, [("top_k", ids)], context)
    total = float(torch.from_numpy(changed / heat).logsumexp(-1))
    for pool in POOLS:
        ids, values = likely.top(pool)
        whole = len(changed) <= pool
        found = _cut(ids, values / heat, None if whole else total, [], context)
        if found is not None:
            return found
    return None


def _log_sum_exp(values: Numbers) -> float:
    best = values.max()
    return float(best) + math.log(np.exp(values - best).sum())


def _cut(
    ids: Ids,
    values: Numbers,
    total: float | None,
    cuts: list[tuple[str, Ids]],
    context: FilterContext,
) -> KeptTokens | None:
    """Top-p, min-p and typical-p on the most likely tokens.

    Args:
        ids: (n,) int64, ascending.
        values: (n,) float32, after penalties and temperature.
        total: log-sum-exp over all tokens; None if these are all the remaining tokens.
        cuts: filters applied so far, each with the ids that it kept.
        context: the row's settings and tokens.
    """
    for name, cut in _CUTS:
        if not _is_on(name, context.settings):
            continue
        limit: float = getattr(context.settings, name)
        keep = cut(values.astype(np.float64), total, limit)
        if keep is None:
            return None
        ids, values, total = ids[keep], values[keep], None
        cuts.append((name, ids))
    return _kept(ids, values, cuts, context) if total is None else None


def _has_cut(settings: SamplingSettings) -> bool:
    return (
        settings.temperature == 0
        or settings.top_k > 0
        or settings.top_p < 1
        or settings.min_p > 0
        or settings.typical_p < 1
    )


def _is_on(name: str, settings: SamplingSettings) -> bool:
    return settings.min_p > 0 if name == "min_p" else getattr(settings, name) < 1


def _penalise(logits: Numbers, context: FilterContext) -> Numbers:
    """The penalties and the vision-token mask, on the affected tokens; as in the reference."""
    settings, vocab = context.settings, len(logits)
    changed = logits.copy()
    if settings.repetition_penalty != 1:
        seen = context.seen_ids[0].numpy()
        seen = seen[seen < vocab]  # a repeated token gets the same value twice
        values, penalty = logits[seen], np.float32(settings.repetition_penalty)
        changed[seen] = np.where(values < 0, values * penalty, values / penalty)
    if settings.no_repeat_ngram_size:
        repeated = completing_ids(context.seen_ids[0], settings.no_repeat_ngram_size)
        changed[repeated[repeated < vocab]] = REMOVED
    barred = context.barred_ids.numpy()
    changed[barred[barred < vocab]] = REMOVED
    if settings.frequency_penalty or settings.presence_penalty:
        generated = context.generated_ids[0].numpy()
        used, counts = np.unique(generated[generated < vocab], return_counts=True)
        values = changed[used]
        if settings.frequency_penalty:
            values = values - np.float32(settings.frequency_penalty) * counts.astype(np.float32)
        if settings.presence_penalty:
            values = values - np.float32(settings.presence_penalty)
        changed[used] = values
    return changed


# ------------------------------------------------------------------------------- the three cuts

Cut = Callable[[Numbers, "float | None", float], "Mask | None"]


def _cut_top_p(values: Numbers, total: float | None, p: float) -> Mask | None:
    """Which of the candidates (n,) top-p keeps; None if that is within rounding."""
    ordered = np.sort(values)[::-1]
    probs = np.exp(ordered - (_log_sum_exp(ordered) if total is None else total))
    # The mass from each token down to the least likely one, as transformers sums it.
    rest = probs[::-1].cumsum()[::-1] if total is None else 1 - probs.cumsum() + probs
    limit, masses = 1 - p, rest.tolist()
    count = max(1, sum(mass > limit for mass in masses))
    near = (masses[count - 1], *masses[count : count + 1])
    if any(abs(mass - limit) < MARGIN for mass in near):
        return None
    if count == len(masses):
        return np.ones(len(values), dtype=bool) if total is None else None
    if ordered[count - 1] == ordered[count]:
        return None
    keep: Mask = values >= ordered[count - 1]
    return keep


def _cut_min_p(values: Numbers, total: float | None, p: float) -> Mask | None:
    """Which of the candidates min-p keeps; None if that is within rounding."""
    above = values - (values.max() + math.log(p))
    if p == 1 or (np.abs(above) < MARGIN).any():
        return None
    keep: Mask = above > 0
    return None if total is not None and keep.all() else keep


def _cut_typical(values: Numbers, total: float | None, mass: float) -> Mask | None:
    """Which of the candidates typical-p keeps; None if that is within rounding."""
    if total is not None:
        return None  # the entropy needs all tokens
    log_probs = values - _log_sum_exp(values)
    probs = np.exp(log_probs)
    distance = np.abs((probs * log_probs).sum() - log_probs)
    order = distance.argsort()
    sums = probs[order].cumsum()
    if (np.abs(sums - mass) < MARGIN).any():
        return None
    limit = distance[order[min(int((sums < mass).sum()), len(values) - 1)]]
    if int((np.abs(distance - limit) < MARGIN * max(limit, 1.0)).sum()) > 1:
        return None
    keep: Mask = distance <= limit
    return keep


_CUTS: tuple[tuple[str, Cut], ...] = (
    ("top_p", _cut_top_p),
    ("min_p", _cut_min_p),
    ("typical_p", _cut_typical),
)


def _kept(
    ids: Ids, values: Numbers, cuts: list[tuple[str, Ids]], context: FilterContext
) -> KeptTokens:
    """The result; ``ids`` must be ascending."""
    # Sets, because looking up every candidate in arrays costs more.
    barred, size = set(context.barred_ids.tolist()), context.settings.no_repeat_ngram_size
    repeated = set(completing_ids(context.seen_ids[0], size).tolist()) if size else set()
    left = [(name, set(kept.tolist())) for name, kept in cuts]

    def remover(token_id: int) -> str | None:
        if token_id in repeated:
            return NO_REPEAT_NGRAM
        if token_id in barred:
            return VISION_TOKENS
        return next((name for name, kept in left if token_id not in kept), None)

    return KeptTokens(ids, values, remover)
