"""Loops in generated text: which one a column has, and how the page names it."""

from __future__ import annotations

from itertools import takewhile

from components.views.facts import count_tokens
from components.views.text import cut_end, flowing, token_html
from playground.language import say
from playground.sampling.loops import MIN_TOKENS, Loop, find_loops
from playground.sampling.trace import SamplingTrace

MAX_ROUND = 60  # characters of a round that a sentence quotes


def find_own_loop(trace: SamplingTrace) -> Loop | None:
    """The loop of a trace, of which the model must have generated at least ``MIN_TOKENS`` tokens.

    Returns:
        The one that the text ends in, an end token aside; else the longest; None without one.
    """
    ids = [step.id for step in trace.steps]
    if trace.finish_reason == "stop":
        ids.pop()
    given = count_given(trace)
    loops = [loop for loop in find_loops(ids) if loop.end - max(loop.start, given) >= MIN_TOKENS]
    if loops and loops[-1].end == len(ids):
        return loops[-1]
    return max(loops, key=lambda loop: loop.num_tokens, default=None)


def count_given(trace: SamplingTrace) -> int:
    """How many tokens at the start of a trace were given instead of generated."""
    return sum(1 for _ in takewhile(lambda step: step.forced, trace.steps))


def round_text(trace: SamplingTrace, start: int, num_tokens: int) -> str:
    """The text of a round, cut to a line."""
    tokens = trace.steps[start : start + num_tokens]
    return cut_end(flowing("".join(step.text for step in tokens)), MAX_ROUND)


def loop_words(trace: SamplingTrace, loop: Loop) -> str:
    """A loop's text, period, rounds and place in a sentence of HTML."""
    return say(
        "Loop: {text} ({period}) {rounds:,} times, tokens {first:,} to {last:,}.",
        text=token_html(round_text(trace, loop.start, loop.period)),
        period=count_tokens(loop.period),
        rounds=loop.rounds,
        first=loop.start + 1,
        last=loop.end,
    )


def loop_legend_html() -> str:
    """How the tokens of a loop are marked."""
    return (
        '<p class="pg-column-facts"><span class="pg-loop pg-round">'
        f"{say('Tokens of a loop')}</span> {say('The line on the left starts a round.')}</p>"
    )
