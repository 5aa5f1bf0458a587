"""Masking tokens of the images: the masked tokens, how they are shown, and what a click does.

Clicks are handled in the browser: clicks.js finds ``data-mask`` and toggles the tokens around the
clicked one in that control; the outputs that need the control are then redrawn.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from markupsafe import Markup

import playground
from components.charts.token_labels import span_name
from components.parts.compound_controls import Clicked
from components.parts.controls import Choice, Toggle
from components.views.facts import capital
from components.views.images import image_html, image_row_html
from playground.errors import InputError
from playground.language import mark, say
from playground.pipeline import Run
from playground.pointer import Selection
from playground.records import VisualSpan

MAX_IMAGES = 4
IMAGE_SIDE = 448
SHOWN_WIDTH = 300  # CSS pixels of one image
COVER = (128, 128, 128, 245)
BRUSHES = ((mark("1 token"), 0), (mark("3 × 3 tokens"), 1))  # tokens around the clicked one
FILLS = ((mark("zeros"), "zero"), (mark("mean image token"), "mean"))


def has_images(run: Run) -> bool:
    """Whether the prompt has an image."""
    return bool(run.inputs.spans)


def read_masked(raw: Any, run: Run) -> tuple[int, ...]:
    """Sequence indices of the masked tokens, without those outside this run's images.

    Raises:
        InputError: the value is not a list of whole numbers.
    """
    if not isinstance(raw, list) or not all(type(index) is int for index in raw):
        raise InputError(
            say("The masked tokens must be a list of whole numbers."),
            remedy=say("Reload the page."),
        )
    asked = set(raw)
    visual = (index for span in run.inputs.spans for index in range(span.start, span.end))
    return tuple(index for index in visual if index in asked)


MASKED = Clicked(id="painted", label=mark("Masked tokens"), read=read_masked, value=())
CLICKS = Toggle(
    id="clicks",
    label=mark("Mask tokens on click"),
    info=mark("Click an image to mask or unmask its tokens."),
    value=True,
    shown=has_images,
)
BRUSH = Choice(id="brush", label=mark("Brush size"), options=BRUSHES, value=1, shown=has_images)
FILL = Choice(id="fill", label=mark("Replace with"), options=FILLS, shown=has_images)
LEAVE = Toggle(
    id="leave",
    label=mark("Keep DeepStack features"),
    info=mark("The masked tokens still leak in through the DeepStack taps."),
    shown=has_images,
)


def toggle_masked(
    run: Run, masked: tuple[int, ...], selection: Selection, around: int
) -> tuple[int, ...]:
    """The masked tokens after a click, as clicks.js computes them.

    Args:
        run: the current run.
        masked: the masked tokens before the click.
        selection: the clicked token of an image.
        around: how many tokens around it are toggled as well.
    """
    assert selection.span is not None
    span = run.inputs.spans[selection.span]
    parts = playground.experiments.influence.span_parts(span, 1, around)
    touched, was = set(parts[selection.index - span.start]), set(masked)
    return tuple(sorted(was - touched if selection.index in was else was | touched))


def mask_buttons_html(
    run: Run, masked: tuple[int, ...], around: int, selection: Selection | None
) -> Markup:
    """Buttons that mask the selected token, as a click on it does, and that unmask all."""
    buttons = []
    if selection is not None and selection.span is not None:
        name = say("Mask token {index}", index=selection.index)
        if selection.index in masked:
            name = say("Unmask token {index}", index=selection.index)
        buttons.append(_button(name, toggle_masked(run, masked, selection, around)))
    if masked:
        buttons.append(_button(say("Unmask all"), ()))
    row = Markup("").join(buttons)
    return Markup('<div class="pg-presets">{}</div>').format(row) if buttons else Markup("")


def _button(words: str, masked: tuple[int, ...]) -> Markup:
    return Markup(
        '<button type="button" class="pg-button pg-small" data-set="{values}">{text}</button>'
    ).format(values=json.dumps({MASKED.id: masked}), text=words)


def maskable_html(run: Run, masked: tuple[int, ...]) -> Markup:
    """The images with the masked tokens covered; clicks mask as the controls say."""
    return Markup(
        '<div data-mask="{masked}" data-brush="{brush}" data-mask-if="{clicks}">{images}</div>'
    ).format(
        masked=MASKED.id,
        brush=BRUSH.id,
        clicks=CLICKS.id,
        images=masked_html(run, masked),
    )


def masked_html(run: Run, masked: tuple[int, ...]) -> Markup:
    """The images with the masked tokens covered."""
    figures = []
    for number, span in enumerate(run.inputs.spans[:MAX_IMAGES]):
        here = [index for index in masked if span.start <= index < span.end]
        figures.append(_masked_image(run, number, span, here))
    return Markup(image_row_html(figures))


def _masked_image(run: Run, number: int, span: VisualSpan, here: list[int]) -> str:
    cover = np.zeros((span.merged_h, span.merged_w, 4), np.uint8)
    for index in here:
        cover[divmod(index - span.start, span.merged_w)] = COVER
    name = span_name(run.inputs, span)
    return image_html(
        playground.preprocess.stage.unpatchify(run.inputs, span)[0],
        alt=say("{image}, {count} of its tokens masked", image=name, count=len(here)),
        caption=say(
            "{image}: {count} of {total} tokens masked.",
            image=capital(name),
            count=len(here),
            total=span.end - span.start,
        ),
        max_side=IMAGE_SIDE,
        shown_width=SHOWN_WIDTH,
        span=number,
        overlay=cover,
    )
