"""Untrusted files → ``PromptImage`` and ``PromptVideo``: checked before decoding.

Changes give a notice. Nothing here opens a URL or tries a format that is not on the list:
playlists, for example, can refer to other files.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, ImageOps

from playground.errors import InputError
from playground.language import say
from playground.limits import Limits
from playground.preprocess.video import (
    MAX_FRAME_PIXELS,
    MAX_VIDEO_FRAMES,
    DecodedFrames,
    decode_frames,
    sample_frame_indices,
    survey_video,
)
from playground.records import PromptImage, PromptVideo

IMAGE_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
MAX_IMAGE_PIXELS = Limits().max_image_pixels  # the default limit
MAX_ASPECT_RATIO = 200  # smart_resize refuses more

MIN_SAMPLED_FRAMES = 2  # a temporal patch spans two frames
MAX_SAMPLED_FPS = 60.0

# --------------------------------------------------------------------------- images


def read_image(
    source: str | Path | bytes,
    *,
    name: str | None = None,
    max_pixels: int = MAX_IMAGE_PIXELS,
) -> PromptImage:
    """Decode one image to 8-bit RGB.

    Args:
        source: a local path, or the file's bytes.
        name: the name used in messages; by default the file's name.
        max_pixels: limit on the image's pixels, checked before decoding.

    Raises:
        InputError: not an image of ``IMAGE_FORMATS``, damaged, or above a limit.
    """
    name = name or ("image" if isinstance(source, bytes) else Path(source).name)
    with _open_source(source, name) as file, _open_image(file, name, max_pixels) as image:
        _check_size(name, image.size, max_pixels)
        try:
            notices = _describe_animation(image)
            rawmode = _read_rawmode(image)
            image.load()
        except Exception as error:  # each plugin raises its own exceptions on damaged data
            raise InputError(
                say("{name} is damaged or truncated and cannot be decoded.", name=name),
                remedy=say("Save it again, or choose another image."),
            ) from error
        upright = _apply_exif(image, notices)
        pixels = _to_rgb(upright, rawmode, notices)
    return PromptImage(pixels=pixels, name=name, notices=tuple(notices))


@contextmanager
def _open_source(source: str | Path | bytes, name: str) -> Iterator[BinaryIO]:
    if isinstance(source, bytes):
        if not source:
            raise _empty_file(name)
        yield io.BytesIO(source)
        return
    if "://" in str(source) or str(source).startswith("data:"):
        raise InputError(say("URLs are not opened."), remedy=say("Upload the file itself."))
    try:
        file = Path(source).open("rb")  # noqa: SIM115 - closed below; only opening may fail here
    except OSError as error:
        raise InputError(
            say("{name} cannot be opened: {reason}.", name=name, reason=error.strerror),
            remedy=say("Choose another file."),
        ) from error
    with file:
        if not file.seek(0, io.SEEK_END):
            raise _empty_file(name)
        file.seek(0)
        yield file


def _empty_file(name: str) -> InputError:
    return InputError(say("{name} is empty.", name=name), remedy=say("Choose another file."))


@contextmanager
def _open_image(file: BinaryIO, name: str, max_pixels: int) -> Iterator[Image.Image]:
    """Read the header only; Pillow decodes on ``load``."""
    try:
        image = Image.open(file, formats=IMAGE_FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(name, say("far above the limit"), max_pixels) from error
    except (
        Exception
    ) as error:  # UnidentifiedImageError, or whatever a plugin raises on a damaged header
        raise InputError(
            say("{name} is not a readable image, or it is damaged.", name=name),
            limit=say("Accepted formats: {formats}.", formats=say(", ").join(IMAGE_FORMATS)),
            remedy=say("Save it as PNG or JPEG."),
        ) from error
    with image:
        yield image


def _check_size(name: str, size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if width < 1 or height < 1:
        raise InputError(
            say("{name} has no pixels ({width} × {height}).", name=name, width=width, height=height)
        )
    if width * height > max_pixels:
        found = say("{width} × {height} pixels", width=width, height=height)
        raise _too_large(name, found, max_pixels)
    if max(size) > MAX_ASPECT_RATIO * min(size):
        raise InputError(
            say("{name} is {width} × {height} pixels.", name=name, width=width, height=height),
            limit=say("One side can be at most {ratio} times the other.", ratio=MAX_ASPECT_RATIO),
            remedy=say("Crop it."),
        )


def _too_large(name: str, found: str, max_pixels: int) -> InputError:
    return InputError(
        say("{name} is too large: {found}.", name=name, found=found),
        limit=say("The limit is {millions:.3g} million pixels.", millions=max_pixels / 1e6),
        remedy=say("Scale it down first."),
    )


def _describe_animation(image: Image.Image) -> list[str]:
    if not getattr(image, "is_animated", False):
        return []
    if image.format == "TIFF":
        return [say("The file has several pages; the first one is used.")]
    return [say("The file has several frames; the first one is used.")]


def _read_rawmode(image: Image.Image) -> str:
    """How the file stores a pixel, such as ``RGB;16B``; available only before loading."""
    tile = getattr(image, "tile", None)  # only images from files have tiles
    args = tile[0].args if tile else ""
    return str(args[0] if isinstance(args, tuple) and args else args)


def _apply_exif(image: Image.Image, notices: list[str]) -> Image.Image:
    try:
        orientation = image.getexif().get(0x0112, 1)
        upright = ImageOps.exif_transpose(image)
    except Exception:  # damaged metadata: the pixels are fine
        return image
    if orientation in range(2, 9):
        notices.append(say("Turned upright according to its EXIF orientation."))
    return upright


def _to_rgb(image: Image.Image, rawmode: str, notices: list[str]) -> np.ndarray[Any, Any]:
    """Convert any mode of the accepted formats to ``(height, width, 3)`` uint8."""
    mode = image.mode
    if mode.startswith("I;16") or mode in ("I", "F"):
        return _rescale_deep_grey(image, notices)
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
    """Rescale grey values of more than 8 bits: 16-bit by their full range, others by min–max."""
    values = np.asarray(image).astype(np.float64)
    values = np.where(np.isfinite(values), values, 0.0)
    if image.mode.startswith("I;16"):
        notices.append(say("16-bit grey values were rescaled to 8 bits."))
        low, high = 0.0, 65535.0
    else:
        notices.append(_describe_stretch(image.mode))
        low, high = float(values.min()), float(values.max())
    scaled = (values - low) / max(high - low, np.finfo(np.float64).tiny) * 255.0
    grey = scaled.round().astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def _describe_stretch(mode: str) -> str:
    if mode == "F":
        return say(
            "Floating-point grey values were rescaled to 8 bits, from the darkest to the lightest."
        )
    return say("32-bit grey values were rescaled to 8 bits, from the darkest to the lightest.")


# --------------------------------------------------------------------------- video


def read_video(
    source: str | Path | bytes,
    *,
    num_frames: int | None = None,
    fps: float | None = None,
    max_frames: int = MAX_VIDEO_FRAMES,
    name: str | None = None,
    max_pixels: int = MAX_FRAME_PIXELS,
) -> PromptVideo:
    """Decode the evenly spaced frames of a video that ``Qwen3VLVideoProcessor`` would sample.

    A single frame is repeated, because a temporal patch spans two; large frames are scaled down
    until all fit into ``video.MAX_VIDEO_PIXELS``. Sound is ignored.

    Args:
        source: a local path, or the file's bytes.
        num_frames: number of frames to sample; alternatively
        fps: frames to sample per second of the video, 2 by default (at least 4 frames in total).
        max_frames: upper bound on the number of frames.
        name: the name used in messages; by default the file's name.
        max_pixels: limit on the pixels of a decoded frame, at most ``MAX_FRAME_PIXELS``.

    Raises:
        InputError: not a readable video, damaged, without frames, or above a limit.
    """
    name = name or ("video" if isinstance(source, bytes) else Path(source).name)
    _check_sampling(num_frames, fps, max_frames)
    max_pixels = min(max_pixels, MAX_FRAME_PIXELS)
    with _open_source(source, name) as file:
        facts = survey_video(file, name)
        _check_size(name, facts.size, max_pixels)

        def sample(total: int) -> tuple[int, ...]:
            return sample_frame_indices(
                total, facts.fps, num_frames=num_frames, fps=fps, max_frames=max_frames
            )

        total = facts.num_frames
        decoded = decode_frames(file, name, sample(total), max_pixels)
        if len(decoded.frames) < len(
            sample(total)
        ):  # truncated, or with packets that decode to nothing
            total = decoded.num_decoded
            if not total:
                raise InputError(
                    say("No frame of {name} can be decoded.", name=name),
                    remedy=say("Save it as MP4."),
                )
            decoded = decode_frames(file, name, sample(total), max_pixels)
    notices = [*facts.notices, *_describe_frames(decoded, total, facts.num_frames)]
    indices, frames = sample(total), np.stack(decoded.frames)
    if len(frames) == 1:
        frames, indices = np.repeat(frames, 2, axis=0), indices * 2
    return PromptVideo(frames, indices, facts.fps, total, name=name, notices=tuple(notices))


def _describe_frames(decoded: DecodedFrames, num_decoded: int, num_claimed: int) -> Iterator[str]:
    """Notices about the frames, of which the file claims ``num_claimed``."""
    if num_decoded < num_claimed:
        yield say(
            "Only {decoded} of {total} frames could be decoded.",
            decoded=num_decoded,
            total=num_claimed,
        )
    if decoded.rotated:
        yield say("Turned upright according to the file's metadata.")
    height, width = decoded.frames[0].shape[:2]
    if (width, height) != decoded.original_size:
        yield say(
            "Frames were scaled down to {width} × {height} pixels.", width=width, height=height
        )
    if len(decoded.frames) == 1:
        yield say(
            "Only one frame was found; it is repeated, because a temporal patch spans two frames."
        )


def _check_sampling(num_frames: int | None, fps: float | None, max_frames: int) -> None:
    if num_frames is not None and fps is not None:
        raise InputError(say("Give either a number of frames or frames per second, not both."))
    if not MIN_SAMPLED_FRAMES <= max_frames <= MAX_VIDEO_FRAMES:
        raise InputError(
            say("Cannot sample up to {count} frames.", count=max_frames),
            limit=_frame_range(MAX_VIDEO_FRAMES),
        )
    if num_frames is not None and not MIN_SAMPLED_FRAMES <= num_frames <= max_frames:
        raise InputError(
            say("Cannot sample {count} frames.", count=num_frames),
            limit=_frame_range(max_frames),
        )
    if fps is not None and not 0 < fps <= MAX_SAMPLED_FPS:  # also rejects NaN
        raise InputError(
            say("Cannot sample {fps} frames per second.", fps=fps),
            limit=say("Choose a rate above 0 and up to {most:g}.", most=MAX_SAMPLED_FPS),
        )


def _frame_range(most: int) -> str:
    return say("Choose between {least} and {most}.", least=MIN_SAMPLED_FRAMES, most=most)
