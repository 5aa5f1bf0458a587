"""The filters between the model's logits and sampling; ``filter_chain`` applies them in order.

Source: ``GenerationMixin._get_logits_processor`` and ``transformers.generation.logits_process``,
transformers 5.24. Each filter is a pure function on ``(rows, vocab)`` float32 logits; a removed
token is ``-inf``. Cuts use the same operations and precision as transformers, since summing in
another order moves a cut that falls on a tie.

transformers has no frequency or presence penalty; these follow OpenAI's definition.
"""

from __future__ import annotations

import torch

from playground.sampling.ngrams import completing_ids

REMOVED = -torch.inf

MAX_SHORT_SORT = 4096
"""If at most this many tokens remain, a cut sorts only these, not the whole vocabulary."""


# --------------------------------------------------------------------------- penalties


def penalise_repetition(
    logits: torch.Tensor, penalty: float, seen_ids: torch.Tensor
) -> torch.Tensor:
    """Divide positive logits of seen tokens by the penalty, multiply negative ones.

    Args:
        logits: (rows, vocab).
        penalty: 1 is off, more makes repeating less likely.
        seen_ids: (rows, seq) int64, prompt and generated tokens, as in transformers.
    """
    seen = _count(logits, seen_ids) > 0
    return torch.where(seen, torch.where(logits < 0, logits * penalty, logits / penalty), logits)


def penalise_frequency(
    logits: torch.Tensor, penalty: float, generated_ids: torch.Tensor
) -> torch.Tensor:
    """``logits -= penalty * count``: grows with each time that a token was generated.

    Args:
        logits: (rows, vocab).
        penalty: 0 is off.
        generated_ids: (rows, steps) int64, without the prompt.
    """
    return logits - penalty * _count(logits, generated_ids)


def penalise_presence(
    logits: torch.Tensor, penalty: float, generated_ids: torch.Tensor
) -> torch.Tensor:
    """``logits -= penalty * (count > 0)``: the same however often a token was generated.

    Args:
        logits: (rows, vocab).
        penalty: 0 is off.
        generated_ids: (rows, steps) int64, without the prompt.
    """
    return logits - penalty * (_count(logits, generated_ids) > 0)


def bar_tokens(logits: torch.Tensor, barred_ids: torch.Tensor) -> torch.Tensor:
    """Remove tokens that must never be sampled; ``suppress_tokens`` in transformers.

    Args:
        logits: (rows, vocab).
        barred_ids: (num_barred,) int64.
    """
    return logits.index_fill(-1, barred_ids[barred_ids < logits.shape[-1]], REMOVED)


def bar_repeated_ngrams(logits: torch.Tensor, size: int, seen_ids: torch.Tensor) -> torch.Tensor:
    """Remove the tokens that would complete an n-gram for the second time.

    Args:
        logits: (rows, vocab).
        size: n; 0 is off.
        seen_ids: (rows, seq) int64, prompt and generated tokens, as in transformers.
    """
    if size == 0:
        return logits
    barred = [torch.from_numpy(completing_ids(ids, size)) for ids in seen_ids]
    return torch.stack([bar_tokens(row, ids) for row, ids in zip(logits, barred, strict=True)])


def close_thinking(logits: torch.Tensor, rows: torch.Tensor, end_id: int) -> torch.Tensor:
    """Remove all tokens but ``</think>`` from some rows.

    Args:
        logits: (rows, vocab).
        rows: (rows,) bool.
        end_id: of ``</think>``.
    """
    closed = torch.full_like(logits, REMOVED)
    closed[:, end_id] = logits[:, end_id]
    return torch.where(rows[:, None], closed, logits)


def _count(logits: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """How often each token of the vocabulary occurs in each row of ``ids``: (rows, vocab)."""
    rows, vocab = logits.shape
    # One extra column absorbs ids that the embedding has and lm_head lacks.
    counts = logits.new_zeros(rows, vocab + 1)
    ids = ids.clamp(max=vocab)
    return counts.scatter_add_(1, ids, logits.new_ones(ids.shape))[:, :vocab]


# --------------------------------------------------------------------------- temperature and cuts


def apply_temperature(logits: torch.Tensor, temperature: float) -> torch.Tensor:
    """Divide by the temperature; at 0, the limit, keep only the largest logit.

    Args:
        logits: (rows, vocab).
        temperature: 1 is off, 0 is greedy.
    """
    if temperature == 0:
        best = logits.argmax(-1, keepdim=True)  # same tie-breaking as generate
        return torch.full_like(logits, REMOVED).scatter(-1, best, logits.gather(-1, best))
    return logits / temperature


def keep_top_k(logits: torch.Tensor, k: int) -> torch.Tensor:
    """Keep the ``k`` most likely tokens, and those that tie with the last of them.

    Args:
        logits: (rows, vocab).
        k: 0 is off.
    """
    if k == 0:
        return logits
    smallest = logits.topk(min(k, logits.shape[-1])).values[:, -1:]
    return logits.masked_fill(logits < smallest, REMOVED)


def keep_top_p(logits: torch.Tensor, p: float) -> torch.Tensor:
    """Keep the most likely tokens that together have at least probability ``p``; at least one.

    Nucleus sampling, Holtzman et al. 2019, https://arxiv.org/abs/1904.09751.

    Args:
        logits: (rows, vocab).
        p: 1 is off.
    """
    if p >= 1:
        return logits
    ordered, ids = _sort_kept(logits, logits, removed_first=True)
    cut = _find_top_p_cut(ordered, p)
    # Equal logits on both sides of the cut: the full sort decides which of them is removed.
    if ((cut[:, 1:] != cut[:, :-1]) & (ordered.diff(dim=-1) == 0)).any():
        ordered, ids = logits.sort(dim=-1)
        cut = _find_top_p_cut(ordered, p)
    removed = torch.zeros_like(logits, dtype=torch.bool).scatter(1, ids, cut[:, -ids.shape[1] :])
    return logits.masked_fill(removed, REMOVED)


def _find_top_p_cut(ordered: torch.Tensor, p: float) -> torch.Tensor:
    """Which of the ascending logits top-p removes: (rows, vocab) bool."""
    cut = ordered.softmax(-1).cumsum(-1) <= 1 - p
    cut[:, -1] = False
    return cut


def keep_min_p(logits: torch.Tensor, p: float) -> torch.Tensor:
    """Keep tokens at least ``p`` times as likely as the most likely one.

    Min-p sampling, Nguyen et al. 2024, https://arxiv.org/abs/2407.01082.

    Args:
        logits: (rows, vocab).
        p: 0 is off.
    """
    probs = logits.softmax(-1)
    best = probs.amax(-1, keepdim=True)
    # The most likely token always stays: p * best may round up past best only for p > 1.
    return logits.masked_fill(probs < p * best, REMOVED)


def keep_typical(logits: torch.Tensor, mass: float) -> torch.Tensor:
    """Keep the tokens whose surprisal is nearest the entropy, up to probability ``mass``.

    Locally typical sampling, Meister et al. 2022, https://arxiv.org/abs/2202.00666.

    Args:
        logits: (rows, vocab).
        mass: 1 is off.
    """
    if mass >= 1:
        return logits
    log_probs = logits.log_softmax(-1)
    entropy = -(log_probs * log_probs.exp()).nansum(-1, keepdim=True)
    distance = (-log_probs - entropy).abs()
    ordered, ids = _sort_kept(logits, distance, removed_first=False)
    # Equal distances may be in any order, so the cut at a distance keeps all or none of them.
    num_below = (ordered.softmax(-1).cumsum(-1) < mass).sum(-1, keepdim=True)
    last = ids.gather(1, num_below.clamp(max=ids.shape[1] - 1))
    removed = distance > distance.gather(1, last)
    removed.scatter_(1, ids[:, :1], False)
    return logits.masked_fill(removed, REMOVED)


def _sort_kept(
    logits: torch.Tensor, keys: torch.Tensor, *, removed_first: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits in ascending order of ``keys``, with the removed tokens at one end.

    After top-k, nearly all tokens are removed. Sorting only the others and padding with ``-inf``
    to the full width gives softmax and cumsum the same values at the same indices as a full sort,
    bit for bit. Equal keys stay in the order of their ids, as in ``torch.sort`` on a CPU: in
    another order a sum may be rounded differently, which moves a cut that falls on it.

    Args:
        logits: (rows, vocab).
        keys: (rows, vocab).
        removed_first: whether removed tokens have the smallest keys (``-inf``, at the front) or
            the largest (``inf``, at the back).

    Returns:
        The ordered logits (rows, vocab), and the ids (rows, n) of the n entries at the other end.
    """
    # At least one: the n-gram ban may leave nothing of a small vocabulary.
    num_kept = max(1, int((logits > REMOVED).sum(-1).max()))
    if num_kept > MAX_SHORT_SORT:
        ids = keys.sort(dim=-1, stable=True).indices
        return logits.gather(1, ids), ids
    chosen = keys.topk(num_kept, largest=removed_first, sorted=False).indices.sort(dim=-1).values
    ids = chosen.gather(1, keys.gather(1, chosen).sort(dim=-1, stable=True).indices)
    padding = logits.new_full((len(logits), logits.shape[-1] - num_kept), REMOVED)
    if removed_first:
        return torch.cat([padding, logits.gather(1, ids)], dim=-1), ids
    return torch.cat([logits.gather(1, ids), padding], dim=-1), ids
