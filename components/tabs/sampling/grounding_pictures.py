"""Pictures of an answer's boxes and points: as they are meant, and as they are misread."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

import playground
from components.tabs.sampling.placed import Grounding, PlacedObject
from components.views.boxes import (
    DrawnBox,
    Pixels,
    boxes_layer,
    corners,
    object_color,
    object_name,
    size_words,
    small_drawing,
)
from components.views.images import image_html, image_row_html
from playground.language import mark, say
from playground.pipeline import Run

if TYPE_CHECKING:
    from playground.grounding.convert import Misreading

BOTH, ORIGINAL, RESIZED = "both", "original", "resized"
MAX_SIDE = 640  # pixels of a picture
NUM_GHOSTS = 3
APART = 3  # thousandths between a ghost's edge and the next one: less cannot be seen
LEAST_GHOST_PROB = 1e-3
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


def pictures_html(run: Run, found: Grounding, chosen: PlacedObject, draw_on: str) -> str:
    """All boxes and points on the original image, on the resized one, or on both."""
    figures = []
    if draw_on != RESIZED:
        figures.append(_original_html(run, found, chosen))
    if draw_on != ORIGINAL:
        figures.append(_resized_html(run, found, chosen))
    return image_row_html(figures)


def _original_html(run: Run, found: Grounding, chosen: PlacedObject) -> str:
    size = found.frame.original
    image = run.inputs.prompt.images[run.inputs.spans[found.span].media_index]
    return image_html(
        image.pixels,
        alt=say("The original image with boxes and points"),
        caption=say("Original: {size} pixels.", size=size_words(size)),
        max_side=MAX_SIDE,
        span=found.span,
        layers=boxes_layer(
            [_drawn(found, each, each.original, size, each is chosen) for each in found.objects],
            size,
        ),
    )


def _resized_html(run: Run, found: Grounding, chosen: PlacedObject) -> str:
    size, span = found.frame.resized, run.inputs.spans[found.span]
    return image_html(
        playground.preprocess.stage.unpatchify(run.inputs, span)[0],
        alt=say("The resized image with boxes and points, on the patch grid"),
        caption=say(
            "Model input: {size} pixels. The tokens that the chosen box covers are tinted.",
            size=size_words(size),
        ),
        grid=(span.grid_h, span.grid_w),
        overlay=_covered(chosen, span.merged_h, span.merged_w, span.start),
        max_side=MAX_SIDE,
        span=found.span,
        layers=boxes_layer(
            [_drawn(found, each, each.resized, size, each is chosen) for each in found.objects],
            size,
        ),
    )


def _covered(chosen: PlacedObject, down: int, across: int, start: int) -> np.ndarray:
    """``(down, across, 4)`` uint8: the colour of an object over the tokens that it covers."""
    color = object_color(chosen.number)
    cells = np.zeros((down * across, 4), np.uint8)
    cells[chosen.tokens - start] = (
        *(int(color[place : place + 2], 16) for place in (1, 3, 5)),
        COVERED_ALPHA,
    )
    return cells.reshape(down, across, 4)


def _drawn(
    found: Grounding, placed: PlacedObject, pixels: Pixels, size: tuple[int, int], is_chosen: bool
) -> DrawnBox:
    to_pixels = playground.grounding.convert.to_pixels
    bands: list[tuple[float, float] | None] = []
    for axis, edge in enumerate(placed.edges):
        side = size[axis % 2] / 1000
        bands.append(None if edge is None else (edge.low * side, edge.high * side))
    ghosts: tuple[Pixels, ...] = ()
    if is_chosen:
        others = playground.grounding.ghosts.likely_ghosts(placed.edges, NUM_GHOSTS, apart=APART)
        ghosts = tuple(
            to_pixels(each.values, size) for each in others if each.prob >= LEAST_GHOST_PROB
        )
    return DrawnBox(
        pixels,
        object_name(placed.number, placed.found.label),
        object_color(placed.number),
        bands=tuple(bands),
        ghosts=ghosts,
        patch=(found.span, *placed.patch),
        settings={"object": placed.number},
        is_chosen=is_chosen,
    )


# ---------------------------------------------------------------------------------- as misread


def readings_html(run: Run, found: Grounding, chosen: PlacedObject) -> str:
    """The chosen object as it is meant, and in each wrong reading."""
    image = run.inputs.prompt.images[run.inputs.spans[found.span].media_index].pixels
    color, right = object_color(chosen.number), chosen.original
    title = say("Right: thousandths of the sides")
    cards = _card(
        small_drawing(image, right, None, color=color, alt=title),
        title,
        "",
        say("As Qwen3-VL means them, whatever size the image was resized to."),
    )
    for how, name, why in MISREADINGS:
        wrong = playground.grounding.convert.misread(chosen.found.values, found.frame, how)
        gap = _gap_words(right, wrong)
        drawing = small_drawing(
            image,
            right,
            wrong,
            color=color,
            alt=say("{name}: {values}.", name=say(name), values=gap),
        )
        cards += _card(drawing, say(name), gap, say(why))
    return Markup('<div class="pg-readings">{}</div>').format(cards)


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
