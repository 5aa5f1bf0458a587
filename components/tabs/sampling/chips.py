"""Written text as tokens that can be chosen: coloured, with their numbers on hover and on focus."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Sequence
from typing import Any, Literal

import gradio as gr

from components.look.colors import ORANGE, PURPLE
from components.views.strips import (
    PROBABILITY_BANDS,
    probability_class,
    probability_legend_html,
    raw_probability,
    visible,
)
from playground.errors import InputError
from playground.language import mark, say
from playground.records import TokenStep

ColourBy = Literal["probability", "surprisal"]
COLOURS: dict[ColourBy, str] = {"probability": mark("probability"), "surprisal": mark("surprisal")}
MOST_NATS = 8.0  # the darkest shade of surprisal
MAX_TITLES = 800  # tokens that get their numbers, 100 bytes each; the texts and the tree have them
BANDS = [name for _, name, _ in PROBABILITY_BANDS]

# What all tokens have in common is added in the page: thousands of them are sent at a time.
ON_LOAD = r"""
const BANDS = $BANDS;
const complete = () => {
  for (const text of element.querySelectorAll('.pg-picks')) {
    const first = Number(text.dataset.first);
    const canChoose = text.closest('[data-branch]');
    [...text.children].forEach((token, index) => {
      const own = token.className.replace(/\bp(\d)\b/, (_, band) => BANDS[band]);
      token.className = `pg-token pg-pick ${own}`;
      token.dataset.step = first + index;
      token.tabIndex = 0;
      if (canChoose) token.setAttribute('role', 'button');
    });
  }
};
complete();
watch('value', complete);

const choose = (event) => {
  const token = event.target.closest('[data-step]');
  const branch = event.target.closest('[data-branch]');
  if (!token || !branch) return;
  event.preventDefault();
  trigger('select', { branch: branch.dataset.branch, step: Number(token.dataset.step) });
};
element.addEventListener('click', choose);
element.addEventListener('keydown', (event) => {
  if (event.key === 'Enter' || event.key === ' ') choose(event);
});
""".replace("$BANDS", json.dumps(BANDS))


class TokenPicker(gr.HTML):
    """HTML with ``picked_chips_html`` in it; ``select`` gets a token's ``branch`` and ``step``.

    Tokens inside an element with ``data-branch`` can be chosen, others only be looked at.
    """

    def __init__(self, value: str = "", **kwargs: Any) -> None:
        super().__init__(
            value,
            apply_default_css=False,
            elem_classes=["pg-view"],
            js_on_load=ON_LOAD,
            **kwargs,
        )


def read_choice(data: Any) -> tuple[str, int]:
    """Which token the page reports as chosen: branch and step.

    Raises:
        InputError: the page sent something else.
    """
    branch, step = (data.get("branch"), data.get("step")) if isinstance(data, dict) else (0, 0)
    if not isinstance(branch, str) or not isinstance(step, int) or isinstance(step, bool):
        raise InputError(say("The page reported no token."), remedy=say("Reload the page."))
    return branch, step


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
) -> str:
    """Tokens as chips, for a ``TokenPicker``.

    Args:
        steps: all tokens of a branch.
        colour_by: what the backgrounds mean.
        first: show those from here on.
        marked: a step to point out, such as the first difference.
        titled: with numbers on hover and focus; left out while a text is still being written.
    """
    chips = "".join(
        _chip(index, step, colour_by, index == marked, titled)
        for index, step in enumerate(steps)
        if index >= first
    )
    classes = "pg-generated pg-picks" + (" pg-by-nats" if colour_by == "surprisal" else "")
    return (
        f'<p class="{classes}" data-first="{first}" translate="no" '
        f'style="--unsure:{ORANGE};--diverges:{PURPLE}">{chips}</p>'
    )


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
    text = visible(step.text).replace("␣", " ").replace("⏎", "⏎\n")
    return f"<b{attributes}>{html.escape(text)}</b>"


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
