"""A decoded image of any mode → ``(height, width, 3)`` uint8; each change gives a notice."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from playground.language import say

# EXIF orientation → what turns the stored pixels upright.
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def describe_animation(image: Image.Image) -> list[str]:
    """A notice if the file has more than one image."""
    if not getattr(image, "is_animated", False):
        return []
    if image.format == "HEIF":
        return [say("The file has several images; the main one is used.")]
    if image.format == "TIFF":
        return [say("The file has several pages; the first one is used.")]
    return [say("The file has several frames; the first one is used.")]


def read_rawmode(image: Image.Image) -> str:
    """How the file stores a pixel, such as ``RGB;16B``; available only before loading."""
    tile = getattr(image, "tile", None)  # only images from files have tiles
    args = tile[0].args if tile else ""
    return str(args[0] if isinstance(args, tuple) and args else args)


def apply_exif(image: Image.Image, notices: list[str]) -> Image.Image:
    """Turn an image upright. HEIC is upright once decoded: its own properties turn it, not EXIF.

    ``ImageOps.exif_transpose`` also rewrites the other tags, and fails if one of them is broken.
    """
    try:
        method = UPRIGHT.get(image.getexif().get(0x0112, 1))
    except Exception:  # damaged metadata: the pixels are fine
        return image
    if method is None:
        return image
    notices.append(say("Turned upright according to its EXIF orientation."))
    return image.transpose(method)


def to_rgb(image: Image.Image, rawmode: str, notices: list[str]) -> np.ndarray[Any, Any]:
    """Convert any mode of the accepted formats to ``(height, width, 3)`` uint8."""
    mode = image.mode
    if mode.startswith("I;16") or mode in ("I", "F"):
        return _rescale_deep_grey(image, notices)
    depth = image.info.get("bit_depth", 8)  # of HEIC, which arrives in 8 bits
    if isinstance(depth, int) and depth > 8:
        notices.append(say("{bits} bits per channel were reduced to 8.", bits=depth))
    if ";16" in rawmode:  # Pillow keeps the upper byte of each channel
        notices.append(say("16 bits per channel were reduced to 8."))
    if mode in ("P", "PA"):
        notices.append(say("Palette colours were converted to RGB."))
    if "transparency" in image.info or mode in ("LA", "La", "PA", "RGBA", "RGBa"):
        rgba = image.convert("RGBA")
        if np.asarray(rgba)[..., 3].min() < 255:
            notices.append(say("Transparent areas are shown on white."))
            white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
            return np.array(Image.alpha_composite(white, rgba).convert("RGB"))
        return np.array(rgba.convert("RGB"))
    if mode not in ("1", "L", "P", "RGB", "RGBX"):
        notices.append(say("{mode} colours were converted to RGB.", mode=mode))
    return np.array(image.convert("RGB"))


def _rescale_deep_grey(image: Image.Image, notices: list[str]) -> np.ndarray[Any, Any]:
    """Rescale grey values of more than 8 bits: 16-bit by the bits in use, others by min–max."""
    values = np.asarray(image).astype(np.float64)
    values = np.where(np.isfinite(values), values, 0.0)
    if image.mode.startswith("I;16"):
        low, high = 0.0, _highest_grey(float(values.max()))
        notices.append(_describe_depth(int(high)))
    else:
        notices.append(_describe_stretch(image.mode))
        low, high = float(values.min()), float(values.max())
    scaled = (values - low) / max(high - low, np.finfo(np.float64).tiny) * 255.0
    grey = scaled.round().astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def _highest_grey(largest: float) -> float:
    """White of a 16-bit file: cameras and scanners store 8, 10, 12 or 14 bits in 16."""
    return next(2.0**bits - 1 for bits in (8, 10, 12, 14, 16) if largest < 2.0**bits)


def _describe_depth(high: int) -> str:
    if high == 65535:
        return say("16-bit grey values were rescaled to 8 bits.")
    return say(
        "16-bit grey values that use only {bits} bits (0 to {high:,}) were rescaled to 8 bits.",
        bits=high.bit_length(),
        high=high,
    )


def _describe_stretch(mode: str) -> str:
    if mode == "F":
        return say(
            "Floating-point grey values were rescaled to 8 bits, from the darkest to the lightest."
        )
    return say("32-bit grey values were rescaled to 8 bits, from the darkest to the lightest.")
