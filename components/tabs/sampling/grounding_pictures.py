"""Pictures of an answer's boxes and points: as they are meant, and as they are misread."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

import playground
from components.views.boxes import (
    DrawnBox,
    Pixels,
    SharedImage,
    Size,
    boxes_layer,
    corners,
    object_color,
    object_name,
    size_words,
    small_drawing,
)
from components.views.facts import heading_html, lead_markup
from components.views.images import image_html, image_row_html
from playground.language import mark, say
from playground.pipeline import Run
from playground.pointer import patch_tokens

if TYPE_CHECKING:
    from playground.grounding.convert import Misreading
    from playground.grounding.locate import GroundedAnswer, Located
    from playground.records import VisualSpan

BOTH, ORIGINAL, RESIZED = "both", "original", "resized"
MAX_SIDE = 640  # pixels of a picture
PAIR_WIDTH, PAIR_HEIGHT = 430, 400  # CSS pixels of each of two pictures side by side
NUM_GHOSTS = 3
APART = 3  # thousandths between a ghost's edge and the next one: less cannot be seen
LEAST_GHOST_PROB = 1e-3
LEAST_MASS = 0.5  # of a coordinate: below, the model would rather have written something else
COVERED_ALPHA = 90  # of 255

# Misreading, title, and which software makes it.
MISREADINGS: tuple[tuple[Misreading, str, str], ...] = (
    (
        "resized pixels",
        mark("As pixels of the resized image"),
        mark(
            "Software for Qwen2.5-VL, whose coordinates are pixels of the image that the vision "
            "tower gets, divides by that image’s size."
        ),
    ),
    (
        "28-pixel grid",
        mark("As pixels, on a grid of 28"),
        mark(
            "The same, with the size that Qwen2.5-VL resizes to: multiples of 28 pixels, as "
            "qwen-vl-utils does unless it is called with image_patch_size=16."
        ),
    ),
    (
        "square padding",
        mark("With padding to a square"),
        mark(
            "Pipelines from LLaVA pad an image to a square first, and scale by its longer side. "
            "On a square image it makes no difference."
        ),
    ),
    (
        "swapped",
        mark("Width and height swapped"),
        mark(
            "NumPy and OpenCV give an image’s shape as (height, width), Pillow its size as (width, "
            "height). On a square image it makes no difference."
        ),
    ),
    (
        "shrunk",
        mark("As pixels of a shrunk copy"),
        mark(
            "A chat client shrinks a large image to at most 1,000 pixels a side, and the "
            "coordinates are taken for pixels of that copy. A smaller image is not shrunk."
        ),
    ),
)


# ------------------------------------------------------------------------------------ as meant


def pictures_html(run: Run, grounded: GroundedAnswer, chosen: int, draw_on: str) -> str:
    """All boxes and points on the original image, on the resized one, or on both."""
    width, height = grounded.frame.original
    shown = min(PAIR_WIDTH, round(PAIR_HEIGHT * width / height)) if draw_on == BOTH else None
    figures = []
    if draw_on != RESIZED:
        figures.append(_original_html(run, grounded, chosen, shown))
    if draw_on != ORIGINAL:
        figures.append(_resized_html(run, grounded, chosen, shown))
    return image_row_html(figures)


def _original_html(run: Run, grounded: GroundedAnswer, chosen: int, shown_width: int | None) -> str:
    size = grounded.frame.original
    pixels = [item.original for item in grounded.items]
    return image_html(
        run.prompt.images[grounded.image].pixels,
        alt=say("The original image with boxes and points"),
        caption=say("Original: {size} pixels.", size=size_words(size)),
        max_side=MAX_SIDE,
        shown_width=shown_width,
        span=grounded.span,
        layers=_layer(run, grounded, chosen, pixels, size),
    )


def _resized_html(run: Run, grounded: GroundedAnswer, chosen: int, shown_width: int | None) -> str:
    size, span = grounded.frame.resized, run.inputs.spans[grounded.span]
    pixels = [item.resized for item in grounded.items]
    return image_html(
        playground.preprocess.stage.unpatchify(run.inputs, span)[0],
        alt=say("The resized image with boxes and points, on the patch grid"),
        caption=say(
            "Model input: {size} pixels. The tokens that the chosen box covers are tinted.",
            size=size_words(size),
        ),
        grid=(span.grid_h, span.grid_w),
        overlay=_covered(grounded.items[chosen].tokens, span, object_color(chosen)),
        max_side=MAX_SIDE,
        shown_width=shown_width,
        span=grounded.span,
        layers=_layer(run, grounded, chosen, pixels, size),
    )


def _covered(tokens: Sequence[int], span: VisualSpan, color: str) -> np.ndarray:
    """``(merged_h, merged_w, 4)`` uint8: a colour over these tokens of the image."""
    cells = np.zeros((span.merged_h * span.merged_w, 4), np.uint8)
    tint = (*(int(color[place : place + 2], 16) for place in (1, 3, 5)), COVERED_ALPHA)
    cells[np.array(tokens, np.int64) - span.start] = tint
    return cells.reshape(span.merged_h, span.merged_w, 4)


def _layer(
    run: Run,
    grounded: GroundedAnswer,
    chosen: int,
    pixels: Sequence[Pixels],
    size: Size,
) -> str:
    """All boxes and points over one image.

    Args:
        run: of the prompt.
        grounded: the answer.
        chosen: the number of the object with ghosts.
        pixels: of each object, on this image.
        size: of this image.
    """
    boxes = [
        DrawnBox(
            pixels[number],
            object_name(number, item.found.label),
            object_color(number),
            bands=_bands(item, size),
            ghosts=_ghosts(item, size) if number == chosen else (),
            patch=(grounded.span, *middle_patch(run, grounded, item)),
            settings={"object": number},
            is_chosen=number == chosen,
        )
        for number, item in enumerate(grounded.items)
    ]
    return boxes_layer(boxes, size)


def _bands(item: Located, size: Size) -> tuple[tuple[float, float] | None, ...]:
    """The 10 to 90 % quantiles of each coordinate, in pixels; None where they say little."""
    sides = [size[axis % 2] / 1000 for axis in range(len(item.edges))]
    return tuple(
        None if edge is None or edge.mass < LEAST_MASS else (edge.low * side, edge.high * side)
        for edge, side in zip(item.edges, sides, strict=True)
    )


def _ghosts(item: Located, size: Size) -> tuple[Pixels, ...]:
    """The most likely other boxes or points, in pixels."""
    if any(edge is None or edge.mass < LEAST_MASS for edge in item.edges):
        return ()
    others = playground.grounding.ghosts.likely_ghosts(item.edges, NUM_GHOSTS, apart=APART)
    return tuple(
        playground.grounding.convert.to_pixels(each.values, size)
        for each in others
        if each.prob >= LEAST_GHOST_PROB
    )


def middle_patch(run: Run, grounded: GroundedAnswer, item: Located) -> tuple[int, int]:
    """Row and column of the patch at the middle of a box, or the nearest one in the image."""
    left, top, right, bottom = corners(item.resized)
    span, (width, height) = run.inputs.spans[grounded.span], grounded.frame.resized
    row = int((top + bottom) / 2 / height * span.grid_h)
    column = int((left + right) / 2 / width * span.grid_w)
    return min(max(row, 0), span.grid_h - 1), min(max(column, 0), span.grid_w - 1)


def middle_token(run: Run, grounded: GroundedAnswer, item: Located) -> int:
    """The sequence index of the token there."""
    tokens = patch_tokens(run.inputs.spans[grounded.span])
    return int(tokens[middle_patch(run, grounded, item)])


# ---------------------------------------------------------------------------------- as misread


def readings_html(run: Run, grounded: GroundedAnswer, chosen: int) -> str:
    """The chosen object as it is meant, and in each wrong reading."""
    image = SharedImage.of(run.prompt.images[grounded.image].pixels)
    item, color = grounded.items[chosen], object_color(chosen)
    right = item.original
    title = say("Right: thousandths of the sides")
    drawing = small_drawing(image, right, None, color=color, alt=title)
    about = say("As Qwen3-VL means them, whatever size the image was resized to.")
    cards = _card(drawing, title, "", about)
    for how, name, why in MISREADINGS:
        wrong = playground.grounding.convert.misread(item.found.values, grounded.frame, how)
        gap = _gap_words(right, wrong)
        alt = say("{name}: {values}.", name=say(name), values=gap)
        drawing = small_drawing(image, right, wrong, color=color, alt=alt)
        cards += _card(drawing, say(name), gap, say(why))
    intro = say(
        "The same numbers, read as software for other models reads them: in the object’s colour "
        "what the model means, in red and dashed where the misreading ends up. IoU is the overlap "
        "of the two boxes divided by their union."
    )
    drawings = str(Markup('{}<div class="pg-readings">{}</div>').format(image.definition, cards))
    return heading_html(say("Wrong readings")) + lead_markup(html.escape(intro)) + drawings


def _card(drawing: Markup, title: str, gap: str, words: str) -> Markup:
    badge = Markup('<span class="pg-badge">{}</span>').format(gap) if gap else ""
    return Markup(
        '<figure class="pg-picture">{}<figcaption><strong>{}</strong> {}<span>{}</span>'
        "</figcaption></figure>"
    ).format(drawing, title, badge, words)


def _gap_words(right: Pixels, wrong: Pixels) -> str:
    """How far a misreading is off: the IoU of boxes, the distance of points."""
    if len(right) == 2:
        return say("{count:,.0f} px away", count=math.dist(right, wrong))
    iou = playground.grounding.convert.overlap(corners(right), corners(wrong))
    return say("IoU {iou:.2f}", iou=iou)
