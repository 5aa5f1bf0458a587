"""Boxes and points over an image: elements that can be clicked, and small drawings to compare."""

from __future__ import annotations

import html
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from markupsafe import Markup

from components.look.colors import CATEGORICAL
from components.views.images import image_uri
from components.views.text import cut_end, flowing

Size = tuple[int, int]  # width, height
Pixels = tuple[float, ...]  # x1, y1, x2, y2 of a box, or x, y of a point

COORDINATES = {"box": ("x1", "y1", "x2", "y2"), "point": ("x", "y")}
BOX_FILES = ("JSON", "CSV", "COCO")  # what boxes can be downloaded as
MAX_LABEL = 24  # characters
FAR = 200.0  # percent of an image's side, beyond which nothing is drawn
MOST_SIDES = 5.0  # of an image's sides: how much space around it a small drawing shows
SMALL_SIDE = 256  # pixels of the image in a small drawing
MOST = 1e6  # pixels: larger coordinates are drawn here, out of sight
WRONG = "#d1342f"  # a box as it is misread


@dataclass(frozen=True, slots=True)
class DrawnBox:
    """A box or a point on one image."""

    pixels: Pixels  # of this image
    name: str
    color: str
    bands: tuple[tuple[float, float] | None, ...] = ()  # of each coordinate: low, high
    ghosts: tuple[Pixels, ...] = ()  # other boxes or points, less likely
    patch: tuple[int, int, int] | None = None  # span, row, column: selected by a click
    settings: Mapping[str, Any] = field(default_factory=dict)  # controls that a click sets
    is_chosen: bool = False


def object_color(number: int) -> str:
    """The colour of an object of the answer, the same in every drawing."""
    return CATEGORICAL[number % len(CATEGORICAL)]


def object_name(number: int, label: str) -> str:
    """``1 red circle``: a number, because colours repeat and labels may be equal or missing."""
    return f"{number + 1} {cut_end(flowing(label), MAX_LABEL)}".strip()


def size_words(size: Size) -> str:
    """Width and height: ``1,280 × 960``."""
    return f"{size[0]:,} × {size[1]:,}"


def corners(pixels: Pixels) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of a box with any two corners; of a point, twice the same."""
    first, last = pixels[:2], pixels[-2:]
    (left, right), (top, bottom) = (sorted(pair) for pair in zip(first, last, strict=True))
    return left, top, right, bottom


# --------------------------------------------------------------------------------- on a picture


def boxes_layer(boxes: Sequence[DrawnBox], size: Size) -> str:
    """Elements over an image, for ``image_html``; large boxes below small ones.

    Args:
        boxes: in the order of the answer.
        size: of the image whose pixels they are in.
    """
    below = sorted(boxes, key=lambda box: -_area(box.pixels))
    return "".join(_ghosts(box, size) + _bands(box, size) + _box(box, size) for box in below)


def _area(pixels: Pixels) -> float:
    left, top, right, bottom = corners(pixels)
    return (right - left) * (bottom - top)


def _place(pixels: Pixels, size: Size) -> str:
    """A style that places an element over these pixels, whatever the size of the picture."""
    left, top, right, bottom = (
        min(max(100 * value / side, -FAR), FAR)
        for value, side in zip(corners(pixels), (*size, *size), strict=True)
    )
    return f"left:{left:.3f}%;top:{top:.3f}%;width:{right - left:.3f}%;height:{bottom - top:.3f}%"


def _box(box: DrawnBox, size: Size) -> str:
    kind = "pg-spot" if len(box.pixels) == 2 else "pg-box"
    patch = ""
    if box.patch is not None:
        patch = ' data-span="{}" data-row="{}" data-column="{}"'.format(*box.patch)
    return (
        f'<div class="{kind}{" pg-chosen" if box.is_chosen else ""}" role="button" tabindex="0" '
        f'aria-pressed="{str(box.is_chosen).lower()}" aria-label="{html.escape(box.name)}"{patch} '
        f'data-set="{html.escape(json.dumps(box.settings))}" '
        f'style="{_place(box.pixels, size)};--box:{box.color}">'
        f'<span class="pg-box-label" translate="no" style="{_label_place(box.pixels, size)}">'
        f"{html.escape(box.name)}</span></div>"
    )


def _label_place(pixels: Pixels, size: Size) -> str:
    """Where a label is inside the image: above the box or at its top, at its left or right end."""
    left, top, right, bottom = corners(pixels)
    is_right = left > size[0] / 2
    if len(pixels) == 2:
        return f"{'right' if is_right else 'left'}:16px;top:-6px"
    beyond = {"left": -left, "right": right - size[0], "top": -top}
    sides = {"left": right - left, "right": right - left, "top": bottom - top}
    cut = {name: 100 * max(0.0, beyond[name]) / (sides[name] or 1.0) for name in beyond}
    end = "right" if is_right else "left"
    above = f"top:{cut['top']:.1f}%" if top < size[1] / 8 else "bottom:100%"
    return f"{end}:{cut[end]:.1f}%;{above}"


def _bands(box: DrawnBox, size: Size) -> str:
    """Where each edge of a box, or a point, most likely lies."""
    if not any(box.bands):
        return ""
    if len(box.pixels) == 2:
        (left, right), (top, bottom) = (
            band or (value, value) for band, value in zip(box.bands, box.pixels, strict=True)
        )
        return _band((left, top, right, bottom), box, size)
    x1, y1, x2, y2 = corners(box.pixels)
    return "".join(
        _band((band[0], y1, band[1], y2) if number % 2 == 0 else (x1, band[0], x2, band[1]),
              box, size)
        for number, band in enumerate(box.bands)
        if band is not None
    )  # fmt: skip


def _band(pixels: Pixels, box: DrawnBox, size: Size) -> str:
    return (
        f'<div class="pg-band" aria-hidden="true" style="{_place(pixels, size)};'
        f'--box:{box.color}"></div>'
    )


def _ghosts(box: DrawnBox, size: Size) -> str:
    kind = "pg-spot" if len(box.pixels) == 2 else "pg-box"
    return "".join(
        f'<div class="{kind} pg-ghost" aria-hidden="true" style="{_place(ghost, size)};'
        f'--box:{box.color}"></div>'
        for ghost in box.ghosts
    )


# -------------------------------------------------------------------------------- small drawings


@dataclass(frozen=True, slots=True)
class SharedImage:
    """An image that several small drawings show; it is sent once."""

    id: str
    size: Size
    definition: Markup  # to put before the drawings

    @classmethod
    def of(cls, pixels: np.ndarray) -> SharedImage:
        """Encode an image, ``(height, width, 3)`` uint8."""
        source = image_uri(pixels, max_side=SMALL_SIDE)
        name, (height, width) = f"image-{zlib.crc32(source.encode()):08x}", pixels.shape[:2]
        definition = Markup(
            '<svg class="pg-shared-image" aria-hidden="true"><image id="{}" href="{}" width="{}" '
            'height="{}" preserveAspectRatio="none"></image></svg>'
        ).format(name, source, width, height)
        return cls(name, (width, height), definition)


def small_drawing(
    image: SharedImage, right: Pixels, wrong: Pixels | None, *, color: str, alt: str
) -> Markup:
    """An image with a box as it is meant and as it is misread, and the space that this takes.

    Args:
        image: its definition must be in the page.
        right: in pixels of the image.
        wrong: likewise; drawn dashed.
        color: of the right one.
        alt: the alternative text.
    """
    drawn = (right,) if wrong is None else (right, wrong)
    left, top, far_right, bottom = _extent(drawn, image.size)
    shapes = _shape(right, "pg-reading-right", color)
    if wrong is not None:
        shapes += _shape(wrong, "pg-reading-wrong", WRONG)
    view = f"{left:.1f} {top:.1f} {far_right - left:.1f} {bottom - top:.1f}"
    return Markup(
        '<svg class="pg-reading" viewBox="{}" role="img" aria-label="{}"><use href="#{}"></use>{}'
        "</svg>"
    ).format(view, alt, image.id, Markup(shapes))


def _extent(drawn: Sequence[Pixels], size: Size) -> tuple[float, float, float, float]:
    """What a small drawing shows: the image and, within limits, the boxes."""
    every = [corners(pixels) for pixels in drawn]
    ends = []
    for axis in (0, 1):
        side = size[axis]
        low = min(0.0, *(box[axis] for box in every))
        high = max(float(side), *(box[axis + 2] for box in every))
        ends.append((max(low, -MOST_SIDES * side), min(high, MOST_SIDES * side)))
    (left, right), (top, bottom) = ends
    margin = 0.03 * max(right - left, bottom - top)
    return left - margin, top - margin, right + margin, bottom + margin


def _shape(pixels: Pixels, classes: str, color: str) -> str:
    """A box as a path, or a point as a line of no length with round ends, on a halo."""
    left, top, right, bottom = (min(max(value, -MOST), MOST) for value in corners(pixels))
    path, kind = f"M{left:.2f} {top:.2f}H{right:.2f}V{bottom:.2f}H{left:.2f}z", ""
    if len(pixels) == 2:
        path, kind = f"M{left:.2f} {top:.2f}h0", " pg-reading-point"
    return (
        f'<path class="pg-reading-halo{kind}" d="{path}"/>'
        f'<path class="{classes}{kind}" d="{path}" style="--box:{color}"/>'
    )
