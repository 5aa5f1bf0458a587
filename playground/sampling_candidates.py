"""The filters on candidates alone, for the decode loop: a vocabulary has 151,936 words, and nearly
all of them are out of the running.

``logits_filters`` is the reference: it works on the whole vocabulary, in the order and precision of
transformers. Here the same chain looks only at the likeliest words, found in two stages: the
largest of each block of 128, then the words of the blocks that matter. Where a cut could fall
differently (equal logits across it, a sum within rounding of the limit, more words kept than were
looked at) it is left to the reference, so that the kept set is always the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from playground.logits_filters import (
    REMOVED,
    VISION_TOKENS,
    FilterContext,
    filter_logits,
    removed_by,
)
from playground.records import SamplingSettings

BLOCK = 128  # words; 151,936 is 1,187 blocks of it
POOLS = (128, 1024)  # words looked at where no top-k says how many: first few, then more
MAX_TOP_K = 1024  # past it the reference is as fast
MARGIN = 1e-5
"""Cuts nearer than this (as a share of probability, or in nats) are left to the reference.

float32 sums over a vocabulary are off by a few times 1e-6 at most.
"""


@dataclass(frozen=True, slots=True, eq=False)
class KeptTokens:
    """What the filters leave of one row."""

    ids: torch.Tensor  # (kept,) int64, ascending
    logits: torch.Tensor  # (kept,) float32, after penalties and temperature
    remover: Callable[[int], str | None]  # name of the filter that removed a token


class BlockMax:
    """The largest logit of each block of one row, to find the row's likeliest words fast."""

    def __init__(self, logits: torch.Tensor) -> None:
        """Look through a row.

        Args:
            logits: (vocab,) float32; it is not changed.
        """
        vocab = len(logits)
        padding = -vocab % BLOCK
        if padding:
            logits = torch.cat([logits, logits.new_full((padding,), REMOVED)])
        self._blocks = logits.view(-1, BLOCK)
        self.maxima = self._blocks.amax(-1)

    def top(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The ``count`` likeliest words and those that tie with the last: ids ascending, logits.

        The ``count`` blocks with the largest maxima hold as many words of at least the smallest
        of these maxima, so the words of the top are among the blocks that reach it.
        """
        count = min(count, self._blocks.numel())
        num_blocks = min(count, len(self.maxima))
        reach = self.maxima.topk(num_blocks).values[-1]
        blocks = (self.maxima >= reach).nonzero()[:, 0]
        words = self._blocks[blocks]
        smallest = words.flatten().topk(count).values[-1]
        kept = words >= smallest if smallest > REMOVED else words > REMOVED
        rows, places = kept.nonzero(as_tuple=True)
        return blocks[rows] * BLOCK + places, words[rows, places]


def keep_tokens(logits: torch.Tensor, context: FilterContext) -> KeptTokens:
    """What ``filter_logits`` leaves of one row, without a look at most of it.

    Args:
        logits: (vocab,) float32, finite.
        context: the row's settings and tokens.
    """
    found = _keep_candidates(logits, context)
    if found is not None:
        return found
    steps = filter_logits(logits[None], context)
    filtered = steps[-1].logits[0] if steps else logits
    ids = (filtered != REMOVED).nonzero()[:, 0]
    return KeptTokens(ids, filtered[ids], lambda token_id: removed_by(steps, 0, token_id))


def _keep_candidates(logits: torch.Tensor, context: FilterContext) -> KeptTokens | None:
    """The chain on the likeliest words; None where only the reference can tell."""
    settings = context.settings
    if not _has_cut(settings) or settings.top_k > MAX_TOP_K:
        return None
    changed = _penalise(logits, context)
    if settings.temperature == 0:
        best = changed[None].argmax(-1)
        return _kept(best, changed[best], [("temperature", best)], context)
    words = BlockMax(changed)
    if settings.top_k:
        ids, values = words.top(settings.top_k + 1)
        values = values / settings.temperature
        if len(values) > settings.top_k:
            smallest = values.topk(settings.top_k).values[-1]
            keep = values >= smallest
            # The division may round the next word up to the limit, and others that are not here.
            if bool(keep.all()):
                return None
            ids, values = ids[keep], values[keep]
        return _cut(ids, values, None, [("top_k", ids)], context)
    total = (changed / settings.temperature).logsumexp(-1).double()
    for pool in POOLS:
        ids, values = words.top(pool)
        values = values / settings.temperature
        found = _cut(ids, values, None if len(changed) <= pool else total, [], context)
        if found is not None:
            return found
    return None


def _cut(
    ids: torch.Tensor,
    values: torch.Tensor,
    total: torch.Tensor | None,
    cuts: list[tuple[str, torch.Tensor]],
    context: FilterContext,
) -> KeptTokens | None:
    """Top-p, min-p and typical-p on the likeliest words.

    Args:
        ids: (n,) int64, ascending.
        values: (n,) float32, after penalties and temperature.
        total: log of the sum over all words; None where these are all that is left.
        cuts: what was cut before.
        context: the row's settings and tokens.
    """
    for name, cut in _CUTS:
        if not _is_on(name, context.settings):
            continue
        limit: float = getattr(context.settings, name)
        keep = cut(values.double(), total, limit)
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


def _penalise(logits: torch.Tensor, context: FilterContext) -> torch.Tensor:
    """The penalties and the bar on the few words that they touch, number for number as there."""
    settings, vocab = context.settings, len(logits)
    changed = logits.clone()
    if settings.repetition_penalty != 1:
        seen = context.seen_ids[0]
        seen = seen[seen < vocab].unique()
        values, penalty = logits[seen], settings.repetition_penalty
        changed[seen] = torch.where(values < 0, values * penalty, values / penalty)
    changed[context.barred_ids[context.barred_ids < vocab]] = REMOVED
    if settings.frequency_penalty or settings.presence_penalty:
        generated = context.generated_ids[0]
        used, counts = generated[generated < vocab].unique(return_counts=True)
        values = changed[used]
        if settings.frequency_penalty:
            values = values - settings.frequency_penalty * counts.float()
        if settings.presence_penalty:
            values = values - settings.presence_penalty
        changed[used] = values
    return changed


# ------------------------------------------------------------------------------- the three cuts

Cut = Callable[[torch.Tensor, "torch.Tensor | None", float], "torch.Tensor | None"]


def _cut_top_p(values: torch.Tensor, total: torch.Tensor | None, p: float) -> torch.Tensor | None:
    """Which of the candidates (n,) top-p keeps; None where that is within rounding."""
    ordered, places = values.sort(descending=True)
    probs = (ordered - (ordered.logsumexp(-1) if total is None else total)).exp()
    # The mass from each word down to the least likely one, as transformers sums it.
    rest = probs.flip(-1).cumsum(-1).flip(-1) if total is None else 1 - probs.cumsum(-1) + probs
    # What follows is a few numbers: Python is faster than the calls into torch.
    limit, masses = 1 - p, rest.tolist()
    count = max(1, sum(mass > limit for mass in masses))
    near = (masses[count - 1], *masses[count : count + 1])
    if any(abs(mass - limit) < MARGIN for mass in near):
        return None
    if count == len(masses):
        return torch.ones_like(values, dtype=torch.bool) if total is None else None
    if ordered[count - 1] == ordered[count]:
        return None
    return torch.zeros_like(values, dtype=torch.bool).index_fill(0, places[:count], True)


def _cut_min_p(values: torch.Tensor, total: torch.Tensor | None, p: float) -> torch.Tensor | None:
    """Which of the candidates min-p keeps; None where that is within rounding."""
    above = values - values.max() - math.log(p)
    if p == 1 or bool((above.abs() < MARGIN).any()):
        return None
    keep = above > 0
    return None if total is not None and bool(keep.all()) else keep


def _cut_typical(
    values: torch.Tensor, total: torch.Tensor | None, mass: float
) -> torch.Tensor | None:
    """Which of the candidates typical-p keeps; None where that is within rounding."""
    if total is not None:
        return None  # the entropy is one of all words
    log_probs = values.log_softmax(-1)
    distance = (-log_probs + (log_probs * log_probs.exp()).sum()).abs()
    ordered = distance.sort()
    sums = log_probs[ordered.indices].exp().cumsum(-1)
    if bool(((sums - mass).abs() < MARGIN).any()):
        return None
    last = min(int((sums < mass).sum()), len(values) - 1)
    limit = ordered.values[last]
    near = (distance - limit).abs() < MARGIN * limit.clamp(min=1)
    return None if int(near.sum()) > 1 else distance <= limit


_CUTS: tuple[tuple[str, Cut], ...] = (
    ("top_p", _cut_top_p),
    ("min_p", _cut_min_p),
    ("typical_p", _cut_typical),
)


def _kept(
    ids: torch.Tensor,
    values: torch.Tensor,
    cuts: list[tuple[str, torch.Tensor]],
    context: FilterContext,
) -> KeptTokens:
    """The result; ids come in ascending order."""
    # Sets once: a look into a tensor for each candidate and cut cost a tenth of a token's choice.
    barred = set(context.barred_ids.tolist())
    left = [(name, set(kept.tolist())) for name, kept in cuts]

    def remover(token_id: int) -> str | None:
        if token_id in barred:
            return VISION_TOKENS
        return next((name for name, kept in left if token_id not in kept), None)

    return KeptTokens(ids, values, remover)
