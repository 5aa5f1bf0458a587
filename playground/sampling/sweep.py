"""Sweep one setting over a range: several answers per value, all from one prefill."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from statistics import mean

from playground.engine import Engine
from playground.errors import InputError
from playground.language import say
from playground.records import Progress
from playground.sampling.branches import joint_log_prob
from playground.sampling.columns import Sampler
from playground.sampling.paths import Prefix
from playground.sampling.settings import LIMITS, MAX_COLUMNS, check_count, check_settings
from playground.sampling.trace import SamplingSettings, SamplingTrace

MAX_VALUES = 16
MAX_SAMPLES = 16
MAX_SWEEP_TOKENS = 256
SWEPT = tuple(name for name in LIMITS if name not in ("seed", "thinking_budget"))


@dataclass(frozen=True, slots=True)
class SweepAnswer:
    """One answer at one value."""

    text: str
    num_tokens: int
    entropy: float  # nats, mean over its tokens, after the filters
    log_prob: float  # nats, of the whole answer before the filters
    is_whole: bool  # ended by the model


@dataclass(frozen=True, slots=True)
class SweepPoint:
    """All answers at one value."""

    value: float
    answers: tuple[SweepAnswer, ...]  # in the order of their seeds

    @property
    def counts(self) -> Counter[str]:
        """How often each distinct answer occurs."""
        return Counter(answer.text for answer in self.answers)

    @property
    def mean_tokens(self) -> float:
        """Mean length."""
        return mean(answer.num_tokens for answer in self.answers)

    @property
    def mean_entropy(self) -> float:
        """Mean of the answers' mean entropies, in nats."""
        return mean(answer.entropy for answer in self.answers)


@dataclass(frozen=True, slots=True)
class Sweep:
    """A sweep of one setting."""

    parameter: str
    base: SamplingSettings  # all other settings; its seed is that of the first sample
    num_samples: int
    points: tuple[SweepPoint, ...]


def plan_sweep(
    base: SamplingSettings, parameter: str, low: object, high: object, steps: object
) -> tuple[SamplingSettings, ...]:
    """The settings of each value, evenly spaced from ``low`` to ``high``.

    Values of a whole-number setting are rounded, and duplicates are dropped.

    Raises:
        InputError: no such setting, too many values, or a value out of range.
    """
    if parameter not in SWEPT:
        raise InputError(
            say("{name} cannot be swept.", name=repr(parameter)),
            limit=say("Choose one of {names}.", names=", ".join(SWEPT)),
        )
    count = check_count(say("Values"), steps, MAX_VALUES)
    first, last = (getattr(_with(base, parameter, end), parameter) for end in (low, high))
    span = max(1, count - 1)
    values = [first + (last - first) * step / span for step in range(count)]
    whole = LIMITS[parameter].whole
    distinct = dict.fromkeys(round(value) if whole else round(value, 6) for value in values)
    return tuple(_with(base, parameter, value) for value in distinct)


def _with(base: SamplingSettings, parameter: str, value: object) -> SamplingSettings:
    return check_settings(asdict(base) | {parameter: value})


def stream_sweep(
    engine: Engine,
    prompt: Prefix,
    parameter: str,
    planned: tuple[SamplingSettings, ...],
    *,
    num_samples: object,
    max_new_tokens: int,
    progress: Progress | None = None,
) -> Iterator[Sweep]:
    """Generate ``num_samples`` answers for each of the planned settings, in batches.

    Seeds count up from the settings' own seed and are the same at every value, so only the setting
    differs. A greedy answer is generated once and counted ``num_samples`` times.

    Args:
        engine: the loaded checkpoint; its lock is held per forward pass.
        prompt: the end of the prompt, from which all answers start.
        parameter: the setting that is swept.
        planned: one per value, see ``plan_sweep``.
        num_samples: answers per value, 1 to ``MAX_SAMPLES``.
        max_new_tokens: 1 to ``MAX_SWEEP_TOKENS``, or the engine's limit if that is lower.
        progress: called before every token; ``StageCancelled`` raised in it stops the run.

    Yields:
        The sweep so far, after every batch of answers.
    """
    count = check_count(say("Answers per value"), num_samples, MAX_SAMPLES)
    length = check_count(
        say("Max new tokens"), max_new_tokens, engine.limits.at_most(MAX_SWEEP_TOKENS)
    )
    jobs = [
        (row, _seeded(column, sample))
        for row, column in enumerate(planned)
        for sample in range(1 if column.temperature == 0 else count)
    ]
    answers: list[list[SweepAnswer]] = [[] for _ in planned]
    for first in range(0, len(jobs), MAX_COLUMNS):
        batch = jobs[first : first + MAX_COLUMNS]
        sampler = Sampler(
            engine, prompt, [column for _, column in batch], max_new_tokens=length, top=1
        )

        def report(_what: str, done: int, total: int, first: int = first) -> None:
            if progress is not None:
                share = first + len(batch) * done / total  # noqa: B023 - called within the turn
                progress(say("answers"), round(share), len(jobs))

        for _ in sampler.stream(report):
            pass
        for (row, column), trace in zip(batch, sampler.run.traces, strict=True):
            times = count if column.temperature == 0 else 1
            answers[row] += [_answer(trace)] * times
        yield _sweep(parameter, planned, count, answers)


def _seeded(column: SamplingSettings, sample: int) -> SamplingSettings:
    limit = int(LIMITS["seed"].high)
    return _with(column, "seed", (column.seed + sample) % (limit + 1))


def _answer(trace: SamplingTrace) -> SweepAnswer:
    return SweepAnswer(
        text=trace.text,
        num_tokens=len(trace.steps),
        entropy=mean(step.entropy for step in trace.steps),
        log_prob=joint_log_prob(trace.steps),
        is_whole=trace.finish_reason == "stop",
    )


def _sweep(
    parameter: str,
    planned: tuple[SamplingSettings, ...],
    count: int,
    answers: list[list[SweepAnswer]],
) -> Sweep:
    """The sweep so far; values without answers are left out."""
    points = tuple(
        SweepPoint(getattr(column, parameter), tuple(found))
        for column, found in zip(planned, answers, strict=True)
        if found
    )
    return Sweep(parameter, planned[0], count, points)
