"""Break a loop: the same state under one setting at a time, and what that setting costs elsewhere.

Every setting that stops a loop also changes texts that rightly repeat, such as a table. So each is
also scored on a reference text.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace

import torch

from playground.engine import Engine
from playground.errors import InputError
from playground.experiments.what_if import WhatIf, change_merged
from playground.experiments.what_if_runs import GREEDY, run_changed
from playground.language import say
from playground.records import DecoderOutput, MergedInputs, ModelInputs, Progress
from playground.sampling.columns import Sampler
from playground.sampling.filter_chain import FilterContext, filter_logits
from playground.sampling.generation_config import barred_token_ids
from playground.sampling.loops import Loop, find_loop
from playground.sampling.paths import (
    Prefix,
    force_tokens,
    prefix_at,
    prompt_prefix,
    room_in_window,
    step_logits,
)
from playground.sampling.settings import MAX_COLUMNS, check_settings
from playground.sampling.trace import SamplingSettings, SamplingTrace, TokenStep

MAX_REFERENCE = 256  # tokens of the reference text

# The field, and a usual value. Qwen3-VL's own card recommends a presence penalty of 1.5.
REMEDIES: tuple[tuple[str, float], ...] = (
    ("repetition_penalty", 1.2),
    ("frequency_penalty", 0.5),
    ("presence_penalty", 1.5),
    ("no_repeat_ngram_size", 4),
    ("temperature", 1.0),
)


@dataclass(frozen=True, slots=True)
class Continuation:
    """How the text went on from the loop's second round."""

    trace: SamplingTrace  # all tokens after the prompt, those before the fork included
    fork: int  # index of the first new token
    num_followed: int  # new tokens that go on with the loop, before the first that does not
    loop: Loop | None  # that the text ends in, the same one or another; an end token after it
    #                    does not count

    @property
    def has_stopped(self) -> bool:
        """Whether the text does not end in a loop."""
        return self.loop is None


@dataclass(frozen=True, slots=True)
class ReferenceCost:
    """A text that rightly repeats, scored under one setting (temperature 0 counts as 1)."""

    log_prob: float  # nats, of the whole text after the filters; -inf if a token is removed
    raw_log_prob: float  # before the filters
    first_removed: int | None  # index of the first token that can't be generated any more
    num_best: int  # tokens that are the most likely ones, as greedy decoding would take
    num_tokens: int


@dataclass(frozen=True, slots=True)
class BrokenLoop:
    """One setting: whether it stops the loop, and its cost; None for what has not run."""

    changed: str | None  # field of the settings; None for the settings as they were
    settings: SamplingSettings
    with_image: Continuation | None = None  # the prompt as it is, also one without an image
    without_image: Continuation | None = None  # all image tokens masked; None without an image
    cost: ReferenceCost | None = None


def plan_remedies(
    base: SamplingSettings = GREEDY, remedies: Sequence[tuple[str, float]] = REMEDIES
) -> tuple[BrokenLoop, ...]:
    """The settings as they were, and each remedy alone on top of them.

    Raises:
        InputError: too many remedies, no such setting, or a value out of range.
    """
    if len(remedies) >= MAX_COLUMNS:
        raise InputError(
            say("There are {count} columns of settings.", count=len(remedies) + 1),
            limit=say("It takes 1 to {most} columns.", most=MAX_COLUMNS),
            remedy=say("Add or remove columns."),
        )
    changed = [
        BrokenLoop(name, check_settings(asdict(base) | {name: value})) for name, value in remedies
    ]
    return BrokenLoop(None, check_settings(base)), *changed


def stream_broken_loops(
    engine: Engine,
    inputs: ModelInputs,
    merged: MergedInputs,
    decoded: DecoderOutput,
    *,
    steps: Sequence[TokenStep],
    loop: Loop,
    planned: tuple[BrokenLoop, ...],
    reference_ids: Sequence[int] = (),
    max_new_tokens: int = 96,
    progress: Progress | None = None,
) -> Iterator[tuple[BrokenLoop, ...]]:
    """Continue from the loop's second round under each setting, with and without the images.

    Args:
        engine: the loaded checkpoint; its lock is held per forward pass.
        inputs: the record of ``run_preprocess``.
        merged: the record of ``run_merge``.
        decoded: the record of ``run_decoder``.
        steps: the tokens that loop, from a column, a branch or a scored text.
        loop: found in their ids.
        planned: see ``plan_remedies``.
        reference_ids: a text that rightly repeats; empty for no cost.
        max_new_tokens: of each continuation; the engine's own limit shortens it.
        progress: called before every layer or token; ``StageCancelled`` raised in it stops.

    Yields:
        All rows so far: with the images, then also without them, then with the costs.

    Raises:
        InputError: the loop is not in these tokens, or a text does not fit.
    """
    prompt = prompt_prefix(inputs, merged, decoded)
    check_reference(engine, prompt, reference_ids)
    if not 0 < loop.start + loop.period <= len(steps):
        raise InputError(say("These tokens have no such loop."))
    length = engine.limits.at_most(max_new_tokens)
    found = _continue_all(engine, prompt, steps, loop, planned, length, progress)
    rows = [replace(row, with_image=each) for row, each in zip(planned, found, strict=True)]
    yield tuple(rows)
    if inputs.spans:
        blind = _blind_prompt(engine, inputs, merged, decoded, progress)
        found = _continue_all(engine, blind, steps, loop, planned, length, progress)
        rows = [replace(row, without_image=each) for row, each in zip(rows, found, strict=True)]
        yield tuple(rows)
    if reference_ids:
        columns = [row.settings for row in planned]
        costs = reference_costs(engine, prompt, columns, reference_ids, progress=progress)
        yield tuple(replace(row, cost=cost) for row, cost in zip(rows, costs, strict=True))


def _blind_prompt(
    engine: Engine,
    inputs: ModelInputs,
    merged: MergedInputs,
    decoded: DecoderOutput,
    progress: Progress | None,
) -> Prefix:
    """The end of the prompt with all image tokens masked."""
    visual = tuple(index for span in inputs.spans for index in range(span.start, span.end))
    what_if = WhatIf(masked=visual)
    output = run_changed(engine, inputs, merged, what_if, decoded=decoded, progress=progress)
    return prompt_prefix(inputs, change_merged(merged, what_if), output)


def _continue_all(
    engine: Engine,
    prompt: Prefix,
    steps: Sequence[TokenStep],
    loop: Loop,
    planned: Sequence[BrokenLoop],
    length: int,
    progress: Progress | None,
) -> list[Continuation]:
    """One batch over all settings, from the loop's second round."""
    fork = loop.start + loop.period
    head = tuple(steps[:fork])
    path = force_tokens(engine, prompt, [step.id for step in head])
    start = prefix_at(engine, prompt, path, head, fork)
    columns = [row.settings for row in planned]
    sampler = Sampler(engine, start, columns, max_new_tokens=length, keep_going=True, top=1)
    for _ in sampler.stream(progress):
        pass
    return [_continuation(trace, loop, fork) for trace in sampler.run.traces]


def _continuation(trace: SamplingTrace, loop: Loop, fork: int) -> Continuation:
    ids = [step.id for step in trace.steps]
    same = [ids[index] == ids[index - loop.period] for index in range(fork, len(ids))]
    text = ids[:-1] if trace.finish_reason == "stop" else ids
    ends_in = find_loop(text)
    if ends_in is not None and ends_in.end < len(text):
        ends_in = None
    return Continuation(trace, fork, [*same, False].index(False), ends_in)


# --------------------------------------------------------------------------- the cost


def check_reference(engine: Engine, prompt: Prefix, reference_ids: Sequence[int]) -> None:
    """Check that a reference text fits after the prompt.

    Raises:
        InputError: it does not.
    """
    most = min(MAX_REFERENCE, room_in_window(engine, prompt))
    if len(reference_ids) > most:
        raise InputError(
            say("The text has {count:,} tokens.", count=len(reference_ids)),
            limit=say("The limit is {most:,}.", most=most),
            remedy=say("Score a shorter text."),
        )


def reference_costs(
    engine: Engine,
    prompt: Prefix,
    columns: Sequence[SamplingSettings],
    reference_ids: Sequence[int],
    *,
    progress: Progress | None = None,
) -> tuple[ReferenceCost, ...]:
    """A text's log-probability under each of several settings, by teacher forcing.

    Args:
        engine: the loaded checkpoint.
        prompt: the end of the prompt.
        columns: the settings; temperature 0 counts as 1.
        reference_ids: at least one token.
        progress: called before every token.
    """
    ids = list(reference_ids)
    path = force_tokens(engine, prompt, ids)
    barred = torch.tensor(barred_token_ids(engine))
    scored: list[list[tuple[float, bool]]] = [[] for _ in columns]
    raw = 0.0
    for index, token_id in enumerate(ids):
        if progress is not None:
            progress(say("reference text, token"), index, len(ids))
        logits = step_logits(engine, prompt, path, index).float()[None]
        raw += float(logits.double().log_softmax(-1)[0, token_id])
        for column, found in zip(columns, scored, strict=True):
            warm = replace(column, temperature=column.temperature or 1.0)
            generated = torch.tensor([ids[:index]], dtype=torch.int64)
            context = FilterContext(warm, prompt.prompt_ids, generated, barred)
            found.append(_score(logits, context, token_id))
    return tuple(_sum_up(found, raw) for found in scored)


def _score(logits: torch.Tensor, context: FilterContext, token_id: int) -> tuple[float, bool]:
    """A token's log-probability after the filters, and whether it is the most likely one."""
    steps = filter_logits(logits, context)
    log_probs = (steps[-1].logits if steps else logits)[0].double().log_softmax(-1)
    return float(log_probs[token_id]), bool(log_probs.argmax() == token_id)


def _sum_up(scored: list[tuple[float, bool]], raw: float) -> ReferenceCost:
    removed = [index for index, (log_prob, _) in enumerate(scored) if not math.isfinite(log_prob)]
    return ReferenceCost(
        log_prob=-math.inf if removed else sum(log_prob for log_prob, _ in scored),
        raw_log_prob=raw,
        first_removed=removed[0] if removed else None,
        num_best=sum(is_best for _, is_best in scored),
        num_tokens=len(scored),
    )
