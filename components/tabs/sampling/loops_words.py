"""Sentence and tables of a broken loop: what each setting did, and what it costs elsewhere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from components.tabs.sampling.presets import setting_name
from components.views.facts import count_tokens, fact_markup, lead_markup
from components.views.tables import Verbatim, table_html
from components.views.text import cut_end, flowing, verbatim_html
from playground.language import say

if TYPE_CHECKING:
    from playground.experiments.loops import BrokenLoop, Continuation, ReferenceCost

MAX_TEXT = 40  # characters of a continuation
MAX_REFERENCE = 240  # characters of the reference text


@dataclass(frozen=True, slots=True, eq=False)
class BrokenSoFar:
    """The settings so far."""

    source: str  # whose loop
    reference: str  # text that rightly repeats
    rows: tuple[BrokenLoop, ...]  # the unchanged settings first
    seconds: float


def row_name(row: BrokenLoop) -> str:
    """The changed setting and its value."""
    if row.changed is None:
        return say("unchanged")
    value = getattr(row.settings, row.changed)
    return f"{setting_name(row.changed)} {value:g}"


def outcome_html(found: BrokenSoFar) -> str:
    """Which settings stop the loop, with the visual tokens and without them."""
    first = found.rows[0]
    sentences = [
        say("Loop of {name}, in {seconds:.1f} s.", name=found.source, seconds=found.seconds)
    ]
    sentences.append(_stopped_words(found.rows[1:]))
    if first.with_image is not None and first.without_image is not None:
        blind = first.without_image
        sentences.append(
            say("With the visual tokens masked, the text leaves the loop without any other change.")
            if blind.has_stopped
            else say("With the visual tokens masked, it goes on, too.")
        )
    return fact_markup(*sentences)


def _stopped_words(rows: Sequence[BrokenLoop]) -> str:
    stopped = [row_name(row) for row in rows if row.with_image and row.with_image.has_stopped]
    if not stopped:
        return say("None of the {count} settings stops it.", count=len(rows))
    if len(stopped) == len(rows):
        return say("All {count} settings stop it.", count=len(rows))
    return say(
        "{stopped} of {count} settings stop it: {names}.",
        stopped=len(stopped),
        count=len(rows),
        names=say(", ").join(stopped),
    )


def outcome_table_html(found: BrokenSoFar) -> str:
    """How the text goes on under each setting, with the visual tokens and without them."""
    has_blind = any(row.without_image for row in found.rows)
    headers = [say("Setting"), say("Outcome"), say("The text goes on with")]
    if has_blind:
        headers += [say("Visual tokens masked"), say("It then goes on with")]
    table = []
    for row in found.rows:
        cells: list[str | Verbatim] = [row_name(row), *_cells(row.with_image)]
        table.append([*cells, *(_cells(row.without_image) if has_blind else ())])
    return table_html(headers, table, say("From the second round on"))


def _cells(continuation: Continuation | None) -> tuple[str | Verbatim, str | Verbatim]:
    if continuation is None:
        return "–", "–"
    steps = continuation.trace.steps[continuation.fork :]
    text = cut_end(flowing("".join(step.text for step in steps)), MAX_TEXT)
    return _outcome(continuation), Verbatim(text)


def _outcome(continuation: Continuation) -> str:
    followed = count_tokens(continuation.num_followed)
    if continuation.has_stopped:
        return say("stops after {tokens}", tokens=followed)
    if continuation.num_followed >= len(continuation.trace.steps) - continuation.fork - 1:
        return say("goes on")
    return say("leaves it after {tokens}, but loops again", tokens=followed)


def cost_table_html(found: BrokenSoFar) -> str:
    """What each setting costs on the reference text."""
    costs = [(row_name(row), row.cost) for row in found.rows if row.cost is not None]
    if not costs:
        return ""
    base = costs[0][1]
    headers = (
        say("Setting"),
        say("Log-probability (nats)"),
        say("Difference (nats)"),
        say("Most likely tokens"),
        say("First removed token"),
    )
    table = [
        (
            name,
            _nats(cost.log_prob),
            _nats(cost.log_prob - base.log_prob, signed=True),
            say("{best} of {count}", best=cost.num_best, count=cost.num_tokens),
            "–" if cost.first_removed is None else f"{cost.first_removed + 1}",
        )
        for name, cost in costs
    ]
    text = verbatim_html(f"“{cut_end(flowing(found.reference), MAX_REFERENCE)}”")
    lead = lead_markup(say("The text that rightly repeats: {text}", text=text), _worst(costs))
    caption = say("What each setting costs on a text that rightly repeats")
    return lead + table_html(headers, table, caption, right=(1, 2, 3, 4))


def _nats(value: float, *, signed: bool = False) -> str:
    if not math.isfinite(value):
        return "−∞"
    return format(value, "+.2f" if signed else ".2f").replace("-", "−")


def _worst(costs: Sequence[tuple[str, ReferenceCost]]) -> str:
    barred = [name for name, cost in costs if cost.first_removed is not None]
    if not barred:
        return say("All settings can still generate it.")
    return say("It can't be generated any more with {names}.", names=say(", ").join(barred))
