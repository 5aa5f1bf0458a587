"""Generated text as coloured tokens that can be selected, with their numbers on hover and focus."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import Literal

from components.look.colors import ORANGE
from components.views.generated import (
    PROBABILITY_BANDS,
    TOKEN_COLORS,
    answer_id,
    probability_class,
    probability_legend_html,
)
from components.views.text import flowing_lines
from playground.language import mark, say
from playground.sampling.loops import Loop
from playground.sampling.trace import TokenStep

ColourBy = Literal["probability", "surprisal"]
COLOURS: dict[ColourBy, str] = {"probability": mark("probability"), "surprisal": mark("surprisal")}
MOST_NATS = 8.0  # the darkest shade of surprisal
MAX_TITLES = 800  # tokens with numbers on hover, 100 bytes each; in the texts and the tree
BANDS = [name for _, name, _ in PROBABILITY_BANDS]


def surprisal(step: TokenStep) -> float:
    """Surprisal of the token before the filters: -ln p, in nats."""
    return -math.log(max(step.raw_prob, 1e-45))


def picked_chips_html(
    steps: Sequence[TokenStep],
    *,
    colour_by: ColourBy = "probability",
    first: int = 0,
    last: int | None = None,
    marked: int | None = None,
    titled: bool = True,
    sets: str | None = "",
    loop: Loop | None = None,
) -> str:
    """Tokens as chips. clicks.js adds the attributes that all chips share.

    Args:
        steps: all tokens of a branch.
        colour_by: the quantity shown by the background colours.
        first: index of the first token to show.
        last: one past the last token to show; by default all.
        marked: a step to highlight, such as the first difference.
        titled: show numbers on hover and focus; False while the text is still being generated.
        sets: the control that a click sets to the token's number. With the default "" a click has
            no effect; None, while the text is still being generated, also disables focus.
        loop: of these tokens; marked, and each of its rounds.
    """
    chips = "".join(
        _chip(index, step, colour_by, _marks(index, marked, loop), titled)
        for index, step in enumerate(steps[:last])
        if index >= first
    )
    classes = "pg-generated pg-picks" + (" pg-by-nats" if colour_by == "surprisal" else "")
    numbers = ""
    if sets is not None:
        same = answer_id(step.id for step in steps)
        numbers = f' data-numbers="{sets}" data-first="{first}" data-ids="{same}"'
    return f'<p class="{classes}"{numbers} translate="no" style="{TOKEN_COLORS}">{chips}</p>'


def _marks(index: int, marked: int | None, loop: Loop | None) -> list[str]:
    """The CSS classes of a token that is highlighted or part of a loop."""
    classes = ["pg-diverges"] if index == marked else []
    if loop is not None and loop.start <= index < loop.end:
        classes.append("pg-loop")
        classes += ["pg-round"] if (index - loop.start) % loop.period == 0 else []
    return classes


def _chip(index: int, step: TokenStep, colour_by: ColourBy, marks: list[str], titled: bool) -> str:
    classes = [*marks, "pg-forced"] if step.forced else marks
    attributes = ""
    if colour_by == "surprisal":
        attributes += f" style=--nats:{_shade(surprisal(step))}"
    elif band := BANDS.index(probability_class(step.raw_prob)):
        classes = [*classes, f"p{band}"]
    if classes:
        attributes += f' class="{" ".join(classes)}"'
    if titled:
        attributes += f' title="{html.escape(_title(index, step))}"'
    return f"<b{attributes}>{html.escape(flowing_lines(step.text))}</b>"


def _shade(nats: float) -> str:
    """A surprisal scaled to 0–1 for the style sheet."""
    return f"{min(1.0, nats / MOST_NATS):.2g}"


def _title(index: int, step: TokenStep) -> str:
    values = {
        "number": index + 1,
        "id": step.id,
        "raw": step.raw_prob,
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
    """Legend of the background colours."""
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
