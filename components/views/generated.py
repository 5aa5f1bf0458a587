"""Generated text as chips, each token coloured by its probability before the filters.

Colour is not the only cue: each probability band has its own line below the token.
"""

from __future__ import annotations

import html
import zlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from components.look.colors import ORANGE, PURPLE
from components.views.text import flowing_lines
from playground.language import mark, say

if TYPE_CHECKING:
    from playground.sampling.trace import TokenStep

# For the style sheet.
TOKEN_COLORS = f"--unsure:{ORANGE};--diverges:{PURPLE}"
# Lower bound of the probability, CSS class, label.
PROBABILITY_BANDS = (
    (0.9, "pg-sure", mark("90 % or more")),
    (0.5, "pg-likely", "50–90 %"),
    (0.2, "pg-unsure", "20–50 %"),
    (0.0, "pg-unlikely", mark("under 20 %")),
)


def probability_class(prob: float) -> str:
    """The CSS class of a probability's band."""
    return next(name for bound, name, _ in PROBABILITY_BANDS if prob >= bound)


def probability_legend_html() -> str:
    """The legend of `token_chips_html`."""
    items = "".join(
        f'<li class="pg-token {name}">{html.escape(say(words))}</li>'
        for _, name, words in PROBABILITY_BANDS
    )
    return (
        f'<div class="pg-token-legend" style="{TOKEN_COLORS}">'
        f"<span>{say('Probability before the filters:')}</span>"
        f'<ul class="pg-legend">{items}</ul></div>'
    )


def answer_id(token_ids: Iterable[int]) -> str:
    """A short id of an answer, by which pointer.js finds its tokens wherever the page shows it."""
    return f"{zlib.crc32(repr(tuple(token_ids)).encode()):08x}"


def token_chips_html(steps: Sequence[TokenStep], *, mark: int | None = None) -> str:
    """Generated text, each token coloured by its probability before the filters.

    The numbers appear on hover and on keyboard focus.

    Args:
        steps: the generated tokens in order.
        mark: the index of a step to mark, such as the first divergence.
    """
    chips = "".join(_step_chip(index, step, index == mark) for index, step in enumerate(steps))
    return f'<p class="pg-generated" translate="no" style="{TOKEN_COLORS}">{chips}</p>'


def _step_chip(index: int, step: TokenStep, marked: bool) -> str:
    raw = step.raw_prob
    name = probability_class(raw)
    title = say(
        "step {number} · id {id} · before the filters {raw:.1%} · after the filters {prob:.1%} · "
        "entropy {entropy:.2f} nats",
        number=index + 1,
        id=step.id,
        raw=raw,
        prob=step.prob,
        entropy=step.entropy,
    )
    marked_class = " pg-diverges" if marked else ""
    return (
        f'<span class="pg-token {name}{marked_class}" tabindex="0" data-step="{index}" '
        f'title="{html.escape(title)}">{html.escape(flowing_lines(step.text))}</span>'
    )
