"""The filters on candidates alone, for the decode loop: a vocabulary has 151,936 tokens, and nearly
all of them are out of the running.

``logits_filters`` is the reference: it works on the whole vocabulary, in the order and precision of
transformers. Here the same chain looks only at the likeliest tokens, found in two stages: the
largest of each block of 128, then the tokens of the blocks that matter. Where a cut could fall
differently (equal logits across it, a sum within rounding of the limit, more tokens kept than were
looked at) it is left to the reference, so that the kept set is always the same.

What is left of a vocabulary is a few numbers, for which a call into numpy costs a third of one into
torch: this runs for every token of every column.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from playground.records import SamplingSettings
from playground.sampling.logits_filters import (
    REMOVED,
    VISION_TOKENS,
    FilterContext,
    filter_logits,
    removed_by,
)

BLOCK = 128  # tokens; 151,936 is 1,187 blocks of it
SMALL_VOCAB = 8192  # up to so many tokens are looked through one by one
POOLS = (128, 1024)  # tokens looked at where no top-k says how many: first few, then more
MAX_TOP_K = 1024  # past it the reference is as fast
MARGIN = 1e-5
"""Cuts nearer than this (as a share of probability, or in nats) are left to the reference.

float32 sums over a vocabulary are off by a few times 1e-6 at most.
"""

Ids = NDArray[np.int64]
Numbers = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class KeptTokens:
    """What the filters leave of one row."""

    ids: Ids  # (kept,) int64, ascending
    logits: Numbers  # (kept,) float32, after penalties and temperature
    remover: Callable[[int], str | None]  # name of the filter that removed a token


class LikelyTokens:
    """Finds the likeliest tokens of one row, in a large vocabulary by the maxima of its blocks."""

    def __init__(self, logits: Numbers) -> None:
        """Look through a row.

        Args:
            logits: (vocab,) float32; it is not changed.
        """
        self._logits = logits
        self._blocks: Numbers | None = None
        if len(logits) > SMALL_VOCAB:
            if padding := -len(logits) % BLOCK:
                logits = np.pad(logits, (0, padding), constant_values=REMOVED)
            self._blocks = logits.reshape(-1, BLOCK)
            # Over a whole vocabulary torch is the faster one.
            self._maxima = torch.from_numpy(self._blocks).amax(-1).numpy()

    def top(self, count: int) -> tuple[Ids, Numbers]:
        """The ``count`` likeliest tokens and those that tie with the last: ids ascending, logits.

        The ``count`` blocks with the largest maxima hold as many tokens of at least the smallest
        of these maxima, so the tokens of the top are among the blocks that reach it.
        """
        if self._blocks is None:
            ids = _largest(self._logits, count).nonzero()[0]
            return ids, self._logits[ids]
        blocks = _largest(self._maxima, count).nonzero()[0]
        values = self._blocks[blocks]
        rows, places = _largest(values, count).nonzero()
        return blocks[rows] * BLOCK + places, values[rows, places]


def _largest(values: Numbers, count: int) -> Mask:
    """Where the ``count`` largest numbers stand, and what ties with the last; none removed."""
    flat = values.ravel()
    smallest = np.partition(flat, -count)[-count] if count < len(flat) else REMOVED
    kept: Mask = values >= smallest if smallest > REMOVED else values > REMOVED
    return kept


def keep_tokens(logits: torch.Tensor, context: FilterContext) -> KeptTokens:
    """What ``filter_logits`` leaves of one row, without a look at most of it.

    Args:
        logits: (vocab,) float32, finite, on the CPU.
        context: the row's settings and tokens.
    """
    # Where the temperature drives logits past float32 nothing is left to draw from, in the end.
    with np.errstate(over="ignore", invalid="ignore"):
        found = _keep_candidates(logits.numpy(), context)
    if found is not None:
        return found
    steps = filter_logits(logits[None], context)
    filtered = (steps[-1].logits[0] if steps else logits).numpy()
    ids = (filtered != REMOVED).nonzero()[0]
    return KeptTokens(ids, filtered[ids], lambda token_id: removed_by(steps, 0, token_id))


def _keep_candidates(logits: Numbers, context: FilterContext) -> KeptTokens | None:
    """The chain on the likeliest tokens; None where only the reference can tell."""
    settings = context.settings
    if not _has_cut(settings) or settings.top_k > MAX_TOP_K:
        return None
    changed = _penalise(logits, context)
    if settings.temperature == 0:
        best = np.array([changed.argmax()])
        return _kept(best, changed[best], [("temperature", best)], context)
    likely, heat = LikelyTokens(changed), np.float32(settings.temperature)
    if settings.top_k:
        ids, values = likely.top(settings.top_k + 1)
        values = values / heat
        if len(values) > settings.top_k:
            keep = _largest(values, settings.top_k)
            # The division may round the next token up to the limit, and others that are not here.
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
    """Top-p, min-p and typical-p on the likeliest tokens.

    Args:
        ids: (n,) int64, ascending.
        values: (n,) float32, after penalties and temperature.
        total: log of the sum over all tokens; None where these are all that is left.
        cuts: what was cut before.
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
    """The penalties and the bar on the few tokens that they touch, number for number as there."""
    settings, vocab = context.settings, len(logits)
    changed = logits.copy()
    if settings.repetition_penalty != 1:
        seen = context.seen_ids[0].numpy()
        seen = seen[seen < vocab]  # a token that comes twice gets the same number twice
        values, penalty = logits[seen], np.float32(settings.repetition_penalty)
        changed[seen] = np.where(values < 0, values * penalty, values / penalty)
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
    """Which of the candidates (n,) top-p keeps; None where that is within rounding."""
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
    """Which of the candidates min-p keeps; None where that is within rounding."""
    above = values - (values.max() + math.log(p))
    if p == 1 or (np.abs(above) < MARGIN).any():
        return None
    keep: Mask = above > 0
    return None if total is not None and keep.all() else keep


def _cut_typical(values: Numbers, total: float | None, mass: float) -> Mask | None:
    """Which of the candidates typical-p keeps; None where that is within rounding."""
    if total is not None:
        return None  # the entropy is one of all tokens
    log_probs = values - _log_sum_exp(values)
    probs = np.exp(log_probs)
    distance = np.abs((probs * log_probs).sum() - log_probs)
    places = distance.argsort()
    sums = probs[places].cumsum()
    if (np.abs(sums - mass) < MARGIN).any():
        return None
    limit = distance[places[min(int((sums < mass).sum()), len(values) - 1)]]
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
    """The result; ids come in ascending order."""
    # Sets once: a look into an array for each candidate and cut costs more.
    barred = set(context.barred_ids.tolist())
    left = [(name, set(kept.tolist())) for name, kept in cuts]

    def remover(token_id: int) -> str | None:
        if token_id in barred:
            return VISION_TOKENS
        return next((name for name, kept in left if token_id not in kept), None)

    return KeptTokens(ids, values, remover)
