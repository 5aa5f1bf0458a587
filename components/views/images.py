"""Images as HTML: an embedded image with a caption and an optional patch grid."""

from __future__ import annotations

import base64
import html
import io

import numpy as np
from PIL import Image

from components.look.colors import ColorScale

# Drawings and maps stay small when lossless; photos take megabytes and seconds to encode.
LOSSLESS_PIXELS = 200_000
LOSSLESS_BYTES = 40_000
PNG_BYTES = 4_000  # above this, a lossless WebP beats a PNG, which is slow to optimise
PHOTO_QUALITY = 85  # WebP's scale to 100

# On the page, in CSS pixels: smaller images are enlarged to MIN_WIDTH.
MIN_WIDTH = 400
MAX_WIDTH = 640
MAX_HEIGHT = 480

MAX_ALPHA = 235  # of 255: the image always shows through
ALPHA_POWER = 0.7  # exponent from a value in [0, 1] to its opacity
GREY_SHARE = 0.42  # of the lightness of an image below an overlay

MERGE_SIZE = 2  # patches along each side of a merge block, in every Qwen3-VL


def image_html(
    pixels: np.ndarray,
    *,
    alt: str,
    caption: str = "",
    grid: tuple[int, int] | None = None,
    pixelated: bool = False,
    max_side: int = 1024,
    shown_width: int | None = None,
    span: int | None = None,
    overlay: np.ndarray | None = None,
    marked: tuple[int, int] | None = None,
    legend: str = "",
    layers: str = "",
) -> str:
    """A figure with an embedded image that shrinks with the page.

    Args:
        pixels: (height, width, 3) uint8.
        alt: the alternative text.
        caption: shown below the image.
        grid: patches ``(down, across)``; their borders are drawn over the image, every second
            one bolder (the merge blocks of 2 x 2 patches that become one token).
        pixelated: draw the pixels of a small map as sharp squares.
        max_side: larger images are downsampled to this side; the grid stays sharp.
        shown_width: in CSS pixels; by default close to the image's own width, larger if small.
        span: index into ``ModelInputs.spans`` if the figure shows all of that image (at any
            scale): its patches can then be selected.
        overlay: (rows, columns, 4) uint8, RGBA, laid over the image as sharp squares.
        marked: row and column of the cell of ``overlay``, or else of ``pixels``, to outline.
        legend: HTML of ``scale_html``, shown above the caption.
        layers: HTML over the image, such as that of ``boxes_layer``.

    Raises:
        ValueError: ``pixels`` or ``overlay`` has the wrong shape or dtype.
    """
    if overlay is not None and (
        overlay.ndim != 3 or overlay.shape[2] != 4 or overlay.dtype != np.uint8
    ):
        raise ValueError(f"expected (rows, columns, 4) uint8, got {overlay.shape} {overlay.dtype}")
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
        raise ValueError(f"expected (height, width, 3) uint8, got {pixels.shape} {pixels.dtype}")
    height, width = pixels.shape[:2]
    shown = shown_width or min(MAX_WIDTH, max(width, MIN_WIDTH), MAX_HEIGHT * width / height)
    source = image_uri(pixels, max_side=max_side, exact=pixelated)
    over = "" if overlay is None else _overlay_image(overlay)
    over += _grid_svg(*grid) if grid else ""
    if marked is not None:
        over += _mark_svg(*marked, *(pixels if overlay is None else overlay).shape[:2])
    sharp = " pg-pixelated" if pixelated else ""
    pointed = "" if span is None else f' data-span="{span}"'
    words = f"<figcaption>{html.escape(caption)}</figcaption>" if caption else ""
    return (
        f'<figure class="pg-picture{sharp}" style="max-width:{shown:.0f}px">'
        f'<div class="pg-picture-frame"{pointed}><img src="{source}" '
        f'alt="{html.escape(alt)}" width="{width}" height="{height}">{over}{layers}</div>'
        f"{legend}{words}</figure>"
    )


def scale_html(stops: ColorScale, low: str, high: str, name: str) -> str:
    """A colour bar from ``low`` to ``high`` with a name.

    Args:
        stops: positions from 0 to 1 and their colours.
        low: the value of the first colour, as text.
        high: the value of the last colour, as text.
        name: the name of the values.
    """
    colours = ",".join(f"{colour} {position:.0%}" for position, colour in stops)
    return (
        '<div class="pg-scale" style="display:flex;gap:6px;align-items:center;margin-top:6px;'
        'font-size:12px;line-height:1.4;font-variant-numeric:tabular-nums">'
        f"<span>{html.escape(name)} {html.escape(low)}</span>"
        '<span aria-hidden="true" style="flex:0 1 120px;height:8px;border-radius:4px;'
        f'background:linear-gradient(to right,{colours})"></span>'
        f"<span>{html.escape(high)}</span></div>"
    )


def color_values(values: np.ndarray, stops: ColorScale, low: float, high: float) -> np.ndarray:
    """Map values to the colours of a scale.

    Args:
        values: (rows, columns) numbers.
        stops: positions from 0 to 1 and their colours, as ``#rrggbb``.
        low: the value of the first colour; lower values are clipped to it.
        high: the value of the last colour; higher values are clipped to it.

    Returns:
        (rows, columns, 3) uint8.
    """
    share = np.clip((values - low) / max(high - low, 1e-12), 0, 1)
    positions = [position for position, _ in stops]
    hues = np.array([[int(colour[i : i + 2], 16) for i in (1, 3, 5)] for _, colour in stops])
    channels = [np.interp(share, positions, hues[:, channel]) for channel in range(3)]
    return np.stack(channels, -1).round().astype(np.uint8)


def overlay_values(values: np.ndarray, stops: ColorScale, high: float) -> np.ndarray:
    """Map values from 0 to ``high`` to overlay colours; smaller values are more transparent.

    Opacity grows faster than the value at first, so that a tenth of the maximum is still visible.

    Returns:
        (rows, columns, 4) uint8, RGBA.
    """
    share = np.clip(values / max(high, 1e-12), 0, 1)
    alpha = (MAX_ALPHA * share**ALPHA_POWER).round().astype(np.uint8)
    return np.concatenate([color_values(values, stops, 0.0, high), alpha[..., None]], -1)


def grey_out(pixels: np.ndarray, *, max_side: int) -> np.ndarray:
    """A dark grey copy of an image, downsampled to ``max_side``, as the background of an overlay.

    Returns:
        (height, width, 3) uint8.
    """
    image = Image.fromarray(pixels).convert("L")
    image.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
    grey = (np.asarray(image) * GREY_SHARE).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=-1)


def image_row_html(figures: list[str]) -> str:
    """Several figures side by side, wrapped on narrow pages."""
    return f'<div class="pg-picture-row">{"".join(figures)}</div>' if figures else ""


def image_uri(pixels: np.ndarray, *, max_side: int = 1024, exact: bool = False) -> str:
    """The pixels as a ``data:`` URL, in the most compact format.

    Args:
        pixels: (height, width, 3) uint8.
        max_side: larger images are downsampled to this side.
        exact: always lossless, whatever the size.
    """
    image = Image.fromarray(pixels)
    image.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
    if exact or image.width * image.height <= LOSSLESS_PIXELS:
        data = _encode(image, "WEBP", lossless=True)
        if exact or len(data) <= LOSSLESS_BYTES:
            return _smaller_uri(image, data)
    return _data_uri("webp", _encode(image, "WEBP", quality=PHOTO_QUALITY))


def _smaller_uri(image: Image.Image, webp: bytes) -> str:
    """The lossless WebP, or the PNG if that is smaller, as for tiny drawings."""
    if len(webp) <= PNG_BYTES:
        png = _encode(image, "PNG", optimize=True)
        if len(png) < len(webp):
            return _data_uri("png", png)
    return _data_uri("webp", webp)


def _encode(image: Image.Image, kind: str, **options: bool | int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _data_uri(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _overlay_image(overlay: np.ndarray) -> str:
    image = Image.fromarray(overlay, "RGBA")
    source = _smaller_uri(image, _encode(image, "WEBP", lossless=True))
    return (
        f'<img class="pg-overlay" src="{source}" alt="" aria-hidden="true" '
        'style="position:absolute;inset:0;width:100%;height:100%;image-rendering:pixelated;'
        'pointer-events:none">'
    )


def _mark_svg(row: int, column: int, down: int, across: int) -> str:
    """The outline of one cell, white on black, visible on any image."""
    rect = (
        f'<rect x="{column}" y="{row}" width="1" height="1" fill="none" '
        'vector-effect="non-scaling-stroke" '
    )
    return (
        f'<svg class="pg-grid pg-mark-cell" viewBox="0 0 {across} {down}" '
        'preserveAspectRatio="none" aria-hidden="true">'
        f'{rect}stroke="#000" stroke-width="4"></rect>'
        f'{rect}stroke="#fff" stroke-width="2"></rect></svg>'
    )


def _grid_svg(down: int, across: int) -> str:
    """The borders of patches, and bolder ones of merge blocks, as SVG over the image."""

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
