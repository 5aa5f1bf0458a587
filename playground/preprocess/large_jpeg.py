"""JPEG of more pixels than the limit: decoded at 1/2, 1/4 or 1/8, by its DCT."""

from __future__ import annotations

from PIL import Image, JpegImagePlugin

# libjpeg decodes a baseline file row by row. For a progressive one it keeps every coefficient, two
# bytes each: as many as the largest image of the limit would need without subsampling.
COEFFICIENTS_PER_PIXEL = 3
MAX_SOURCE_PIXELS = 205_000_000  # phones take up to 200 million; decoding takes seconds


def reduce_jpeg(image: Image.Image, max_pixels: int) -> bool:
    """Choose the largest scale at which an opened JPEG has at most ``max_pixels``.

    Pillow then decodes at that scale, in memory for the reduced image.

    Returns:
        Whether the image was larger, is a JPEG, and now fits.
    """
    width, height = image.size
    if not isinstance(image, JpegImagePlugin.JpegImageFile):
        return False
    if not max_pixels < width * height <= MAX_SOURCE_PIXELS:
        return False
    if image.info.get("progressive") and _num_coefficients(image) > (
        COEFFICIENTS_PER_PIXEL * max_pixels
    ):
        return False
    for scale in (2, 4, 8):
        if -(-width // scale) * -(-height // scale) <= max_pixels:
            image.draft(image.mode, (width // scale, height // scale))
            return image.width * image.height <= max_pixels
    return False


def _num_coefficients(image: JpegImagePlugin.JpegImageFile) -> float:
    """The coefficients of all components; ``layer`` has each one's sampling factors."""
    factors = [across * down for _, across, down, _ in image.layer]
    return image.width * image.height * sum(factors) / max(factors)
