"""What the sampling tab says in words: the columns' texts, where they part, one step."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence

from components.charts.sampling import filter_name
from components.strips import raw_probability, token_chips_html, visible
from playground.records import SamplingRun, SamplingTrace


def column_texts(sampled: SamplingRun, names: Sequence[str]) -> list[str]:
    """Each column's text as chips, with a line of facts under it."""
    mark = sampled.first_divergence
    return [
        f'<h4 class="pg-column-name">Column {name}</h4>{token_chips_html(trace.steps, mark=mark)}'
        f'<p class="pg-column-facts">{html.escape(_trace_words(trace))}</p>'
        for name, trace in zip(names, sampled.traces, strict=True)
    ]


def _trace_words(trace: SamplingTrace) -> str:
    endings = {
        "running": "still writing",
        "stop": "ended by the model",
        "length": "cut at the limit",
    }
    # Every probability of a drawn token is above zero; rounding may still bring one to it.
    logs = [math.log(max(raw_probability(step), 1e-45)) for step in trace.steps]
    return (
        f"{len(logs)} tokens, {endings[trace.finish_reason]}; mean log-probability before the "
        f"filters {sum(logs) / len(logs):.2f} nats"
    )


def divergence_html(sampled: SamplingRun, names: Sequence[str], seconds: float) -> str:
    """Where the columns part, and how long both took together."""
    count = sum(len(trace.steps) for trace in sampled.traces)
    took = f"{count} tokens in {seconds:.1f} s, both columns in one batch."
    first = sampled.first_divergence
    if first is None:
        return f'<p class="pg-fact">The columns are the same to the end. {took}</p>'
    ways = " ".join(
        f"{name} {_way_words(trace, first)}."
        for name, trace in zip(names, sampled.traces, strict=True)
    )
    return (
        f'<p class="pg-fact"><strong>The columns first differ at token {first + 1}.</strong> '
        f"{ways} {took}</p>"
    )


def _way_words(trace: SamplingTrace, index: int) -> str:
    if index >= len(trace.steps):
        return "has ended before it"
    step = trace.steps[index]
    return f"writes “{html.escape(visible(step.text))}” ({raw_probability(step):.1%})"


def step_html(trace: SamplingTrace, index: int, name: str) -> str:
    """One step in a sentence."""
    step = trace.steps[index]
    removed = dict.fromkeys(filter_name(each.removed_by) for each in step.top if each.removed_by)
    cuts = f" Some of the likeliest were removed by: {', '.join(removed)}." if removed else ""
    left = "1 token was" if step.num_kept == 1 else f"{step.num_kept:,} tokens were"
    draw = (
        "Taken without a draw: it has the largest logit."
        if step.uniform is None
        else f"The number drawn was {step.uniform:.4f}."
    )
    return (
        f'<p class="pg-fact"><strong>Column {name}, token {index + 1}: '
        f"“{html.escape(visible(step.text))}”</strong> — {raw_probability(step):.1%} before the "
        f"filters, {step.prob:.1%} after; {left} left. {draw}{cuts}</p>"
    )
