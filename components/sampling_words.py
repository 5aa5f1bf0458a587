"""What the sampling tab says in words: the columns' texts, where they part, how two differ."""

from __future__ import annotations

import html
from collections.abc import Sequence
from difflib import SequenceMatcher

from components.sampling_chips import MAX_TITLES, ColourBy, picked_chips_html, surprisal
from components.strips import raw_probability, visible
from playground.errors import InputError
from playground.records import SamplingRun, SamplingTrace, TokenStep

ENDINGS = {
    "running": "stopped",
    "stop": "ended by the model",
    "length": "cut at the limit",
    "error": "broken off",
}


def columns_html(
    sampled: SamplingRun,
    names: Sequence[str],
    *,
    seconds: Sequence[float],
    colour_by: ColourBy = "probability",
    live: bool = False,
) -> str:
    """All columns beside each other, as many to a row as there is room for.

    Args:
        sampled: the run, or as far as it is.
        names: of its columns.
        seconds: how long each has been written on.
        colour_by: what the tokens' backgrounds mean.
        live: it is still being written.
    """
    mark = None if live else sampled.first_divergence
    titled = not live and sum(len(trace.steps) for trace in sampled.traces) <= MAX_TITLES
    cards = "".join(
        f'<section class="pg-column" data-branch="{name}" aria-label="Column {name}">'
        f'<h4 class="pg-column-name">Column {name}</h4>'
        + picked_chips_html(trace.steps, colour_by=colour_by, mark=mark, titled=titled)
        + _facts_html(trace, spent, live)
        + "</section>"
        for name, trace, spent in zip(names, sampled.traces, seconds, strict=True)
    )
    return f'<div class="pg-columns">{cards}</div>'


def _facts_html(trace: SamplingTrace, seconds: float, live: bool) -> str:
    if trace.error:
        return f'<p class="pg-problem" role="alert">{html.escape(trace.error)}</p>'
    ending = "still writing" if live and trace.finish_reason == "running" else None
    words = trace_words(trace, seconds, ending)
    return f'<p class="pg-column-facts">{html.escape(words)}</p>'


def trace_words(trace: SamplingTrace, seconds: float, ending: str | None = None) -> str:
    """One column in numbers."""
    count = len(trace.steps)
    words = [f"{count_words(count, 'token')}, {ending or ENDINGS[trace.finish_reason]}"]
    if count and seconds > 0:
        words.append(f"{count / seconds:,.0f} tokens/s")
    if count:
        mean = sum(surprisal(step) for step in trace.steps) / count
        words.append(f"mean log-probability {-mean:.2f} nats")
        words.append(f"repeats {repetition(trace.steps):.0%}")
    return " · ".join(words)


def repetition(steps: Sequence[TokenStep], length: int = 3) -> float:
    """Share of runs of three tokens that came before in the same column (1 - distinct-3)."""
    ids = [step.id for step in steps]
    runs = [tuple(ids[start : start + length]) for start in range(len(ids) - length + 1)]
    return 1 - len(set(runs)) / len(runs) if runs else 0.0


def count_words(count: int, noun: str) -> str:
    """``1 token``, ``2 tokens``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def divergence_html(sampled: SamplingRun, names: Sequence[str], seconds: float) -> str:
    """Where the columns part, and how long all took together."""
    count = sum(len(trace.steps) for trace in sampled.traces)
    took = f"{count:,} tokens in {seconds:.1f} s, all columns in one batch from one prefill."
    first = sampled.first_divergence
    if len(names) == 1:
        return f'<p class="pg-fact">{took}</p>'
    if first is None:
        return f'<p class="pg-fact">The columns are the same to the end. {took}</p>'
    ways = "; ".join(
        f"{name} {_way_words(trace, first)}"
        for name, trace in zip(names, sampled.traces, strict=True)
    )
    return (
        f'<p class="pg-fact"><strong>The columns first differ at token {first + 1}.</strong> '
        f"{ways}. {took}</p>"
    )


def _way_words(trace: SamplingTrace, index: int) -> str:
    if index >= len(trace.steps):
        return "has ended before it"
    step = trace.steps[index]
    return f"writes “{html.escape(visible(step.text))}” ({raw_probability(step):.1%})"


def problems_html(problems: dict[str, InputError]) -> str:
    """Which columns are left out, and why."""
    items = "".join(
        f"<li>Column {name} is left out: {html.escape(str(error))}</li>"
        for name, error in problems.items()
    )
    return f'<ul class="pg-notices" role="alert">{items}</ul>' if items else ""


def diff_html(first: SamplingTrace, second: SamplingTrace, names: tuple[str, str]) -> str:
    """Two columns as one text: what only one of them has is marked as such."""
    ours, theirs = first.steps, second.steps
    matcher = SequenceMatcher(
        None, [step.id for step in ours], [step.id for step in theirs], autojunk=False
    )
    parts: list[str] = []
    same = 0
    for _, start, end, other_start, other_end in matcher.get_opcodes():
        left, right = ours[start:end], theirs[other_start:other_end]
        if [step.id for step in left] == [step.id for step in right]:
            same += len(left)
            parts.append(_joined(left))
            continue
        if left:
            parts.append(f'<del title="only in column {names[0]}">{_joined(left)}</del>')
        if right:
            parts.append(f'<ins title="only in column {names[1]}">{_joined(right)}</ins>')
    legend = (
        f"{count_words(same, 'token')} in common; <del>only in {names[0]}: "
        f"{len(ours) - same}</del> <ins>only in {names[1]}: {len(theirs) - same}</ins>"
    )
    return f'<p class="pg-column-facts">{legend}</p><p class="pg-diff">{"".join(parts)}</p>'


def _joined(steps: Sequence[TokenStep]) -> str:
    text = "".join(visible(step.text) for step in steps)
    return html.escape(text.replace("␣", " ").replace("⏎", "⏎\n"))
