"""One sampling step in detail: what each filter does to one row of logits, and the sample."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch

from playground.engine import Engine
from playground.sampling.candidates import Ids
from playground.sampling.filter_chain import (
    FILTERS,
    FilterContext,
    FilteredStep,
    LogitsFilter,
    filter_logits,
)
from playground.sampling.generation_config import barred_token_ids
from playground.sampling.logits_filters import REMOVED
from playground.sampling.paths import Prefix, TokenPath, step_logits
from playground.sampling.step import Probabilities, distribution, invert_cdf, no_distribution
from playground.sampling.thinking import read_think_tags
from playground.sampling.trace import SamplingSettings
from playground.tokens import token_text

MAX_NAMED = 6  # removed tokens that a filter's row names
MAX_SEGMENTS = 60  # of the cumulative bar

FilterOrder = Literal["temperature first", "temperature last"]
ORDERS: tuple[FilterOrder, ...] = ("temperature first", "temperature last")
"""The order of transformers, and that of llama.cpp."""


@dataclass(frozen=True, slots=True)
class FilterEffect:
    """What one filter did."""

    name: str
    num_removed: int
    removed: tuple[tuple[str, float], ...]  # the most likely of them, with their probability before
    num_left: int
    mass_kept: float  # of the distribution before the filter
    entropy: float  # nats, after the filter


@dataclass(frozen=True, slots=True)
class ShownToken:
    """One token through all the filters."""

    id: int
    text: str
    probs: tuple[float, ...]  # before the filters, then after each; 0 once it is removed
    removed_by: str | None


@dataclass(frozen=True, slots=True)
class CdfSegment:
    """A segment of the CDF: one token, or neighbouring tokens that are less likely."""

    start: float
    end: float
    text: str  # empty for several tokens
    token_id: int | None
    num_tokens: int


@dataclass(frozen=True, slots=True)
class StepView:
    """One step through the filters in one order."""

    order: FilterOrder
    entropy: float  # nats, before the filters
    vocab_size: int
    effects: tuple[FilterEffect, ...]  # of the active filters
    tokens: tuple[ShownToken, ...]  # the most likely before the filters, and the sampled one
    segments: tuple[CdfSegment, ...]  # the final distribution in order of token id
    uniform: float | None
    sampled_id: int
    sampled_text: str
    kept_ids: frozenset[int] | None  # None if too many are left to list

    @property
    def num_left(self) -> int:
        """Tokens that can be sampled."""
        return sum(segment.num_tokens for segment in self.segments)


@dataclass(frozen=True, slots=True)
class OrderDifference:
    """The same settings in the two orders."""

    num_left: tuple[int, int]  # as in ORDERS
    only_first: tuple[str, ...]  # the most likely tokens that only the first order keeps
    only_last: tuple[str, ...]
    total_variation: float  # half the sum of |Δp|


def order_filters(order: FilterOrder) -> tuple[LogitsFilter, ...]:
    """The filters with temperature in transformers' position, or last."""
    if order == "temperature first":
        return FILTERS
    return tuple(sorted(FILTERS, key=lambda filter_: filter_.name == "temperature"))


def step_context(
    engine: Engine, prompt: Prefix, path: TokenPath, index: int, settings: SamplingSettings
) -> FilterContext:
    """The filters' context at token ``index`` of a path."""
    generated = torch.tensor([path.token_ids[:index]], dtype=torch.int64)
    barred = torch.tensor(barred_token_ids(engine))
    tags = read_think_tags(engine.tokenizer, prompt.prompt_ids)
    return FilterContext(settings, prompt.prompt_ids, generated, barred, tags)


def view_step(
    engine: Engine,
    prompt: Prefix,
    path: TokenPath,
    index: int,
    settings: SamplingSettings,
    *,
    order: FilterOrder = "temperature first",
    uniform: float | None = None,
    top: int = 12,
) -> tuple[StepView, OrderDifference]:
    """One step of a path with any settings, from its stored state, without a forward pass.

    Args:
        engine: the loaded checkpoint; its lock is held for ``lm_head`` on one state.
        prompt: the path's prompt.
        path: the path of a column.
        index: the step, from 0.
        settings: may differ from the column's own.
        order: in which order to apply the filters.
        uniform: uniform sample in [0, 1); None for the one that the seed gives.
        top: number of most likely tokens to follow through the filters.

    Raises:
        InputError: there is no such step.
        ModelError: the settings leave no token to sample.
    """
    logits = step_logits(engine, prompt, path, index).float()
    context = step_context(engine, prompt, path, index, settings)
    number = uniform if uniform is not None else seeded_uniform(settings.seed, index)
    name_of = lambda token_id: token_text(engine.tokenizer, token_id)  # noqa: E731
    finals = {name: _filtered(logits, context, name) for name in ORDERS}
    view = walk_filters(logits, context, order, uniform=number, top=top, text_of=name_of)
    return view, _compare_orders(finals["temperature first"], finals["temperature last"], name_of)


def seeded_uniform(seed: int, index: int) -> float:
    """The uniform sample of token ``index`` in a column with this seed."""
    generator = torch.Generator().manual_seed(seed)
    return float(torch.rand(index + 1, dtype=torch.float64, generator=generator)[-1])


def walk_filters(
    logits: torch.Tensor,
    context: FilterContext,
    order: FilterOrder,
    *,
    uniform: float,
    top: int,
    text_of: Callable[[int], str],
) -> StepView:
    """Apply the filters to one row, and record what each of them did.

    Args:
        logits: (vocab,) float32, finite.
        context: the row's settings and tokens.
        order: of the filters.
        uniform: uniform sample in [0, 1).
        top: number of most likely tokens to follow.
        text_of: a token's readable text.
    """
    steps = filter_logits(logits[None], context, order_filters(order))
    rows = [logits, *(step.logits[0] for step in steps)]
    probs = [_softmax(row) for row in rows]
    effects = tuple(
        _effect(step, before, after, text_of)
        for step, before, after in zip(steps, probs, probs[1:], strict=False)
    )
    ids, kept_probs = distribution(rows[-1])
    greedy = context.settings.temperature == 0
    rank = 0 if greedy else invert_cdf(kept_probs, uniform)
    sampled = int(ids[rank])
    followed = probs[0].topk(min(top, len(logits))).indices.tolist()
    if sampled not in followed:
        followed.append(sampled)
    return StepView(
        order=order,
        entropy=_entropy(probs[0]),
        vocab_size=len(logits),
        effects=effects,
        tokens=tuple(
            ShownToken(
                token_id,
                text_of(token_id),
                tuple(float(prob[token_id]) for prob in probs),
                next((step.name for step in steps if bool(step.removed[0, token_id])), None),
            )
            for token_id in followed
        ),
        segments=_segments(ids, kept_probs, text_of),
        uniform=None if greedy else uniform,
        sampled_id=sampled,
        sampled_text=text_of(sampled),
        kept_ids=frozenset(ids.tolist()) if len(ids) <= MAX_SEGMENTS else None,
    )


def _softmax(row: torch.Tensor) -> torch.Tensor:
    """(vocab,) float64."""
    if bool((row == torch.inf).any()) or bool(row.isnan().any()) or not bool((row > REMOVED).any()):
        raise no_distribution()
    return row.double().softmax(-1)


def _entropy(probs: torch.Tensor) -> float:
    return max(0.0, float(torch.special.entr(probs).sum()))


def _effect(
    step: FilteredStep,
    before: torch.Tensor,
    after: torch.Tensor,
    text_of: Callable[[int], str],
) -> FilterEffect:
    """The effect of one filter on the distribution: (vocab,) float64 before and after."""
    gone = step.removed[0].nonzero()[:, 0]
    best = gone[before[gone].argsort(descending=True)[:MAX_NAMED]].tolist()
    return FilterEffect(
        name=step.name,
        num_removed=len(gone),
        removed=tuple((text_of(token_id), float(before[token_id])) for token_id in best),
        num_left=int((step.logits[0] > REMOVED).sum()),
        mass_kept=float(before.sum() - before[gone].sum()),
        entropy=_entropy(after),
    )


def _segments(
    ids: Ids, probs: Probabilities, text_of: Callable[[int], str]
) -> tuple[CdfSegment, ...]:
    """The CDF in order of token id; runs of less likely tokens form one segment."""
    shown = (-probs).argsort(kind="stable")[: MAX_SEGMENTS // 2].tolist()
    ends = probs.cumsum().tolist()
    segments: list[CdfSegment] = []
    for rank in sorted(shown):
        _close_gap(segments, rank, ends)
        start = ends[rank - 1] if rank else 0.0
        token_id = int(ids[rank])
        segments.append(CdfSegment(start, ends[rank], text_of(token_id), token_id, 1))
    _close_gap(segments, len(ends), ends)
    return tuple(segments)


def _close_gap(segments: list[CdfSegment], rank: int, ends: list[float]) -> None:
    """Add one segment for the tokens between the last segment and ``rank``, if there are any."""
    done = sum(segment.num_tokens for segment in segments)
    if rank > done:
        start = ends[done - 1] if done else 0.0
        segments.append(CdfSegment(start, ends[rank - 1], "", None, rank - done))


def _filtered(logits: torch.Tensor, context: FilterContext, order: FilterOrder) -> torch.Tensor:
    """The logits after all the filters: (vocab,) float32."""
    steps = filter_logits(logits[None], context, order_filters(order))
    return steps[-1].logits[0] if steps else logits


def _compare_orders(
    first: torch.Tensor, last: torch.Tensor, text_of: Callable[[int], str]
) -> OrderDifference:
    """Compare the final logits of the two orders: (vocab,) float32 each."""
    return OrderDifference(
        num_left=(int((first > REMOVED).sum()), int((last > REMOVED).sum())),
        only_first=_only(first, last, text_of),
        only_last=_only(last, first, text_of),
        total_variation=float((_softmax(first) - _softmax(last)).abs().sum() / 2),
    )


def _only(
    mine: torch.Tensor, other: torch.Tensor, text_of: Callable[[int], str]
) -> tuple[str, ...]:
    """The most likely tokens that one keeps and the other removes."""
    ids = ((mine > REMOVED) & (other == REMOVED)).nonzero()[:, 0]
    return tuple(
        text_of(token_id) for token_id in ids[mine[ids].argsort(descending=True)[:5]].tolist()
    )
