"""The filters in the order of transformers, each switched on by its setting.

Source: ``GenerationMixin._get_logits_processor``, transformers 5.24.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from playground.sampling.logits_filters import (
    REMOVED,
    apply_temperature,
    bar_repeated_ngrams,
    bar_tokens,
    close_thinking,
    keep_min_p,
    keep_top_k,
    keep_top_p,
    keep_typical,
    penalise_frequency,
    penalise_presence,
    penalise_repetition,
)
from playground.sampling.thinking import ThinkTags
from playground.sampling.trace import SamplingSettings


@dataclass(frozen=True, slots=True, eq=False)
class FilterContext:
    """The filters' inputs besides the logits, for rows with the same settings."""

    settings: SamplingSettings
    prompt_ids: torch.Tensor  # (seq,) int64
    generated_ids: torch.Tensor  # (rows, steps) int64
    barred_ids: torch.Tensor  # (num_barred,) int64
    tags: ThinkTags | None = None  # where the tokenizer has them; a thinking budget needs them

    @property
    def seen_ids(self) -> torch.Tensor:
        """(rows, seq + steps): the prompt and the tokens generated in each row."""
        rows = len(self.generated_ids)
        return torch.cat([self.prompt_ids.expand(rows, -1), self.generated_ids], dim=1)

    @property
    def closing_rows(self) -> torch.Tensor:
        """(rows,) bool: where the thinking has used up its budget, so that ``</think>`` comes."""
        tags, budget = self.tags, self.settings.thinking_budget
        if tags is None or budget is None:
            return torch.zeros(len(self.generated_ids), dtype=torch.bool)
        return torch.tensor([tags.is_due(budget, row) for row in self.generated_ids])


@dataclass(frozen=True, slots=True)
class LogitsFilter:
    """One filter of the chain."""

    name: str  # its field of SamplingSettings; "vision_tokens" for the vision-token mask
    is_on: Callable[[FilterContext], bool]
    apply: Callable[[torch.Tensor, FilterContext], torch.Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class FilteredStep:
    """The logits after one filter."""

    name: str
    logits: torch.Tensor  # (rows, vocab) float32; -inf if removed by this filter or before
    removed: torch.Tensor  # (rows, vocab) bool: removed by this filter


VISION_TOKENS = "vision_tokens"
"""Name of the filter that masks vision tokens."""
NO_REPEAT_NGRAM, THINKING_BUDGET = "no_repeat_ngram_size", "thinking_budget"


def _close_thinking(logits: torch.Tensor, context: FilterContext) -> torch.Tensor:
    tags = context.tags
    return logits if tags is None else close_thinking(logits, context.closing_rows, tags.end_id)


def _bar_ngrams(logits: torch.Tensor, context: FilterContext) -> torch.Tensor:
    barred = bar_repeated_ngrams(logits, context.settings.no_repeat_ngram_size, context.seen_ids)
    # A forced </think> is the only token of its row: it stays.
    return torch.where(context.closing_rows[:, None], logits, barred)


FILTERS: tuple[LogitsFilter, ...] = (
    LogitsFilter(
        THINKING_BUDGET, lambda context: bool(context.closing_rows.any()), _close_thinking
    ),
    LogitsFilter(
        "repetition_penalty",
        lambda context: context.settings.repetition_penalty != 1,
        lambda logits, context: penalise_repetition(
            logits, context.settings.repetition_penalty, context.seen_ids
        ),
    ),
    LogitsFilter(
        NO_REPEAT_NGRAM, lambda context: context.settings.no_repeat_ngram_size > 0, _bar_ngrams
    ),
    LogitsFilter(
        VISION_TOKENS,
        lambda context: len(context.barred_ids) > 0,
        lambda logits, context: bar_tokens(logits, context.barred_ids),
    ),
    LogitsFilter(
        "frequency_penalty",
        lambda context: context.settings.frequency_penalty != 0,
        lambda logits, context: penalise_frequency(
            logits, context.settings.frequency_penalty, context.generated_ids
        ),
    ),
    LogitsFilter(
        "presence_penalty",
        lambda context: context.settings.presence_penalty != 0,
        lambda logits, context: penalise_presence(
            logits, context.settings.presence_penalty, context.generated_ids
        ),
    ),
    LogitsFilter(
        "temperature",
        lambda context: context.settings.temperature != 1,
        lambda logits, context: apply_temperature(logits, context.settings.temperature),
    ),
    LogitsFilter(
        "top_k",
        lambda context: context.settings.top_k != 0,
        lambda logits, context: keep_top_k(logits, context.settings.top_k),
    ),
    LogitsFilter(
        "top_p",
        lambda context: context.settings.top_p < 1,
        lambda logits, context: keep_top_p(logits, context.settings.top_p),
    ),
    LogitsFilter(
        "min_p",
        lambda context: context.settings.min_p > 0,
        lambda logits, context: keep_min_p(logits, context.settings.min_p),
    ),
    LogitsFilter(
        "typical_p",
        lambda context: context.settings.typical_p < 1,
        lambda logits, context: keep_typical(logits, context.settings.typical_p),
    ),
)
"""Penalties, temperature, cuts: the order of transformers, where the vision-token mask is
``suppress_tokens``, and the frequency and presence penalties are custom processors. The thinking
budget, which leaves one token or does nothing, comes first."""


def filter_logits(
    logits: torch.Tensor, context: FilterContext, filters: Sequence[LogitsFilter] = FILTERS
) -> tuple[FilteredStep, ...]:
    """Apply the active filters to logits.

    Args:
        logits: (rows, vocab), finite.
        context: the rows' common settings, and their tokens so far.
        filters: in the order to apply them.

    Returns:
        One step per active filter, in order. A token is removed in at most one of them.
    """
    steps: list[FilteredStep] = []
    current = logits.float()
    gone = current == REMOVED
    for logits_filter in filters:
        if not logits_filter.is_on(context):
            continue
        current = logits_filter.apply(current, context)
        gone_now = current == REMOVED
        steps.append(FilteredStep(logits_filter.name, current, gone_now & ~gone))
        gone = gone_now
    return tuple(steps)


def removed_by(steps: Sequence[FilteredStep], row: int, token_id: int) -> str | None:
    """Name of the filter that removed a token from a row; ``None`` if none did."""
    return next((step.name for step in steps if step.removed[row, token_id]), None)
