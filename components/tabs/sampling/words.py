"""Texts of the sampling tab: the columns, where they diverge, and how two of them differ."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from typing import TYPE_CHECKING, Any

from components.tabs.sampling.chips import MAX_TITLES, ColourBy, picked_chips_html, surprisal
from components.tabs.sampling.looping import find_own_loop, loop_legend_html, loop_words
from components.tabs.sampling.sections import Sections, folded_chips_html
from components.views.facts import count_tokens, fact_markup
from components.views.text import flowing_lines, token_html
from playground.language import mark, say
from playground.sampling.loops import Loop
from playground.sampling.trace import SamplingRun, SamplingTrace, TokenStep

if TYPE_CHECKING:
    from components.tabs.sampling.lab import Lab

ENDINGS = {
    "running": mark("stopped"),
    "stop": mark("ended by the model"),
    "length": mark("stopped at the token limit"),
    "window": mark("stopped at the end of the context window"),
    "error": mark("stopped by an error"),
}


def columns_html(
    lab: Lab, colour_by: ColourBy = "probability", thinking: Mapping[str, Sections] | None = None
) -> str:
    """All columns side by side, wrapped to the width of the page.

    A skipped column shows its error message.

    Args:
        lab: the columns.
        colour_by: the quantity shown by the background colours.
        thinking: the sections of the columns that think, by name.
    """
    if lab.sampled is None:
        return ""
    live = lab.is_live
    marked = None if live else lab.sampled.first_divergence
    titled = not live and sum(len(trace.steps) for trace in lab.sampled.traces) <= MAX_TITLES
    inside = {}
    for name, trace, spent in zip(lab.names, lab.sampled.traces, lab.seconds, strict=True):
        loop = None if live else find_own_loop(trace)
        options: dict[str, Any] = {
            "colour_by": colour_by,
            "marked": marked,
            "titled": titled,
            "sets": None if live else "step",
            "loop": loop,
        }
        sections = (thinking or {}).get(name)
        inside[name] = (
            picked_chips_html(trace.steps, **options)
            if sections is None
            else folded_chips_html(trace, sections, **options)
        ) + _facts_html(trace, spent, live)
        if loop is not None:
            inside[name] += _loop_html(trace, loop)
    inside |= {name: _problem_html(why) for name, why in lab.problems}
    second = {name for name, is_second in zip(lab.names, lab.second, strict=False) if is_second}
    cards = "".join(_column_html(name, inside[name], name in second) for name in sorted(inside))
    return f'<div class="pg-columns">{cards}</div>'


def _column_html(name: str, inside: str, is_second: bool) -> str:
    chooses = html.escape(json.dumps({"branch": name}))
    title = column_name(name)
    if is_second:
        title = say("{column}, second checkpoint", column=title)
    return (
        f'<section class="pg-column" data-set="{chooses}" aria-label="{title}">'
        f'<h4 class="pg-column-name">{title}</h4>{inside}</section>'
    )


def decoder_button_html(trace: SamplingTrace, index: int) -> str:
    """A button that shows an answer, and this token of it, in the decoder tab."""
    shows = {
        "decoder.facts.sequence": "sampled",
        "decoder.facts.sampled": [step.id for step in trace.steps],
    }
    return (
        '<p><button type="button" class="pg-button pg-small" data-open="decoder" '
        f'data-set="{html.escape(json.dumps(shows))}" data-token-of-answer="{index}">'
        f"{say('Show this token in the decoder')}</button></p>"
    )


def _loop_html(trace: SamplingTrace, loop: Loop) -> str:
    where = say("The part “Loops” shows how it locks in, and what stops it.")
    return f'<p class="pg-column-facts">{loop_words(trace, loop)} {where}</p>' + loop_legend_html()


def _problem_html(why: str) -> str:
    return f'<p class="pg-problem" role="alert">{html.escape(why)}</p>'


def column_name(name: str) -> str:
    """``Column A``."""
    return say("Column {name}", name=name)


def _facts_html(trace: SamplingTrace, seconds: float, live: bool) -> str:
    if trace.error:
        return _problem_html(trace.error)
    ending = say("still generating") if live and trace.finish_reason == "running" else None
    return f'<p class="pg-column-facts">{html.escape(trace_words(trace, seconds, ending))}</p>'


def trace_words(trace: SamplingTrace, seconds: float, ending: str | None = None) -> str:
    """Facts about one column: length, speed, mean log-probability, repetition."""
    count = len(trace.steps)
    ended = ending or say(ENDINGS[trace.finish_reason])
    words = [say("{tokens}, {ended}", tokens=count_tokens(count), ended=ended)]
    if count and seconds > 0:
        words.append(say("{speed:,.0f} tokens/s", speed=count / seconds))
    if count:
        mean = sum(surprisal(step) for step in trace.steps) / count
        words.append(say("mean log-probability {mean:.2f} nats", mean=-mean))
        words.append(say("{share:.0%} repeated 3-grams", share=repetition(trace.steps)))
    return " · ".join(words)


def repetition(steps: Sequence[TokenStep], length: int = 3) -> float:
    """Share of 3-grams that already occurred in the same column (1 - distinct-3)."""
    ids = [step.id for step in steps]
    runs = [tuple(ids[start : start + length]) for start in range(len(ids) - length + 1)]
    return 1 - len(set(runs)) / len(runs) if runs else 0.0


def divergence_html(sampled: SamplingRun, names: Sequence[str], seconds: float) -> str:
    """Where the columns diverge, and how long they took in total."""
    took = say(
        "{count:,} tokens in {seconds:.1f} s, with all columns in one batch from one prefill.",
        count=sum(len(trace.steps) for trace in sampled.traces),
        seconds=seconds,
    )
    first = sampled.first_divergence
    if len(names) == 1:
        return fact_markup(took)
    if first is None:
        return fact_markup(say("All columns are identical. {took}", took=took))
    ways = say("; ").join(
        _variant_words(name, trace, first)
        for name, trace in zip(names, sampled.traces, strict=True)
    )
    return fact_markup(
        say(
            "<strong>The columns first differ at token {number}.</strong> {ways}. {took}",
            number=first + 1,
            ways=ways,
            took=took,
        )
    )


def _variant_words(name: str, trace: SamplingTrace, index: int) -> str:
    if index >= len(trace.steps):
        return say("{name} has already ended", name=name)
    step = trace.steps[index]
    return say(
        "{name} continues with {token} ({prob:.1%})",
        name=name,
        token=token_html(step.text),
        prob=step.raw_prob,
    )


def diff_html(first: SamplingTrace, second: SamplingTrace, names: tuple[str, str]) -> str:
    """Two columns as one text, with the tokens of only one of them marked."""
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
