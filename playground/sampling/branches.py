"""Alternative continuations: a branch truncates a column and continues it from there.

A branch starts from the KV cache before its first own token, so neither the prompt nor the tokens
that it shares with its parent are recomputed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from playground.engine import Engine
from playground.language import say
from playground.sampling.columns import Sampler
from playground.sampling.generation_config import barred_token_ids
from playground.sampling.paths import Prefix, TokenPath, prefix_at
from playground.sampling.score import read_answer, score_tokens
from playground.sampling.settings import MAX_COLUMNS, check_count
from playground.sampling.trace import SamplingRun, SamplingSettings, SamplingTrace, TokenStep

MAX_BRANCHES = 24


@dataclass(frozen=True, slots=True, eq=False)
class Branch:
    """One path through the tree: a column, or a branch of one."""

    name: str
    parent: str | None  # name of the branch it forks from; None if it starts at the prompt
    fork: int  # index of its first own token
    trace: SamplingTrace  # all its tokens, including the parent's before the fork
    path: TokenPath
    second: bool = False  # written by the second checkpoint

    @property
    def own_steps(self) -> tuple[TokenStep, ...]:
        """Its tokens from the fork on."""
        return self.trace.steps[self.fork :]


def joint_log_prob(steps: Sequence[TokenStep]) -> float:
    """Log-probability of all these tokens together, before the filters, in nats."""
    return sum(step.raw_log_prob for step in steps)


def columns_as_branches(
    run: SamplingRun,
    paths: Sequence[TokenPath],
    names: Sequence[str],
    second: Sequence[bool] = (),
) -> tuple[Branch, ...]:
    """The columns of a run as the tree's first branches; columns without tokens are left out.

    ``second``: for each column, whether the second checkpoint writes it; by default none.
    """
    return tuple(
        Branch(name, None, 0, trace, path, is_second)
        for name, trace, path, is_second in zip(
            names, run.traces, paths, second or [False] * len(names), strict=True
        )
        if trace.steps
    )


def start_branch(
    engine: Engine,
    prompt: Prefix,
    parent: Branch,
    index: int,
    token_id: int | None,
    *,
    max_new_tokens: object,
    settings: SamplingSettings | None = None,
) -> Sampler:
    """Replace a token of a branch and prepare to continue from it; the model does not run yet.

    The tokens after it use the uniform samples that the parent's seed gives for their steps, so
    a branch that takes the parent's own token reproduces the parent.

    Args:
        engine: the loaded checkpoint.
        prompt: the end of the prompt that all branches share.
        parent: the branch to fork from.
        index: the token to replace, from 0; the parent's length continues after its end.
        token_id: the replacement; None samples one.
        max_new_tokens: including this token.
        settings: for the tokens after it; the parent's own by default.

    Raises:
        InputError: there is no such step, or the token is not allowed.
    """
    return Sampler(
        engine,
        prefix_at(engine, prompt, parent.path, parent.trace.steps, index),
        [settings or parent.trace.settings],
        max_new_tokens=max_new_tokens,
        first_ids=[token_id],
        keep_paths=True,
    )


def take_branch(sampler: Sampler, name: str, parent: Branch, index: int) -> Branch:
    """The branch that ``start_branch``'s sampler has generated so far."""
    return Branch(
        name, parent.name, index, sampler.run.traces[0], sampler.paths()[0], parent.second
    )


def start_first_tokens(
    engine: Engine,
    prompt: Prefix,
    count: int,
    settings: SamplingSettings,
    *,
    max_new_tokens: object,
) -> Sampler:
    """One column for each of the most likely first tokens, generated as one batch.

    Args:
        engine: the loaded checkpoint.
        prompt: the end of the prompt.
        count: number of first tokens, 1 to ``MAX_COLUMNS``.
        settings: for the tokens after the first.
        max_new_tokens: including the first token.

    Raises:
        InputError: a number is out of range.
    """
    check_count(say("Most likely first tokens"), count, MAX_COLUMNS)
    logits = prompt.logits.float().clone()
    barred = [token_id for token_id in barred_token_ids(engine) if token_id < len(logits)]
    logits[barred] = -math.inf  # vision tokens are never generated
    return Sampler(
        engine,
        prompt,
        [settings] * int(count),
        max_new_tokens=max_new_tokens,
        first_ids=logits.topk(int(count)).indices.tolist(),
        keep_paths=True,
    )


def start_from_text(
    engine: Engine,
    prompt: Prefix,
    text: object,
    settings: SamplingSettings,
    *,
    max_new_tokens: object,
) -> Sampler:
    """Let the model go on after a given beginning of its answer.

    Args:
        engine: the loaded checkpoint.
        prompt: the end of the prompt.
        text: the beginning; its tokens are the column's first steps.
        settings: for the tokens after it.
        max_new_tokens: without the text's tokens.

    Raises:
        InputError: the text is empty or too long, or a number is out of range.
    """
    scored = score_tokens(engine, prompt, read_answer(engine, text))
    return Sampler(
        engine,
        prefix_at(engine, prompt, scored.path, scored.trace.steps, scored.num_tokens),
        [settings],
        max_new_tokens=max_new_tokens,
        keep_paths=True,
    )
