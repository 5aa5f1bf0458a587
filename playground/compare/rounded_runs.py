"""Runs of the rounded weights beside those of the loaded ones: drift, next token and answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from playground.compare.drift import Drift, measure_drift, run_beside
from playground.compare.rounded import Formats, RoundedPart, rounded_model
from playground.engine import Engine
from playground.experiments.what_if_runs import LogitsShift, compare_logits, greedy_answer
from playground.language import say
from playground.pipeline import Run
from playground.prompt import Prompt
from playground.records import Progress
from playground.sampling.trace import SamplingRun, SamplingTrace

TOP_K = 8  # tokens of each run to compare


@dataclass(frozen=True, slots=True, eq=False)
class RoundedRun:
    """One prompt with the loaded weights and with the rounded ones."""

    parts: tuple[RoundedPart, ...]
    drift: Drift
    shift: LogitsShift  # of the next token
    original: SamplingTrace  # greedy answers
    rounded: SamplingTrace

    @property
    def first_difference(self) -> int | None:
        """The first token of the answers that differs, from 0; None if they are equal."""
        return SamplingRun((self.original, self.rounded)).first_divergence


@dataclass(frozen=True, slots=True, eq=False)
class RoundedAnswer:
    """Both greedy answers to one prompt of several."""

    kl: float  # nats: KL(original || rounded) of the first token
    original: SamplingTrace
    rounded: SamplingTrace

    @property
    def first_difference(self) -> int | None:
        """The first token that differs, from 0; None if the answers are equal."""
        return SamplingRun((self.original, self.rounded)).first_divergence


def run_rounded(
    run: Run,
    formats: Formats,
    *,
    original: SamplingTrace,
    max_new_tokens: int,
    progress: Progress | None = None,
) -> RoundedRun:
    """Run a prompt with rounded weights, and compare with the run of the loaded ones.

    Args:
        run: of the loaded weights; missing stages are computed.
        formats: by part of the model.
        original: the run's greedy answer.
        max_new_tokens: of the other answer.
        progress: called before every weight, block, layer and token; ``StageCancelled`` raised in
            it stops.

    Raises:
        InputError: the rounded weights do not fit into memory, or are quantised already.
        ModelError: the logits hold NaN or infinity.
    """
    with rounded_model(run.engine, formats, progress=progress) as model:
        other = _run_other(run, model.engine, formats)
        drift = measure_drift(run, other, progress=progress)
        answer = _answer(other, max_new_tokens, progress)
        shift = compare_logits(run.engine, run.decoded.logits, other.decoded.logits, TOP_K)
        return RoundedRun(model.parts, drift, shift, original, answer)


def try_prompts(
    engine: Engine,
    prompts: Sequence[Prompt],
    formats: Formats,
    *,
    max_new_tokens: int,
    progress: Progress | None = None,
) -> Iterator[tuple[RoundedAnswer, ...]]:
    """Answer several prompts greedily with the loaded weights and with the rounded ones.

    Args:
        engine: the loaded checkpoint.
        prompts: in order.
        formats: by part of the model.
        max_new_tokens: of each answer.
        progress: called before every weight, and with the prompt's number before every block,
            layer and token; ``StageCancelled`` raised in it stops.

    Yields:
        The answers so far, after every prompt.

    Raises:
        InputError: as ``run_rounded``.
        ModelError: the logits hold NaN or infinity.
    """
    found: list[RoundedAnswer] = []
    with rounded_model(engine, formats, progress=progress) as model:
        for index, prompt in enumerate(prompts):
            step = _prompt_progress(index, len(prompts), progress)
            run = Run(engine, prompt)
            run.ensure("decoder", step)
            other = _run_other(run, model.engine, formats)
            other.ensure("decoder", step)
            shift = compare_logits(engine, run.decoded.logits, other.decoded.logits, top_k=1)
            answers = (_answer(each, max_new_tokens, step) for each in (run, other))
            found.append(RoundedAnswer(shift.kl, *answers))
            yield tuple(found)


def _run_other(run: Run, engine: Engine, formats: Formats) -> Run:
    """A run of the same prompt, with the records that rounding does not change."""
    other = run_beside(run, engine)
    if not {"vision", "merger"} & formats.keys():
        other.adopt({"vision": run.vision})
    return other


def _answer(run: Run, max_new_tokens: int, progress: Progress | None) -> SamplingTrace:
    return greedy_answer(
        run.engine,
        run.inputs,
        run.merged,
        run.decoded,
        max_new_tokens=max_new_tokens,
        progress=progress,
    )


def _prompt_progress(index: int, count: int, progress: Progress | None) -> Progress | None:
    """Progress by prompt, which can be stopped at every block, layer and token."""
    if progress is None:
        return None

    def report(_what: str, _done: int, _total: int) -> None:
        progress(say("prompt {number} of {count}", number=index + 1, count=count), index, count)

    return report
