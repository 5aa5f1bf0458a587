"""The patch that the vision tab's drawings look at: the pointed one, or the picture's middle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gradio as gr

from components.charts.token_labels import span_name
from components.tabs.choices import within
from playground.language import say
from playground.pipeline import Run
from playground.pointer import Place
from playground.records import TowerOutput, VisualSpan


@dataclass(frozen=True, slots=True, eq=False)
class PatchFocus:
    """One patch of the chosen picture, with what the tower made of it."""

    number: int  # index into ModelInputs.spans
    span: VisualSpan
    tower: TowerOutput
    patch: tuple[int, int]  # row and column
    pointed: bool  # False where nothing of this picture was pointed at
    name: str  # of the picture

    @property
    def token(self) -> int:
        """Which token of the picture the patch becomes part of, from 0."""
        size = self.span.merge_size
        return self.patch[0] // size * self.span.merged_w + self.patch[1] // size

    @property
    def words(self) -> str:
        """``the patch at row 3, column 5``."""
        row, column = self.patch
        return say("the patch at row {row}, column {column}", row=row, column=column)

    @property
    def hint(self) -> str:
        """What to do for another patch, as long as none is pointed at."""
        if self.pointed:
            return ""
        return say("(This is the middle of the picture; click anywhere on it to choose another.)")


def choose_patch(run: Run, span: float | None, place: Place | None) -> PatchFocus | None:
    """The patch to look at in the chosen picture; ``None`` where the prompt has no picture.

    Args:
        run: a run whose vision stage is done, or will be.
        span: the tab's choice of a picture; out of range means the nearest one.
        place: what was pointed at, in this run or an earlier one. A whole token stands for its
            upper left patch.
    """
    spans = run.inputs.spans
    if not spans:
        return None
    number = within(span, len(spans) - 1)
    chosen = spans[number]
    tower = run.vision.tower(chosen.kind)
    assert tower is not None, "a span without its tower's pass"
    patch, pointed = (chosen.grid_h // 2, chosen.grid_w // 2), False
    there = run.still_there(place)
    if there is not None and there.span == number and there.rows and there.columns:
        patch, pointed = there.patch or (there.rows[0], there.columns[0]), True
    return PatchFocus(number, chosen, tower, patch, pointed, span_name(run.inputs, chosen))


def point_here(draw: Callable[..., Any], num_outputs: int) -> Callable[..., Any]:
    """Redraw for another patch of the chosen picture: ``draw(run, place, span, *values)``.

    A click on another picture moves the tab's chooser there, which draws everything anew; before
    the tower has run there is nothing to redraw.
    """

    def redraw(run: Run, place: Place | None, span: float | None, *values: Any) -> Any:
        there = None if place is None else place.span
        chosen = within(span, max(len(run.inputs.spans) - 1, 0))
        if not run.has("vision") or there not in (None, chosen):
            return gr.skip() if num_outputs == 1 else (gr.skip(),) * num_outputs
        return draw(run, place, span, *values)

    return redraw


def stack_html(*parts: str) -> str:
    """Paragraphs and tables below one another, with room between them."""
    return (
        '<div style="display:grid;grid-template-columns:minmax(0,1fr);gap:10px">'
        f"{''.join(parts)}</div>"
    )
