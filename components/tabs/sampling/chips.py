"""Written text as tokens that can be chosen: coloured, with their numbers on hover and on focus."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import Literal

from components.look.colors import ORANGE
from components.views.generated import (
    PROBABILITY_BANDS,
    TOKEN_COLORS,
    probability_class,
    probability_legend_html,
    raw_probability,
)
from components.views.text import flowing_lines
from playground.language import mark, say
from playground.records import TokenStep

ColourBy = Literal["probability", "surprisal"]
COLOURS: dict[ColourBy, str] = {"probability": mark("probability"), "surprisal": mark("surprisal")}
MOST_NATS = 8.0  # the darkest shade of surprisal
MAX_TITLES = 800  # tokens that get their numbers, 100 bytes each; the texts and the tree have them
BANDS = [name for _, name, _ in PROBABILITY_BANDS]


def surprisal(step: TokenStep) -> float:
    """How unexpected the token was before the filters: -ln p, in nats."""
    return -math.log(max(raw_probability(step), 1e-45))


def picked_chips_html(
    steps: Sequence[TokenStep],
    *,
    colour_by: ColourBy = "probability",
    first: int = 0,
    marked: int | None = None,
    titled: bool = True,
    sets: str | None = "",
) -> str:
    """Tokens as chips. What they all have in common is added in the page, see clicks.js.

    Args:
        steps: all tokens of a branch.
        colour_by: what the backgrounds mean.
        first: show those from here on.
        marked: a step to point out, such as the first difference.
        titled: with numbers on hover and focus; left out while a text is still being written.
        sets: the control that a click sets to the token's number; by default tokens can only be
            looked at, and while a text is still being written (None) not even that.
    """
    chips = "".join(
        _chip(index, step, colour_by, index == marked, titled)
        for index, step in enumerate(steps)
        if index >= first
    )
    classes = "pg-generated pg-picks" + (" pg-by-nats" if colour_by == "surprisal" else "")
    numbers = "" if sets is None else f' data-numbers="{sets}" data-first="{first}"'
    return f'<p class="{classes}"{numbers} translate="no" style="{TOKEN_COLORS}">{chips}</p>'


def _chip(index: int, step: TokenStep, colour_by: ColourBy, marked: bool, titled: bool) -> str:
    classes = ["pg-diverges"] if marked else []
    classes += ["pg-forced"] if step.forced else []
    attributes = ""
    if colour_by == "surprisal":
        attributes += f" style=--nats:{_shade(surprisal(step))}"
    elif band := BANDS.index(probability_class(raw_probability(step))):
        classes.append(f"p{band}")
    if classes:
        attributes += f' class="{" ".join(classes)}"'
    if titled:
        attributes += f' title="{html.escape(_title(index, step))}"'
    return f"<b{attributes}>{html.escape(flowing_lines(step.text))}</b>"


def _shade(nats: float) -> str:
    """A surprisal as the style sheet takes it: from 0 to 1."""
    return f"{min(1.0, nats / MOST_NATS):.2g}"


def _title(index: int, step: TokenStep) -> str:
    values = {
        "number": index + 1,
        "id": step.id,
        "raw": raw_probability(step),
        "nats": surprisal(step),
        "entropy": step.entropy,
    }
    if step.forced:
        return say(
            "token {number} · id {id} · before the filters {raw:.1%} ({nats:.2f} nats) · "
            "chosen by you · entropy {entropy:.2f} nats",
            **values,
        )
    return say(
        "token {number} · id {id} · before the filters {raw:.1%} ({nats:.2f} nats) · "
        "after them {prob:.1%} · entropy {entropy:.2f} nats",
        prob=step.prob,
        **values,
    )


def colour_legend_html(colour_by: ColourBy) -> str:
    """What the backgrounds mean."""
    if colour_by == "probability":
        return probability_legend_html()
    shades = "".join(
        f'<li class="pg-token pg-nats" style="--nats:{_shade(nats)}">{nats}</li>'
        for nats in (0, 2, 4, 6, 8)
    )
    return (
        f'<div class="pg-token-legend" style="--unsure:{ORANGE}">'
        f"<span>{say('Surprisal −ln p before the filters, in nats:')}</span>"
        f'<ul class="pg-legend">{shades}</ul></div>'
    )
