"""The answers of two checkpoints to one prompt, from the same random numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from playground.pipeline import Run
from playground.records import Progress
from playground.sampling.paths import prompt_prefix
from playground.sampling.score import ScoredText, score_tokens
from playground.sampling.stage import run_sampling
from playground.sampling.trace import SamplingRun, SamplingSettings, SamplingTrace


@dataclass(frozen=True, slots=True, eq=False)
class AnswerPair:
    """Both answers, and how likely each is to the other checkpoint."""

    first: SamplingTrace
    second: SamplingTrace
    first_by_second: ScoredText  # the first one's answer under the second checkpoint
    second_by_first: ScoredText

    @property
    def first_difference(self) -> int | None:
        """Index of the first token that differs; None if the answers are equal."""
        return SamplingRun((self.first, self.second)).first_divergence


def compare_answers(
    first: Run,
    second: Run,
    settings: SamplingSettings | Mapping[str, object],
    *,
    max_new_tokens: int,
    progress: Progress | None = None,
) -> AnswerPair:
    """Answer with both checkpoints, and score each answer with the other one.

    One uniform number from the settings' seed decides each token, for both checkpoints the same
    one, so that equal distributions give equal answers.

    Args:
        first: the prompt with the first checkpoint.
        second: the same prompt with the second one.
        settings: of both answers; temperature 0 for greedy ones.
        max_new_tokens: 1 to the engines' limit, including the end token.
        progress: called before every token; ``StageCancelled`` raised in it stops.

    Raises:
        InputError: a setting or the length is invalid.
        ModelError: the logits leave no token to sample.
    """
    one, other = [
        run_sampling(
            run.engine,
            run.inputs,
            run.merged,
            run.decoded,
            [settings],
            max_new_tokens=max_new_tokens,
            progress=progress,
        ).traces[0]
        for run in (first, second)
    ]
    return AnswerPair(
        one, other, first_by_second=_score(second, one), second_by_first=_score(first, other)
    )


def _score(reader: Run, answer: SamplingTrace) -> ScoredText:
    prefix = prompt_prefix(reader.inputs, reader.merged, reader.decoded)
    return score_tokens(reader.engine, prefix, [step.id for step in answer.steps], top=1)
