"""Thinking and answer of a column, folded apart, with tokens, time and statistics of each."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import playground
from components.tabs.sampling.chips import picked_chips_html
from components.tabs.sampling.lab import Lab
from components.tabs.sampling.presets import can_think
from components.views.facts import count_tokens
from playground.language import say
from playground.sampling.trace import SamplingTrace

if TYPE_CHECKING:
    from playground.pipeline import Run
    from playground.sampling.thinking import SectionFacts, ThinkingSplit


@dataclass(frozen=True, slots=True)
class Sections:
    """Where the thinking of a trace ends, and the facts of both sections."""

    split: ThinkingSplit
    thinking: SectionFacts
    answer: SectionFacts

    @property
    def answer_start(self) -> int:
        """The first token after the thinking and ``</think>``."""
        return self.split.answer[0]


def read_sections(
    run: Run, trace: SamplingTrace, token_seconds: tuple[float, ...] | None = None
) -> Sections | None:
    """The sections of a trace; None without thinking.

    Args:
        run: its checkpoint and prompt.
        trace: a column or branch.
        token_seconds: when each of its tokens was generated, from the start.
    """
    if not can_think(run):
        return None
    thinking, tokenizer = playground.sampling.thinking, run.engine.tokenizer
    tags = thinking.read_think_tags(tokenizer, run.inputs.input_ids[0])
    split = thinking.split_ids([step.id for step in trace.steps], tags)
    if split.thinking is None:
        return None
    return Sections(
        split,
        thinking.describe_section(tokenizer, trace, split.thinking, token_seconds),
        thinking.describe_section(tokenizer, trace, split.answer, token_seconds),
    )


def column_sections(run: Run, lab: Lab) -> dict[str, Sections]:
    """The sections of all columns that think, by name; none while they are generated."""
    if lab.sampled is None or lab.is_live:
        return {}
    times: tuple[Any, ...] = lab.token_seconds or (None,) * len(lab.names)
    found = {
        name: read_sections(run, trace, seconds)
        for name, trace, seconds in zip(lab.names, lab.sampled.traces, times, strict=True)
    }
    return {name: sections for name, sections in found.items() if sections is not None}


def folded_chips_html(trace: SamplingTrace, sections: Sections, **options: Any) -> str:
    """The tokens of the thinking in a fold, and those of the answer below it.

    Args:
        trace: the column.
        sections: of it.
        options: of ``picked_chips_html``.
    """
    start = sections.answer_start
    thinking = picked_chips_html(trace.steps, last=start, **options)
    answer = picked_chips_html(trace.steps, first=start, **options) if sections.answer.text else ""
    unfinished = "" if sections.split.is_finished else say("It is not finished: no answer follows.")
    return (
        f'<details class="pg-fold"><summary>{_section_words(say("Thinking"), sections.thinking)}'
        f"</summary>{thinking}</details>"
        f'<p class="pg-column-facts">{_section_words(say("Answer"), sections.answer)} '
        f"{unfinished}</p>{answer}"
    )


def _section_words(name: str, facts: SectionFacts) -> str:
    words = [say("{name}: {tokens}", name=name, tokens=count_tokens(facts.num_tokens))]
    if facts.seconds is not None:
        words.append(say("{seconds:.1f} s", seconds=facts.seconds))
    words.append(say("log-probability {joint:.2f} nats", joint=facts.log_prob))
    words.append(say("mean entropy {entropy:.2f} nats", entropy=facts.mean_entropy))
    return html.escape(" · ".join(words))
