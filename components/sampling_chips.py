"""Written text as tokens that can be chosen: coloured, with their numbers on hover and on focus."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import Any, Literal

import gradio as gr

from components.chart_style import ORANGE, PURPLE
from components.strips import PROBABILITY_BANDS, probability_class, raw_probability, visible
from playground.errors import InputError
from playground.records import TokenStep

ColourBy = Literal["probability", "surprisal"]
COLOURS: tuple[ColourBy, ...] = ("probability", "surprisal")
MOST_NATS = 8.0  # the darkest shade of surprisal
MAX_TITLES = 800  # tokens that get their numbers, 100 bytes each; the texts and the tree have them


class TokenPicker(gr.HTML):
    """HTML whose tokens can be chosen; ``select`` gets their ``branch`` and ``step``."""

    def __init__(self, value: str = "", **kwargs: Any) -> None:
        super().__init__(
            value,
            apply_default_css=False,
            elem_classes=["pg-view"],
            js_on_load="""
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
""",
            **kwargs,
        )


def read_choice(data: Any) -> tuple[str, int]:
    """Which token the page reports as chosen: branch and step.

    Raises:
        InputError: the page sent something else.
    """
    branch, step = (data.get("branch"), data.get("step")) if isinstance(data, dict) else (0, 0)
    if not isinstance(branch, str) or not isinstance(step, int) or isinstance(step, bool):
        raise InputError("The page reported no token.", remedy="Reload the page.")
    return branch, step


def surprisal(step: TokenStep) -> float:
    """How unexpected the token was before the filters: -ln p, in nats."""
    return -math.log(max(raw_probability(step), 1e-45))


def picked_chips_html(
    steps: Sequence[TokenStep],
    *,
    colour_by: ColourBy = "probability",
    first: int = 0,
    mark: int | None = None,
    titled: bool = True,
) -> str:
    """Tokens as chips.

    Args:
        steps: all tokens of a branch.
        colour_by: what the backgrounds mean.
        first: show those from here on.
        mark: a step to point out, such as the first difference.
        titled: with numbers on hover and focus; left out while a text is still being written.
    """
    chips = "".join(
        _chip(index, step, colour_by, index == mark, titled)
        for index, step in enumerate(steps)
        if index >= first
    )
    return f'<p class="pg-generated" style="--unsure:{ORANGE};--diverges:{PURPLE}">{chips}</p>'


def _chip(index: int, step: TokenStep, colour_by: ColourBy, marked: bool, titled: bool) -> str:
    classes = ["pg-token", "pg-pick"]
    style = ""
    if colour_by == "probability":
        classes.append(probability_class(raw_probability(step)))
    else:
        classes.append("pg-nats")
        share = min(1.0, surprisal(step) / MOST_NATS)
        style = f' style="--nats:{round(share * 60)}%;--line:{round(share * 5)}px"'
    classes += ["pg-diverges"] if marked else []
    classes += ["pg-forced"] if step.forced else []
    title = f' title="{html.escape(_title(index, step))}"' if titled else ""
    text = visible(step.text).replace("␣", " ").replace("⏎", "⏎\n")
    return (
        f'<span class="{" ".join(classes)}" role="button" tabindex="0" data-step="{index}"'
        f"{style}{title}>{html.escape(text)}</span>"
    )


def _title(index: int, step: TokenStep) -> str:
    words = [
        f"token {index + 1}",
        f"id {step.id}",
        f"before the filters {raw_probability(step):.1%} ({surprisal(step):.2f} nats)",
    ]
    if step.forced:
        words.append("chosen by you")
    else:
        words.append(f"after them {step.prob:.1%}")
    return " · ".join([*words, f"entropy {step.entropy:.2f} nats"])


def colour_legend_html(colour_by: ColourBy) -> str:
    """What the backgrounds mean."""
    style = f'style="--unsure:{ORANGE}"'
    if colour_by == "surprisal":
        shades = "".join(
            f'<li class="pg-token pg-nats" style="--nats:{round(nats / MOST_NATS * 60)}%;'
            f'--line:{round(nats / MOST_NATS * 5)}px">{nats}</li>'
            for nats in (0, 2, 4, 6, 8)
        )
        return (
            f'<div class="pg-token-legend" {style}><span>Surprisal −ln p before the filters, in '
            f'nats:</span><ul class="pg-legend">{shades}</ul></div>'
        )
    bands = "".join(
        f'<li class="pg-token {name}">{html.escape(words)}</li>'
        for _, name, words in PROBABILITY_BANDS
    )
    return (
        f'<div class="pg-token-legend" {style}><span>Probability before the filters:</span>'
        f'<ul class="pg-legend">{bands}</ul></div>'
    )
