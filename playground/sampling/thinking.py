"""Thinking and answer: the generated tokens before and after ``</think>``.

A checkpoint such as ``Qwen3-VL-2B-Thinking`` writes its thinking first. Its chat template ends the
prompt with ``<think>``, so that only the closing tag is generated. The answer is what follows the
last ``</think>``: the template cuts an earlier turn at the same place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

import torch

from playground.engine import Engine
from playground.errors import InputError
from playground.language import say
from playground.sampling.trace import SamplingTrace

START, END = "<think>", "</think>"
TAIL = 8  # tokens: the prompt's end, where the template may have written <think> and a line break


@dataclass(frozen=True, slots=True)
class ThinkTags:
    """The tokens around the thinking of one prompt's answer."""

    start_id: int  # <think>
    end_id: int  # </think>
    is_open: bool  # whether the prompt ends with <think>

    def is_thinking(self, generated_ids: torch.Tensor) -> bool:
        """Whether the next token would be part of the thinking.

        Args:
            generated_ids: (steps,) int64, after the prompt.
        """
        tags = generated_ids[self._are_tags(generated_ids)]
        return bool(tags[-1] == self.start_id) if len(tags) else self.is_open

    def count_thinking(self, generated_ids: torch.Tensor) -> int:
        """How many of the generated tokens (steps,) are thinking; tags are not counted."""
        inside, count, since = self.is_open, 0, 0
        for index in self._are_tags(generated_ids).nonzero()[:, 0].tolist():
            count += index - since if inside else 0
            inside, since = int(generated_ids[index]) == self.start_id, index + 1
        return count + (len(generated_ids) - since if inside else 0)

    def is_due(self, budget: int, generated_ids: torch.Tensor) -> bool:
        """Whether the thinking has used up its budget, so that ``</think>`` comes next."""
        return self.is_thinking(generated_ids) and self.count_thinking(generated_ids) >= budget

    def _are_tags(self, ids: torch.Tensor) -> torch.Tensor:
        return (ids == self.start_id) | (ids == self.end_id)


def read_think_tags(tokenizer: Any, prompt_ids: torch.Tensor) -> ThinkTags | None:
    """The tags of a prompt's answer; None if the tokenizer has no such tokens.

    Args:
        tokenizer: of the checkpoint.
        prompt_ids: (seq,) int64.
    """
    added = tokenizer.get_added_vocab()
    if START not in added or END not in added:
        return None
    tail: str = tokenizer.decode(prompt_ids[-TAIL:])
    return ThinkTags(added[START], added[END], tail.rstrip().endswith(START))


def can_think(engine: Engine) -> bool:
    """Whether the chat template handles thinking; tokenizers have the tags without it, too."""
    source = engine.processor.chat_template
    added = engine.tokenizer.get_added_vocab()
    return isinstance(source, str) and END in source and START in added and END in added


def no_think_tags() -> InputError:
    """The error for a tokenizer without the tokens of thinking."""
    return InputError(
        say("This checkpoint's tokenizer has no {start} and {end}.", start=START, end=END),
        remedy=say("Leave the thinking budget empty."),
    )


# --------------------------------------------------------------------------- sections


@dataclass(frozen=True, slots=True)
class ThinkingSplit:
    """Where the thinking of an answer is; ``[start, stop)`` ranges without the tags."""

    thinking: tuple[int, int] | None  # None: no thinking
    answer: tuple[int, int]  # empty at the end while the thinking is not finished
    is_finished: bool  # whether </think> was written, or there is no thinking


def split_ids(token_ids: Sequence[int], tags: ThinkTags | None) -> ThinkingSplit:
    """Find the thinking in the tokens after a prompt.

    The thinking ends at the last ``</think>``, so nested tags are part of it. It starts after the
    first ``<think>``, or at the first token if the prompt ends with ``<think>`` or no ``<think>``
    comes before ``</think>``. Without ``</think>`` it is unfinished, and there is no answer yet.

    Args:
        token_ids: generated tokens.
        tags: None if the tokenizer has no such tokens; then everything is the answer.
    """
    ids, count = list(token_ids), len(token_ids)
    if tags is None:
        return ThinkingSplit(None, (0, count), True)
    ends = [index for index, token_id in enumerate(ids) if token_id == tags.end_id]
    inside = ids[: ends[-1]] if ends else ids
    is_tagged = tags.start_id in inside
    start = inside.index(tags.start_id) + 1 if is_tagged and not tags.is_open else 0
    if ends:
        return ThinkingSplit((start, ends[-1]), (ends[-1] + 1, count), True)
    if is_tagged or tags.is_open:
        return ThinkingSplit((start, count), (count, count), False)
    return ThinkingSplit(None, (0, count), True)


def split_text(text: str, *, is_open: bool = False) -> tuple[str, str, bool]:
    """The same for a text.

    Args:
        text: after the prompt.
        is_open: whether the prompt ends with ``<think>``.

    Returns:
        Thinking and answer without the white space around them, and whether the thinking is
        finished.
    """
    before, tag, answer = text.rpartition(END)
    if tag:
        return _after_start(before, is_open=is_open), answer.strip(), True
    if is_open or START in text:
        return _after_start(text, is_open=is_open), "", False
    return "", text.strip(), True


def _after_start(text: str, *, is_open: bool) -> str:
    return (text if is_open else text.split(START, 1)[-1]).strip()


@dataclass(frozen=True, slots=True)
class SectionFacts:
    """The tokens of one section: the thinking or the answer."""

    num_tokens: int
    text: str
    seconds: float | None  # from the last token before it to its own last one; None if not timed
    log_prob: float  # nats, of all its tokens together, before the filters
    mean_entropy: float  # nats, after the filters; 0 without tokens


def describe_section(
    tokenizer: Any,
    trace: SamplingTrace,
    section: tuple[int, int],
    token_seconds: Sequence[float] | None = None,
) -> SectionFacts:
    """Count, time and statistics of one section of a column.

    Args:
        tokenizer: of the checkpoint.
        trace: the column.
        section: ``thinking`` or ``answer`` of its split.
        token_seconds: when each token was generated, as in ``Sampler.token_seconds``.
    """
    start, stop = section
    steps = trace.steps[start:stop]
    seconds = None
    if token_seconds is not None:
        began = token_seconds[start - 1] if start else 0.0
        seconds = token_seconds[stop - 1] - began if steps else 0.0
    return SectionFacts(
        num_tokens=len(steps),
        text=tokenizer.decode([step.id for step in steps], skip_special_tokens=True).strip(),
        seconds=seconds,
        log_prob=sum(step.raw_log_prob for step in steps),
        mean_entropy=mean(step.entropy for step in steps) if steps else 0.0,
    )
