"""Other ways that an answer could have taken: each branch is a column cut short and gone on with.

A branch starts at the cache as it was before its first own token, so that nothing is run again:
neither the prompt nor the tokens that it shares with the column it comes from.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from playground.engine import Engine
from playground.language import say
from playground.records import SamplingRun, SamplingSettings, SamplingTrace, TokenStep
from playground.sampling.columns import Sampler
from playground.sampling.generation_config import barred_token_ids
from playground.sampling.paths import Prefix, TokenPath, prefix_at
from playground.sampling.settings import MAX_COLUMNS, check_count

MAX_BRANCHES = 24
MIN_PROB = 1e-45  # smallest float32: what a probability that was rounded to zero counts as


@dataclass(frozen=True, slots=True, eq=False)
class Branch:
    """One way through the tree: a column, or what was grown from one."""

    name: str
    parent: str | None  # name of the branch that it left; None for one that starts at the prompt
    fork: int  # its first own token, from 0
    trace: SamplingTrace  # all its tokens, those of the parent before the fork included
    path: TokenPath

    @property
    def own_steps(self) -> tuple[TokenStep, ...]:
        """Its tokens from the fork on."""
        return self.trace.steps[self.fork :]


def raw_prob(step: TokenStep) -> float:
    """The chosen token's probability under the untouched logits."""
    return next(each.raw_prob for each in step.top if each.id == step.id)


def joint_log_prob(steps: Sequence[TokenStep]) -> float:
    """Log-probability of all these tokens together, before the filters, in nats."""
    return sum(math.log(max(raw_prob(step), MIN_PROB)) for step in steps)


def columns_as_branches(
    run: SamplingRun, paths: Sequence[TokenPath], names: Sequence[str]
) -> tuple[Branch, ...]:
    """The columns of a run as the tree's first branches; without those that have no token."""
    return tuple(
        Branch(name, None, 0, trace, path)
        for name, trace, path in zip(names, run.traces, paths, strict=True)
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
    """Take another token at one place of a branch, and let the model go on; nothing is run yet.

    The numbers drawn after it are those that the parent's seed gives for the same places: a
    branch that takes the parent's own token is the parent again.

    Args:
        engine: the loaded checkpoint.
        prompt: the end of the prompt that all branches share.
        parent: where to leave.
        index: the token to replace, from 0; its length is the end, from which to go on.
        token_id: the token to take there; None leaves it to the draw.
        max_new_tokens: this token included.
        settings: for the tokens after it; the parent's own by default.

    Raises:
        InputError: there is no such place, or the token is refused.
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
    """What ``start_branch``'s sampler has written, also where it was stopped."""
    return Branch(name, parent.name, index, sampler.run.traces[0], sampler.paths()[0])


def start_first_words(
    engine: Engine,
    prompt: Prefix,
    count: int,
    settings: SamplingSettings,
    *,
    max_new_tokens: object,
) -> Sampler:
    """One column for each of the likeliest first words, all written as one batch.

    Args:
        engine: the loaded checkpoint.
        prompt: the end of the prompt.
        count: how many first words, 1 to ``MAX_COLUMNS``.
        settings: for the tokens after the first.
        max_new_tokens: the first word included.

    Raises:
        InputError: a number is out of range.
    """
    check_count(say("Most likely first tokens"), count, MAX_COLUMNS)
    logits = prompt.logits.float().clone()
    barred = [each for each in barred_token_ids(engine) if each < len(logits)]
    logits[barred] = -math.inf  # placeholders of pictures are never written
    return Sampler(
        engine,
        prompt,
        [settings] * int(count),
        max_new_tokens=max_new_tokens,
        first_ids=logits.topk(int(count)).indices.tolist(),
        keep_paths=True,
    )
