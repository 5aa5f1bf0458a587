"""The answer of a run, shared by the what-if parts: the one in its sequence, or the greedy one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import playground
from components.charts.token_labels import token_label
from playground.language import say
from playground.pipeline import Run
from playground.records import Progress
from playground.sampling.trace import SamplingTrace

NEW_TOKENS = 32


def answer_of(run: Run, progress: Progress) -> SamplingTrace:
    """The answer in a run's sequence, or else its greedy answer; made once and kept with the run.

    It answers ``run.prompt_run``.
    """
    if not run.inputs.num_answer_tokens:
        return continue_greedily(run, progress)

    def score() -> SamplingTrace:
        ids = run.inputs.input_ids[0, run.inputs.num_prompt_tokens :].tolist()
        asked = run.prompt_run
        prefix = playground.sampling.paths.prompt_prefix(asked.inputs, asked.merged, asked.decoded)
        return playground.sampling.score.score_tokens(run.engine, prefix, ids).trace

    return run.memo("answer", score, progress=progress)


def continue_greedily(
    run: Run, progress: Progress, *, most: int = NEW_TOKENS, memo: str = "greedy answer"
) -> SamplingTrace:
    """What the model generates greedily after a run's sequence; kept with the run.

    Args:
        run: the run.
        progress: called before every token.
        most: tokens at most; the answer of the latest limit is kept.
        memo: its name, so that parts with other limits keep answers of their own.
    """

    def write() -> SamplingTrace:
        return playground.experiments.what_if_runs.greedy_answer(
            run.engine,
            run.inputs,
            run.merged,
            run.decoded,
            max_new_tokens=most,
            progress=progress,
        )

    return run.memo(memo, write, of=most, progress=progress)


def read_original(run: Run, progress: Progress) -> Any:
    """``(tokens,)`` float32: log-probability in nats of each token of the answer."""

    def read() -> Any:
        asked, ids = run.prompt_run, answer_ids(answer_of(run, progress))
        return playground.experiments.answers.answer_log_probs(
            asked.engine, asked.merged, asked.decoded, ids, progress=progress
        )

    return run.memo("answer, read", read, progress=progress)


def answer_ids(answer: SamplingTrace) -> tuple[int, ...]:
    """Ids of the answer's tokens, including the end token."""
    return tuple(step.id for step in answer.steps)


def answer_labels(run: Run, ids: Sequence[int]) -> list[str]:
    """Escaped texts of an answer's tokens, without leading spaces; the end token is ``(end)``."""
    tokenizer: Any = run.engine.tokenizer
    ends = playground.sampling.generation_config.end_token_ids(run.engine)
    texts = [
        say("(end)") if token_id in ends else playground.tokens.token_text(tokenizer, token_id)
        for token_id in ids
    ]
    return [token_label(text.strip(" ") or text) for text in texts]
