"""Loops: where a sequence of tokens starts to repeat itself, and how sure the model is of it.

A repeated stretch of period p is a longest run in which each token equals the one p tokens before
it (a *maximal repetition*). It is a loop from three rounds on, or from two if its period is long,
and from six tokens on: "000" in a number is none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MIN_ROUNDS = 3
LONG_PERIOD = 16  # tokens, about one sentence: from here on
LONG_ROUNDS = 2  # so many rounds are enough
MIN_TOKENS = 6


@dataclass(frozen=True, slots=True)
class Loop:
    """One repeated stretch of a sequence."""

    start: int  # index of its first token
    period: int  # tokens of one round, the smallest possible
    num_tokens: int  # of all rounds, the partial last one included

    @property
    def end(self) -> int:
        """One past its last token."""
        return self.start + self.num_tokens

    @property
    def rounds(self) -> int:
        """Whole rounds."""
        return self.num_tokens // self.period

    @property
    def rest(self) -> int:
        """Tokens of the last round if that is partial, else 0."""
        return self.num_tokens % self.period


@dataclass(frozen=True, slots=True)
class LoopRound:
    """One round of a loop."""

    start: int  # index of its first token
    num_tokens: int  # the period, or less in a partial last round
    log_prob: float  # nats, of all its tokens together

    @property
    def mean_log_prob(self) -> float:
        """Nats per token: rounds of different lengths compare."""
        return self.log_prob / self.num_tokens


def find_loops(token_ids: Sequence[int]) -> tuple[Loop, ...]:
    """All loops of a sequence, by start; none lies inside another.

    Args:
        token_ids: for example an answer. The work grows with the square of its length: 4,096
            tokens take 0.2 s.
    """
    ids = np.asarray(token_ids, dtype=np.int64)
    found: list[Loop] = []
    for period in range(1, len(ids) // LONG_ROUNDS + 1):
        found += _repetitions(ids, period)
    # Shorter periods come first: two rounds of "ab" are one round of "abab".
    kept: list[Loop] = []
    for loop in sorted(found, key=lambda each: -each.num_tokens):
        if not any(other.start <= loop.start and loop.end <= other.end for other in kept):
            kept.append(loop)
    return tuple(sorted(kept, key=lambda each: each.start))


def find_loop(token_ids: Sequence[int]) -> Loop | None:
    """The loop that a sequence ends in; else its longest, the first of equals; None without one."""
    loops = find_loops(token_ids)
    if loops and loops[-1].end == len(token_ids):
        return loops[-1]
    return max(loops, key=lambda loop: loop.num_tokens, default=None)


def _repetitions(ids: NDArray[np.int64], period: int) -> list[Loop]:
    """The runs of one period that are long enough for a loop."""
    rounds = (
        LONG_ROUNDS if period >= LONG_PERIOD else max(MIN_ROUNDS, math.ceil(MIN_TOKENS / period))
    )
    same = np.zeros(len(ids) - period + 2, dtype=np.int8)
    same[1:-1] = ids[period:] == ids[:-period]
    edges = np.diff(same)
    starts, ends = (edges == 1).nonzero()[0], (edges == -1).nonzero()[0]
    long_enough = ends - starts >= (rounds - 1) * period
    return [
        Loop(int(start), period, int(end - start) + period)
        for start, end in zip(starts[long_enough], ends[long_enough], strict=True)
    ]


def split_rounds(loop: Loop, log_probs: Sequence[float]) -> tuple[LoopRound, ...]:
    """The log-probability of each round: it rises as the loop locks in.

    Args:
        loop: of the sequence.
        log_probs: nats, of every token of the sequence; as ``TokenStep.raw_log_prob``.

    Returns:
        All rounds in order; the last one may be partial.
    """
    starts = range(loop.start, loop.end, loop.period)
    spans = ((start, min(start + loop.period, loop.end)) for start in starts)
    return tuple(
        LoopRound(start, end - start, float(sum(log_probs[start:end]))) for start, end in spans
    )
