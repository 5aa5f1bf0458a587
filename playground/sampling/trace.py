"""The records of sampling: settings, generated tokens, and columns of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

MIN_PROB = 1e-45  # smallest float32; stands for a probability that was rounded to zero


@dataclass(frozen=True, slots=True)
class SamplingSettings:
    """One column's settings; each has a neutral value that turns it off."""

    temperature: float = 1.0  # 0 is greedy
    top_k: int = 0  # 0 is off
    top_p: float = 1.0
    min_p: float = 0.0
    typical_p: float = 1.0
    repetition_penalty: float = 1.0  # over prompt and generated tokens, as in transformers
    frequency_penalty: float = 0.0  # over generated tokens only
    presence_penalty: float = 0.0  # over generated tokens only
    no_repeat_ngram_size: int = 0  # 0 is off; over prompt and generated tokens, as in transformers
    thinking_budget: int | None = None  # thinking tokens before </think> is forced; None is off
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Candidate:
    """One of the most likely tokens of a step."""

    id: int
    text: str
    raw_prob: float  # softmax of the unfiltered logits
    prob: float  # after every filter; 0 if it was removed
    removed_by: str | None  # name of the filter that removed it


@dataclass(frozen=True, slots=True)
class TokenStep:
    """One generated token."""

    id: int
    text: str
    prob: float  # in the filtered distribution that it was sampled from
    entropy: float  # nats, of the filtered distribution
    uniform: float | None  # the uniform sample in [0, 1) for the inverse CDF; None when greedy
    num_kept: int  # tokens left after every filter
    top: tuple[Candidate, ...]  # by raw probability
    forced: bool = False  # chosen by the user, not sampled

    @property
    def raw_prob(self) -> float:
        """The token's probability before the filters; the token is always in ``top``."""
        return next(candidate.raw_prob for candidate in self.top if candidate.id == self.id)

    @property
    def raw_log_prob(self) -> float:
        """Its logarithm, in nats; finite even if the probability was rounded to zero."""
        return math.log(max(self.raw_prob, MIN_PROB))


@dataclass(frozen=True, slots=True)
class SamplingTrace:
    """One column's tokens."""

    settings: SamplingSettings
    steps: tuple[TokenStep, ...]
    text: str
    finish_reason: Literal["running", "stop", "length", "window", "error"]
    error: str = ""  # why sampling had to stop; the other columns continued


@dataclass(frozen=True, slots=True)
class SamplingRun:
    """All columns, streamed together from one prefill."""

    traces: tuple[SamplingTrace, ...]

    @property
    def first_divergence(self) -> int | None:
        """First step at which the columns differ; ``None`` if they never do."""
        rows = [[step.id for step in trace.steps] for trace in self.traces]
        for index in range(max((len(row) for row in rows), default=0)):
            if len({row[index] if index < len(row) else -1 for row in rows}) > 1:
                return index
        return None
