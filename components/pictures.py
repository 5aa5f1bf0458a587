"""Pictures as HTML: an embedded image with a caption and, if wanted, the grid of patches on it."""

from __future__ import annotations

import base64
import html
import io

import numpy as np
from PIL import Image

# Drawings and maps are small without loss; photos are megabytes, and take seconds to encode.
LOSSLESS_PIXELS = 200_000
LOSSLESS_BYTES = 40_000
PHOTO_QUALITY = 85  # WebP's scale to 100

# On the page, in CSS pixels: small pictures are enlarged to the first, none exceeds the others.
MIN_WIDTH = 400
MAX_WIDTH = 640
MAX_HEIGHT = 480

MERGE_SIZE = 2  # patches along each side of a merge block, in every Qwen3-VL


def picture_html(
    pixels: np.ndarray,
    *,
    alt: str,
    caption: str = "",
    grid: tuple[int, int] | None = None,
    pixelated: bool = False,
    max_side: int = 1024,
    shown_width: int | None = None,
    span: int | None = None,
) -> str:
    """A figure that holds its own image and shrinks with the page.

    Args:
        pixels: (height, width, 3) uint8.
        alt: what is to be seen, for those who cannot see it.
        caption: stands under the picture.
        grid: patches ``(down, across)``; their borders are drawn over the picture, every second
            one stronger (the merge blocks of 2 x 2 patches that become one token).
        pixelated: keep the pixels of a small map as sharp squares.
        max_side: longer pictures are sent with fewer pixels; the grid stays sharp.
        shown_width: on the page, in CSS pixels; by default near its own size, enlarged if small.
        span: index into ``ModelInputs.spans``, where the figure shows the whole of that picture
            (at any scale): the page's pointer then works on it.

    Raises:
        ValueError: ``pixels`` has another shape or dtype.
    """
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
        raise ValueError(f"expected (height, width, 3) uint8, got {pixels.shape} {pixels.dtype}")
    height, width = pixels.shape[:2]
    shown = shown_width or min(MAX_WIDTH, max(width, MIN_WIDTH), MAX_HEIGHT * width / height)
    source = image_uri(pixels, max_side=max_side, exact=pixelated)
    overlay = _grid_svg(*grid) if grid else ""
    sharp = " pg-pixelated" if pixelated else ""
    pointed = "" if span is None else f' data-span="{span}"'
    words = f"<figcaption>{html.escape(caption)}</figcaption>" if caption else ""
    return (
        f'<figure class="pg-picture{sharp}" style="max-width:{shown:.0f}px">'
        f'<div class="pg-picture-frame"{pointed}><img src="{source}" '
        f'alt="{html.escape(alt)}" width="{width}" height="{height}">{overlay}</div>'
        f"{words}</figure>"
    )


def picture_row_html(figures: list[str]) -> str:
    """Several figures side by side, wrapping where the page is narrow."""
    return f'<div class="pg-picture-row">{"".join(figures)}</div>' if figures else ""


def image_uri(pixels: np.ndarray, *, max_side: int = 1024, exact: bool = False) -> str:
    """The pixels as a ``data:`` address, in the format that takes the fewest bytes.

    Args:
        pixels: (height, width, 3) uint8.
        max_side: longer pictures are made smaller.
        exact: never lose anything, however many bytes it takes.
    """
    image = Image.fromarray(pixels)
    image.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
    if exact or image.width * image.height <= LOSSLESS_PIXELS:
        webp = _encode(image, "WEBP", lossless=True)
        png = _encode(image, "PNG", optimize=True)
        if exact or min(len(webp), len(png)) <= LOSSLESS_BYTES:
            return _data_uri("webp", webp) if len(webp) <= len(png) else _data_uri("png", png)
    return _data_uri("webp", _encode(image, "WEBP", quality=PHOTO_QUALITY))


def _encode(image: Image.Image, kind: str, **options: bool | int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _data_uri(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _grid_svg(down: int, across: int) -> str:
    """Two paths over the picture: borders of patches, and stronger ones of merge blocks."""

    def lines(wanted: bool) -> str:
        rows = (n for n in range(1, down) if (n % MERGE_SIZE == 0) == wanted)
        columns = (n for n in range(1, across) if (n % MERGE_SIZE == 0) == wanted)
        return "".join(
            [f"M0 {n}H{across}" for n in rows] + [f"M{n} 0V{down}" for n in columns],
        )

    return (
        f'<svg class="pg-grid" viewBox="0 0 {across} {down}" preserveAspectRatio="none" '
        f'aria-hidden="true"><path class="pg-grid-patch" d="{lines(False)}"/>'
        f'<path class="pg-grid-shade" d="{lines(True)}"/>'
        f'<path class="pg-grid-block" d="{lines(True)}"/></svg>'
    )
