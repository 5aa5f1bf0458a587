"""Run the first checkpoint with stages of the second, and measure what each of them carries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from playground.answer.stage import extend_run
from playground.compare.mix import StageOfModel, list_stages, mix_engines
from playground.decoder.stage import run_decoder
from playground.engine import Engine
from playground.errors import InputError
from playground.experiments.later_layers import run_later_layers
from playground.experiments.what_if_runs import greedy_answer, kl_divergence
from playground.language import say
from playground.merge.stage import run_merge
from playground.pipeline import Run
from playground.records import DecoderOutput, MergedInputs, Progress
from playground.sampling.trace import SamplingTrace


@dataclass(frozen=True, slots=True, eq=False)
class MixedRun:
    """A prefill of the first checkpoint with stages of the second."""

    engine: Engine
    merged: MergedInputs
    decoded: DecoderOutput


@dataclass(frozen=True, slots=True)
class StageEffect:
    """What one stage of the second checkpoint does to the first one's next-token distribution."""

    stage: StageOfModel
    kl_first: float  # nats: KL(first || mixed)
    kl_second: float  # nats: KL(second || mixed); 0 if the stage carries the whole change
    top: int  # id of the most likely token


@dataclass(frozen=True, slots=True)
class StageEffects:
    """The effect of each stage alone."""

    kl: float  # nats: KL(second || first), what all stages together change
    stages: tuple[StageEffect, ...]

    def carried(self, effect: StageEffect) -> float:
        """Share of the change that one stage carries, at most 1; negative if it leads away."""
        return 1 - effect.kl_second / self.kl if self.kl else 0.0


def runs_at_difference(
    first: Run,
    second: Run,
    answers: tuple[Sequence[int], Sequence[int]],
    *,
    progress: Progress | None = None,
) -> tuple[Run, Run, int]:
    """Both runs up to the first token in which the answers differ.

    Args:
        first: the prompt with the first checkpoint.
        second: the same prompt with the second one.
        answers: the tokens of both answers.
        progress: called before every layer.

    Returns:
        The runs over the prompt and the tokens that both answers begin with, and their number; the
        given runs and 0 if there are none, or if the answers are equal.
    """
    pairs = enumerate(zip(*answers, strict=False))
    shared = next((index for index, (a, b) in pairs if a != b), 0)
    if shared == 0:
        return first, second, 0
    ids = tuple(answers[0][:shared])
    extended = [extend_run(run, ids, progress=progress) for run in (first, second)]
    return extended[0], extended[1], shared


def run_mixed(
    first: Run,
    second: Run,
    stages: Sequence[StageOfModel],
    *,
    progress: Progress | None = None,
) -> MixedRun:
    """Prefill with stages of the second checkpoint; what they leave as it was is not run again.

    Args:
        first: a run of the first checkpoint.
        second: the same prompt with the second one.
        stages: of ``mix.list_stages``.
        progress: called before every layer that runs.

    Raises:
        InputError: the checkpoints' processors turn the prompt into different inputs.
        ModelError: the logits hold NaN or infinity.
    """
    _check_inputs(first, second)
    engine = mix_engines(first.engine, second.engine, stages)
    names = {stage.name for stage in stages}
    merged = first.merged
    if names & {"vision", "embeddings"}:
        vision = (second if "vision" in names else first).vision
        merged = run_merge(engine, first.inputs, vision)
        return MixedRun(
            engine, merged, run_decoder(engine, first.inputs, merged, progress=progress)
        )
    layers = [stage.layer for stage in stages if stage.name == "layer"]
    decoded = run_later_layers(
        engine,
        merged,
        first.inputs.attention_mask,
        first.decoded,
        min(layers, default=first.decoded.num_layers),
        progress=progress,
    )
    return MixedRun(engine, merged, decoded)


def answer_mixed(
    first: Run, mixed: MixedRun, *, max_new_tokens: int, progress: Progress | None = None
) -> SamplingTrace:
    """The mixed model's greedy answer to the prompt of ``first``."""
    return greedy_answer(
        mixed.engine,
        first.inputs,
        mixed.merged,
        mixed.decoded,
        max_new_tokens=max_new_tokens,
        progress=progress,
    )


def measure_stages(
    first: Run, second: Run, *, progress: Progress | None = None
) -> Iterator[StageEffects]:
    """Put each stage of the second checkpoint alone into the first.

    Yields:
        The effects so far, after every stage.
    """
    stages = list_stages(first.engine)
    wanted = second.decoded.logits
    found: list[StageEffect] = []
    kl = kl_divergence(wanted, first.decoded.logits)
    for index, stage in enumerate(stages):
        if progress is not None:
            progress(say("one stage of the second checkpoint"), index, len(stages))
        logits = run_mixed(first, second, [stage]).decoded.logits
        kl_first = kl_divergence(first.decoded.logits, logits)
        found.append(
            StageEffect(stage, kl_first, kl_divergence(wanted, logits), int(logits.argmax()))
        )
        yield StageEffects(kl, tuple(found))


def _check_inputs(first: Run, second: Run) -> None:
    one, other = first.inputs.tensors, second.inputs.tensors
    if one.keys() != other.keys() or any(not one[name].equal(other[name]) for name in one):
        raise InputError(
            say("The processors of the two checkpoints turn this prompt into different inputs."),
            remedy=say("Compare checkpoints with the same tokenizer and image settings."),
        )
