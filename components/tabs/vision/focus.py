"""The patch that the vision tab's charts are about: the selected one, or the image's middle."""

from __future__ import annotations

from dataclasses import dataclass

from components.charts.token_labels import span_name
from components.parts.controls import Choice
from playground.errors import InputError
from playground.language import mark, say
from playground.pipeline import Run
from playground.pointer import Selection
from playground.records import TowerOutput, VisualSpan

NO_IMAGE = mark(
    "This prompt has no image or video, so the vision tower does not run: the tokens go straight "
    "to the decoder. Add an image to see the tower at work."
)


def name_spans(run: Run) -> list[tuple[str, int]]:
    """The images and video frames to choose from."""
    return [(span_name(run.inputs, span), index) for index, span in enumerate(run.inputs.spans)]


# It is in the tab's header and applies to all parts.
SPAN = Choice(
    id="span",
    label=mark("Image or video frame"),
    info=mark("All parts below show this one."),
    options=name_spans,
    compact=True,
    follows="image",
    shown=lambda run: len(run.inputs.spans) > 1,
)
ABSENT = mark("Without an image there is nothing to show here.")  # the tab's header says why
CHOSEN = "head.span"


def has_image(run: Run) -> bool:
    """Whether the tower has anything to do."""
    return bool(run.inputs.spans)


@dataclass(frozen=True, slots=True, eq=False)
class PatchFocus:
    """One patch of the chosen image or video frame, with the tower's record."""

    number: int  # index into ModelInputs.spans
    span: VisualSpan
    tower: TowerOutput
    patch: tuple[int, int]  # row and column
    selected: bool  # False if nothing in this image is selected
    name: str  # of the image or frame

    @property
    def token(self) -> int:
        """Index of the image token that the patch is merged into, from 0."""
        size = self.span.merge_size
        return self.patch[0] // size * self.span.merged_w + self.patch[1] // size

    @property
    def patch_name(self) -> str:
        """``the patch at row 3, column 5``."""
        row, column = self.patch
        return say("the patch at row {row}, column {column}", row=row, column=column)

    @property
    def hint(self) -> str:
        """How to choose another patch, as long as none is selected."""
        if self.selected:
            return ""
        return say("(This is the middle of the image; click anywhere to choose another patch.)")


def choose_patch(run: Run, number: int, selection: Selection | None = None) -> PatchFocus:
    """The selected patch of the chosen image, or its middle.

    Args:
        run: a run whose vision stage is computed, or will be on demand.
        number: of the image: an index into ``ModelInputs.spans``.
        selection: the selection. A whole token stands for its upper left patch; a selection in
            another image is ignored.

    Raises:
        InputError: the prompt has no image or video.
    """
    spans = run.inputs.spans
    if not spans:
        raise InputError(say(NO_IMAGE))
    chosen = spans[number]
    tower = run.vision.tower(chosen.kind)
    assert tower is not None, "a span without its tower's pass"
    patch, selected = (chosen.grid_h // 2, chosen.grid_w // 2), False
    there = run.still_there(selection)
    if there is not None and there.span == number and there.rows and there.columns:
        patch, selected = there.patch or (there.rows[0], there.columns[0]), True
    return PatchFocus(number, chosen, tower, patch, selected, span_name(run.inputs, chosen))


def stack_html(*parts: str) -> str:
    """Stack paragraphs and tables vertically, with gaps between them."""
    return (
        '<div style="display:grid;grid-template-columns:minmax(0,1fr);gap:10px">'
        f"{''.join(parts)}</div>"
    )
