"""Sample one token: apply the filters, then invert the CDF at one uniform sample."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from playground.errors import ModelError
from playground.language import say
from playground.logits import check_finite
from playground.sampling.candidates import Ids, LikelyTokens, Numbers, keep_tokens
from playground.sampling.filter_chain import FilterContext
from playground.sampling.logits_filters import REMOVED
from playground.sampling.trace import Candidate, TokenStep

Probabilities = NDArray[np.float64]


def draw_token(
    logits: torch.Tensor, generator: torch.Generator
) -> tuple[int, float, Ids, Probabilities]:
    """Sample by inverting the CDF at one uniform sample.

    The CDF is in order of token id, not of probability: two tokens of almost equal probability
    may swap between a single row and the same row in a batch, which would change the sample.

    Args:
        logits: (vocab,), ``-inf`` for removed tokens.
        generator: the column's own, on the CPU; one float64 is used.

    Returns:
        The token's id, the uniform sample in [0, 1), and the distribution: kept ids (kept,) int64
        and their probabilities (kept,) float64.

    Raises:
        ModelError: no token is left, or the logits overflowed.
    """
    ids, probs = distribution(logits)
    uniform = draw_uniform(generator)
    return int(ids[invert_cdf(probs, uniform)]), uniform, ids, probs


def draw_uniform(generator: torch.Generator) -> float:
    """The column's next uniform sample in [0, 1)."""
    return float(torch.rand((), dtype=torch.float64, generator=generator))


def distribution(logits: torch.Tensor) -> tuple[Ids, Probabilities]:
    """Kept ids in ascending order (kept,) int64, and their probabilities (kept,) float64.

    Args:
        logits: (vocab,), ``-inf`` for removed tokens, on the CPU.

    Raises:
        ModelError: no token is kept, or a kept one is NaN or infinite.
    """
    row = logits.numpy()
    ids = (row != REMOVED).nonzero()[0]
    return ids, _probabilities(row[ids])


def _probabilities(kept: Numbers) -> Probabilities:
    """Softmax of the kept logits (kept,), in float64."""
    if not len(kept) or not np.isfinite(kept).all():
        raise no_distribution()
    exact = kept.astype(np.float64)
    shares = np.exp(exact - exact.max())
    probs: Probabilities = shares / shares.sum()
    return probs


def no_distribution() -> ModelError:
    """No token can be sampled: after the filters a logit is not finite, or none is left."""
    return ModelError(
        say("These settings leave no distribution to sample from."),
        limit=say("After the penalties and the temperature, every logit must be a finite number."),
        remedy=say("Raise the temperature, or set the penalties closer to their neutral values."),
    )


def invert_cdf(probs: Probabilities, uniform: float) -> int:
    """The first index whose cumulative probability exceeds ``uniform``.

    Args:
        probs: (kept,) float64, sum 1 up to rounding.
        uniform: in [0, 1).
    """
    cumulative = probs.cumsum()
    index = int(cumulative.searchsorted(uniform * cumulative[-1], side="right"))
    # Rounding may carry the product up to the sum itself: then take the last possible token.
    return min(index, int(probs.nonzero()[0][-1]))


def sample_next_token(
    logits: torch.Tensor,
    context: FilterContext,
    generator: torch.Generator,
    *,
    top: int = 8,
    text_of: Callable[[int], str] = str,
    forced: int | None = None,
) -> TokenStep:
    """Filter one row of logits and sample its next token.

    Args:
        logits: (vocab,), finite.
        context: the row's settings and tokens; ``generated_ids`` is (1, steps).
        generator: on the CPU; untouched when greedy.
        top: candidates to report, by raw probability. The sampled token is added if it is not
            among them.
        text_of: a token's readable text.
        forced: take this token instead of a sample. The uniform sample is still used up, so that
            later tokens get the same uniform samples as without it.

    Raises:
        ModelError: the logits are not finite, before or after the filters.
    """
    logits = logits.float()
    if not math.isfinite(logits.sum()):  # one pass; it may also have overflowed
        check_finite(logits)
    kept = keep_tokens(logits, context)
    ids, probs = kept.ids, _probabilities(kept.logits)
    uniform = None if context.settings.temperature == 0 else draw_uniform(generator)
    token_id = forced
    if token_id is None:
        token_id = int(ids[0] if uniform is None else ids[invert_cdf(probs, uniform)])
    reported = _most_likely(logits.numpy(), min(top, len(logits)))
    if token_id not in reported:
        reported.append(token_id)
    final = _find(reported, ids, probs)
    return TokenStep(
        id=token_id,
        text=text_of(token_id),
        prob=final[reported.index(token_id)],
        entropy=_entropy(probs),
        uniform=None if forced is not None else uniform,
        num_kept=len(ids),
        top=tuple(
            Candidate(
                id=candidate,
                text=text_of(candidate),
                raw_prob=raw_prob,
                prob=prob,
                removed_by=kept.remover(candidate),
            )
            for candidate, raw_prob, prob in zip(
                reported, _raw_probabilities(logits, reported), final, strict=True
            )
        ),
        forced=forced is not None,
    )


def _most_likely(logits: Numbers, count: int) -> list[int]:
    """The ids of the ``count`` largest logits, the largest first; ties by lower id."""
    if count == 0:
        return []
    ids, values = LikelyTokens(logits).top(count)
    chosen: list[int] = ids[(-values).argsort(kind="stable")[:count]].tolist()
    return chosen


def _find(wanted: list[int], ids: Ids, probs: Probabilities) -> list[float]:
    """The probabilities of some tokens; 0 for tokens not in ``ids``, which are ascending."""
    indices = ids.searchsorted(wanted).clip(max=len(ids) - 1)
    found: list[float] = np.where(ids[indices] == wanted, probs[indices], 0.0).tolist()
    return found


def _raw_probabilities(logits: torch.Tensor, wanted: list[int]) -> list[float]:
    """The model's own probabilities of some tokens."""
    best = logits.amax()
    whole = float((logits - best).exp_().sum())
    probs: list[float] = (np.exp(logits.numpy()[wanted] - float(best)) / whole).tolist()
    return probs


def _entropy(probs: Probabilities) -> float:
    """In nats."""
    drawable = probs[probs > 0]
    return max(0.0, float(-(drawable * np.log(drawable)).sum()))  # no -0.0
