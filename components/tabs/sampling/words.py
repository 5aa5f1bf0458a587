"""What the sampling tab says in words: the columns' texts, where they part, how two differ."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import TYPE_CHECKING

from components.tabs.sampling.chips import MAX_TITLES, ColourBy, picked_chips_html, surprisal
from components.views.facts import count_tokens, fact_markup
from components.views.generated import raw_probability
from components.views.text import flowing_lines, token_html
from playground.language import mark, say
from playground.records import SamplingRun, SamplingTrace, TokenStep

if TYPE_CHECKING:
    from components.tabs.sampling.lab import Lab

ENDINGS = {
    "running": mark("stopped"),
    "stop": mark("ended by the model"),
    "length": mark("cut at the limit"),
    "error": mark("broken off"),
}


def columns_html(lab: Lab, colour_by: ColourBy = "probability") -> str:
    """All columns beside each other, as many to a row as there is room for.

    A column that could not be written says why in its place.
    """
    if lab.sampled is None:
        return ""
    live = lab.is_live
    marked = None if live else lab.sampled.first_divergence
    titled = not live and sum(len(trace.steps) for trace in lab.sampled.traces) <= MAX_TITLES
    inside = {
        name: picked_chips_html(
            trace.steps,
            colour_by=colour_by,
            marked=marked,
            titled=titled,
            sets=None if live else "step",
        )
        + _facts_html(trace, spent, live)
        for name, trace, spent in zip(lab.names, lab.sampled.traces, lab.seconds, strict=True)
    }
    inside |= {name: _problem_html(why) for name, why in lab.problems}
    cards = "".join(_column_html(name, inside[name]) for name in sorted(inside))
    return f'<div class="pg-columns">{cards}</div>'


def _column_html(name: str, inside: str) -> str:
    chooses = html.escape(json.dumps({"branch": name}))
    title = column_name(name)
    return (
        f'<section class="pg-column" data-set="{chooses}" aria-label="{title}">'
        f'<h4 class="pg-column-name">{title}</h4>{inside}</section>'
    )


def _problem_html(why: str) -> str:
    return f'<p class="pg-problem" role="alert">{html.escape(why)}</p>'


def column_name(name: str) -> str:
    """What the page calls a column: Column A."""
    return say("Column {name}", name=name)


def _facts_html(trace: SamplingTrace, seconds: float, live: bool) -> str:
    if trace.error:
        return _problem_html(trace.error)
    ending = say("still writing") if live and trace.finish_reason == "running" else None
    return f'<p class="pg-column-facts">{html.escape(trace_words(trace, seconds, ending))}</p>'


def trace_words(trace: SamplingTrace, seconds: float, ending: str | None = None) -> str:
    """One column in numbers."""
    count = len(trace.steps)
    ended = ending or say(ENDINGS[trace.finish_reason])
    words = [say("{tokens}, {ended}", tokens=count_tokens(count), ended=ended)]
    if count and seconds > 0:
        words.append(say("{speed:,.0f} tokens/s", speed=count / seconds))
    if count:
        mean = sum(surprisal(step) for step in trace.steps) / count
        words.append(say("mean log-probability {mean:.2f} nats", mean=-mean))
        words.append(say("repeats {share:.0%}", share=repetition(trace.steps)))
    return " · ".join(words)


def repetition(steps: Sequence[TokenStep], length: int = 3) -> float:
    """Share of runs of three tokens that came before in the same column (1 - distinct-3)."""
    ids = [step.id for step in steps]
    runs = [tuple(ids[start : start + length]) for start in range(len(ids) - length + 1)]
    return 1 - len(set(runs)) / len(runs) if runs else 0.0


def divergence_html(sampled: SamplingRun, names: Sequence[str], seconds: float) -> str:
    """Where the columns part, and how long all took together."""
    took = say(
        "{count:,} tokens in {seconds:.1f} s, all columns in one batch from one prefill.",
        count=sum(len(trace.steps) for trace in sampled.traces),
        seconds=seconds,
    )
    first = sampled.first_divergence
    if len(names) == 1:
        return fact_markup(took)
    if first is None:
        return fact_markup(say("The columns are the same to the end. {took}", took=took))
    ways = say("; ").join(
        _way_words(name, trace, first) for name, trace in zip(names, sampled.traces, strict=True)
    )
    return fact_markup(
        say(
            "<strong>The columns first differ at token {number}.</strong> {ways}. {took}",
            number=first + 1,
            ways=ways,
            took=took,
        )
    )


def _way_words(name: str, trace: SamplingTrace, index: int) -> str:
    if index >= len(trace.steps):
        return say("{name} has ended before it", name=name)
    step = trace.steps[index]
    return say(
        "{name} writes {token} ({prob:.1%})",
        name=name,
        token=token_html(step.text),
        prob=raw_probability(step),
    )


def diff_html(first: SamplingTrace, second: SamplingTrace, names: tuple[str, str]) -> str:
    """Two columns as one text: what only one of them has is marked as such."""
    ours, theirs = first.steps, second.steps
    matcher = SequenceMatcher(
        None, [step.id for step in ours], [step.id for step in theirs], autojunk=False
    )
    only = [html.escape(say("only in column {name}", name=name)) for name in names]
    parts: list[str] = []
    same = 0
    for _, start, end, other_start, other_end in matcher.get_opcodes():
        left, right = ours[start:end], theirs[other_start:other_end]
        if [step.id for step in left] == [step.id for step in right]:
            same += len(left)
            parts.append(_joined(left))
            continue
        if left:
            parts.append(f'<del title="{only[0]}">{_joined(left)}</del>')
        if right:
            parts.append(f'<ins title="{only[1]}">{_joined(right)}</ins>')
    legend = say(
        "{same} in common; <del>only in {first}: {ours:,}</del> "
        "<ins>only in {second}: {theirs:,}</ins>",
        same=count_tokens(same),
        first=names[0],
        ours=len(ours) - same,
        second=names[1],
        theirs=len(theirs) - same,
    )
    return (
        f'<p class="pg-column-facts">{legend}</p>'
        f'<p class="pg-diff" translate="no">{"".join(parts)}</p>'
    )


def _joined(steps: Sequence[TokenStep]) -> str:
    return html.escape("".join(flowing_lines(step.text) for step in steps))
