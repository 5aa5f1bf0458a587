"""Preprocess, token budget: the answers at other pixel limits, and their boxes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import playground
from components.views.tables import Cell, Verbatim, table_html
from playground.language import mark, say

if TYPE_CHECKING:
    from playground.experiments.token_budget import Rung, RungAnswer

HEADERS = (mark("Max pixels"), mark("Tokens"), mark("Answer"), mark("Boxes"), mark("IoU"))
NUMBERS = (0, 1, 4)


@dataclass(frozen=True, slots=True)
class Answered:
    """The answers so far."""

    answers: Mapping[int, RungAnswer]  # by max pixels

    @property
    def overlaps(self) -> Mapping[int, float | None]:
        """How well the boxes of each answer agree with those at the largest limit."""
        reference = self.answers[max(self.answers)].boxes
        mean_overlap = playground.grounding.convert.mean_overlap
        return {
            limit: mean_overlap(answer.boxes, reference) for limit, answer in self.answers.items()
        }


def answers_table(ladder: Sequence[Rung], answered: Answered) -> str:
    """One row per limit that has an answer: its boxes, and how well they agree."""
    overlaps = answered.overlaps
    rows: list[list[Cell | Verbatim]] = []
    for rung in ladder:
        answer = answered.answers.get(rung.max_pixels)
        if answer is None:
            continue
        boxes = (", ".join(f"{value:g}" for value in box) for box in answer.boxes)
        overlap = overlaps[rung.max_pixels]
        rows.append(
            [
                f"{rung.max_pixels:,}",
                f"{rung.num_tokens:,}",
                Verbatim(answer.text),
                "; ".join(boxes) or None,
                None if overlap is None else f"{overlap:.2f}",
            ]
        )
    caption = say(
        "The greedy answer at each limit; boxes in thousandths, IoU with the boxes at the largest "
        "limit"
    )
    return table_html([say(header) for header in HEADERS], rows, caption, right=NUMBERS)
