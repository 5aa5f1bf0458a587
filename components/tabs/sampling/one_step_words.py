"""Texts and table of one step: the token, the effect of each filter, the effect of their order."""

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
    from playground.sampling.trace import TokenStep
    from playground.sampling.views import FilterEffect, OrderDifference, StepView


def step_html(name: str, index: int, written: TokenStep, view: StepView) -> str:
    """The step in a sentence."""
    values = {
        "name": html.escape(name),
        "number": index + 1,
        "token": token_html(view.sampled_text),
    }
    if view.sampled_id == written.id:
        head = say(
            "<strong>Column {name}, token {number}: {token}</strong>, the same as in the column.",
            **values,
        )
    else:
        head = say(
            "<strong>Column {name}, token {number}: {token}</strong> instead of {written} in the "
            "column.",
            written=token_html(written.text),
            **values,
        )
    return fact_markup(head, left_words(view))


def left_words(view: StepView) -> str:
    """How many tokens remain, and the change in entropy."""
    values = {
        "total": view.vocab_size,
        "before": view.entropy,
        "possible": math.log(view.vocab_size),
        "after": view.effects[-1].entropy if view.effects else view.entropy,
    }
    if view.num_left == 1:
        return say(
            "1 of {total:,} tokens can be sampled. The filters change the entropy from "
            "{before:.2f} nats (maximum {possible:.2f}) to {after:.2f}.",
            **values,
        )
    return say(
        "{count:,} of {total:,} tokens can be sampled. The filters change the entropy from "
        "{before:.2f} nats (maximum {possible:.2f}) to {after:.2f}.",
        count=view.num_left,
        **values,
    )


def effects_html(view: StepView) -> str:
    """Table of what each filter did."""
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
        say("Most likely removed"),
        say("Remaining"),
        say("Probability kept"),
        say("Entropy (nats)"),
    )
    return table_html(headers, rows, say("Active filters, in order"), right=(4, 5))


def removed_words(effect: FilterEffect) -> str:
    """The most likely tokens that a filter removed."""
    named = [f"{quote(text)} {share_words(prob)}" for text, prob in effect.removed[:4]]
    if effect.num_removed > len(named):
        named.append("…")
    return ", ".join(named) or "–"


def order_html(difference: OrderDifference, temperature: float) -> str:
    """The effect of the position of the temperature."""
    first, last = difference.num_left
    if temperature in (0, 1):
        return fact_markup(say("At this temperature, the order makes no difference."))
    if difference.total_variation < 1e-6:
        return fact_markup(
            say(
                "Applying temperature first or last makes no difference here: {count:,} tokens "
                "remain either way.",
                count=first,
            )
        )
    sentences = [
        say(
            "Temperature first leaves {first:,} tokens, temperature last leaves {last:,}. The two "
            "distributions differ by {share:.1%} (total variation).",
            first=first,
            last=last,
            share=difference.total_variation,
        )
    ]
    if difference.only_first:
        sentences.append(
            say(
                "Only temperature first keeps {listed}.",
                listed=_listed(difference.only_first),
            )
        )
    if difference.only_last:
        sentences.append(
            say(
                "Only temperature last keeps {listed}.",
                listed=_listed(difference.only_last),
            )
        )
    return fact_markup(*sentences)


def _listed(texts: Sequence[str]) -> str:
    return say(", ").join(token_html(text) for text in texts)
