"""One step in words: the token, what each filter did, what the order changes."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from components.charts.sampling_step import effect_name
from components.views.facts import fact_markup, share_words
from components.views.tables import Verbatim, table_html
from components.views.text import quote, token_html
from playground.language import say

if TYPE_CHECKING:
    from playground.records import TokenStep
    from playground.sampling.views import FilterEffect, OrderDifference, StepView


def step_html(name: str, index: int, written: TokenStep, view: StepView) -> str:
    """The step in a sentence."""
    values = {
        "name": html.escape(name),
        "number": index + 1,
        "token": token_html(view.drawn_text),
    }
    if view.drawn_id == written.id:
        head = say(
            "<strong>Column {name}, token {number}: {token}</strong>, as the column has it.",
            **values,
        )
    else:
        head = say(
            "<strong>Column {name}, token {number}: {token}</strong>, where the column has "
            "{written}.",
            written=token_html(written.text),
            **values,
        )
    return fact_markup(head, left_words(view))


def left_words(view: StepView) -> str:
    """How much the filters leave to chance."""
    values = {
        "total": view.vocab_size,
        "before": view.entropy,
        "possible": math.log(view.vocab_size),
        "after": view.effects[-1].entropy if view.effects else view.entropy,
    }
    if view.num_left == 1:
        return say(
            "Of {total:,} words 1 token can be drawn; the entropy goes from {before:.2f} nats of "
            "{possible:.2f} possible to {after:.2f}.",
            **values,
        )
    return say(
        "Of {total:,} words {count:,} tokens can be drawn; the entropy goes from {before:.2f} nats "
        "of {possible:.2f} possible to {after:.2f}.",
        count=view.num_left,
        **values,
    )


def effects_html(view: StepView) -> str:
    """What each filter did, as a table."""
    rows = [
        (
            effect_name(effect),
            effect.num_removed,
            Verbatim(removed_words(effect)),
            effect.num_left,
            f"{effect.mass_kept:.1%}",
            f"{effect.entropy:.3f}",
        )
        for effect in view.effects
    ]
    headers = (
        say("Filter"),
        say("Removed"),
        say("The likeliest of them"),
        say("Left"),
        say("Mass kept"),
        say("Entropy (nats)"),
    )
    return table_html(headers, rows, say("The filters that are on, in order"), right=(4, 5))


def removed_words(effect: FilterEffect) -> str:
    """The likeliest tokens that a filter removed."""
    named = [f"{quote(text)} {share_words(prob)}" for text, prob in effect.removed[:4]]
    if effect.num_removed > len(named):
        named.append("…")
    return ", ".join(named) or "–"


def order_html(difference: OrderDifference, temperature: float) -> str:
    """What the place of the temperature changes."""
    first, last = difference.num_left
    if temperature in (0, 1):
        words = say("With this temperature its place makes no difference to what is left.")
    elif difference.total_variation < 1e-6:
        words = say(
            "Temperature first or last makes no difference here: {count:,} left either way.",
            count=first,
        )
    else:
        words = say(
            "Temperature first leaves {first:,}, temperature last {last:,}; {share:.1%} of the "
            "probability lies elsewhere.",
            first=first,
            last=last,
            share=difference.total_variation,
        )
        if difference.only_first:
            words += " " + say(
                "Only with temperature first there are {listed}.",
                listed=_listed(difference.only_first),
            )
        if difference.only_last:
            words += " " + say(
                "Only with temperature last there are {listed}.",
                listed=_listed(difference.only_last),
            )
    return fact_markup(words)


def _listed(texts: Sequence[str]) -> str:
    return say(", ").join(token_html(text) for text in texts)
