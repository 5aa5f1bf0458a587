"""What a browser can show of an uploaded file, and a WebP to show in place of the rest."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from playground.preprocess.media import IMAGE_FORMATS, read_image
from playground.preprocess.video import open_video

UNSHOWN_FORMATS = ("HEIF", "TIFF")  # read here, but Chromium and Firefox show neither
PREVIEW_SIDE = 1280  # pixels: the width of the page, for a picture opened in the gallery


def preview_image(path: Path) -> bytes | None:
    """A WebP of an image that browsers do not show: upright, at most ``PREVIEW_SIDE`` a side.

    ``None`` if browsers show the file itself, or if it is no image.

    Raises:
        InputError: as ``read_image``.
    """
    try:
        with Image.open(path, formats=IMAGE_FORMATS) as image:
            is_shown = image.format not in UNSHOWN_FORMATS
    except Exception:  # whatever a plugin raises on a damaged header; ``read_image`` explains it
        return None
    if is_shown:
        return None
    preview = Image.fromarray(read_image(path).pixels)
    preview.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
    file = io.BytesIO()
    preview.save(file, "WEBP", quality=90)
    return file.getvalue()


def check_video(path: Path) -> None:
    """Open a video without decoding a frame.

    Raises:
        InputError: not a video of the accepted formats, or without a video track.
    """
    with path.open("rb") as file, open_video(file, path.name):
        pass
