"""The greedy answer of a run, which several what-ifs read again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import playground
from components.charts.token_labels import token_label
from playground.language import say
from playground.pipeline import Run
from playground.records import Progress, SamplingTrace

NEW_TOKENS = 32


def answer_of(run: Run, progress: Progress) -> SamplingTrace:
    """What the model answers greedily; written once and kept as long as the run is."""

    def write() -> SamplingTrace:
        return playground.experiments.what_if_runs.greedy_answer(
            run.engine,
            run.inputs,
            run.merged,
            run.decoded,
            max_new_tokens=NEW_TOKENS,
            progress=progress,
        )

    return run.memo("greedy answer", write, progress=progress)


def read_original(run: Run, progress: Progress) -> Any:
    """Log-probabilities of that answer's tokens, (tokens,) float32 in nats; read once, like it."""

    def read() -> Any:
        ids = answer_ids(answer_of(run, progress))
        return playground.experiments.answers.answer_log_probs(
            run.engine, run.merged, run.decoded, ids, progress=progress
        )

    return run.memo("greedy answer, read", read, progress=progress)


def answer_ids(answer: SamplingTrace) -> tuple[int, ...]:
    """The answer's tokens, with the one that ends it."""
    return tuple(step.id for step in answer.steps)


def answer_labels(run: Run, ids: Sequence[int]) -> list[str]:
    """Escaped texts of an answer's tokens, without the space before a word and the end's name."""
    tokenizer: Any = run.engine.tokenizer
    ends = playground.sampling.generation_config.end_token_ids(run.engine)
    texts = [
        say("(end)") if token_id in ends else playground.tokens.token_text(tokenizer, token_id)
        for token_id in ids
    ]
    return [token_label(text.strip(" ") or text) for text in texts]
