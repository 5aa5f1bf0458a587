"""Untrusted files → ``PromptImage`` and ``PromptVideo``: checked before decoding.

Changes give a notice. Nothing here opens a URL or tries a format that is not on the list:
playlists, for example, can refer to other files.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pillow_heif
from PIL import Image, PngImagePlugin

from playground.errors import InputError
from playground.language import say
from playground.limits import Limits
from playground.preprocess.large_jpeg import MAX_SOURCE_PIXELS, reduce_jpeg
from playground.preprocess.pixels import apply_exif, describe_animation, read_rawmode, to_rgb
from playground.preprocess.video import (
    MAX_FRAME_PIXELS,
    DecodedFrames,
    VideoFacts,
    decode_frames,
    limit_to_keyframes,
    survey_video,
)
from playground.preprocess.video_notices import describe_frames, describe_sampling
from playground.preprocess.video_sampling import (
    FrameTimes,
    VideoSampling,
    choose_sampling,
    find_times,
    sample_frame_indices,
)
from playground.prompt import NO_CHOICE, FrameChoice, PromptImage, PromptVideo

IMAGE_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "HEIF", "AVIF")
FORMAT_NAMES = tuple("HEIC" if name == "HEIF" else name for name in IMAGE_FORMATS)
MAX_IMAGE_PIXELS = Limits().max_image_pixels  # the default limit
MAX_ASPECT_RATIO = 200  # smart_resize refuses more

pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)
# Pillow's own check on opening; ``_check_size`` follows, with the limit of the format.
Image.MAX_IMAGE_PIXELS = MAX_SOURCE_PIXELS
# Of one compressed text or colour profile in a PNG. Pillow's 1 MB refuses pictures that every other
# program shows, over a printer's profile or the settings of an image generator. All texts together
# keep Pillow's limit of 64 MB.
PngImagePlugin.MAX_TEXT_CHUNK = 16 * 2**20

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
        max_pixels: limit on the image's pixels, checked before decoding. A larger JPEG is decoded
            at 1/2, 1/4 or 1/8.

    Raises:
        InputError: not an image of ``IMAGE_FORMATS``, damaged, or above a limit.
    """
    name = name or ("image" if isinstance(source, bytes) else Path(source).name)
    with _open_source(source, name) as file, _open_image(file, name, max_pixels) as image:
        full_size = image.size
        is_reduced = reduce_jpeg(image, max_pixels)
        _check_size(name, image.size, max_pixels)
        _check_tiff(name, image)
        try:
            notices = describe_animation(image)
            rawmode = read_rawmode(image)
            image.load()
        except Exception as error:  # each plugin raises its own exceptions on damaged data
            raise InputError(
                say("{name} is damaged or truncated and cannot be decoded.", name=name),
                remedy=say("Save it again, or choose another image."),
            ) from error
        if is_reduced:
            notices.append(_describe_reduction(full_size, image.size))
        upright = apply_exif(image, notices)
        pixels = to_rgb(upright, rawmode, notices)
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
            limit=say("Accepted formats: {formats}.", formats=say(", ").join(FORMAT_NAMES)),
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


def _check_tiff(name: str, image: Image.Image) -> None:
    """Refuse what Pillow takes for a truncated file: YCbCr pixels without compression."""
    tags = getattr(image, "tag_v2", {})
    tile = getattr(image, "tile", None)
    if image.format == "TIFF" and tags.get(262) == 6 and tile and tile[0].codec_name == "raw":
        raise InputError(
            say("{name} is a kind of TIFF that is not read: uncompressed YCbCr.", name=name),
            remedy=say("Save it as PNG or JPEG."),
        )


def _describe_reduction(full: tuple[int, int], reduced: tuple[int, int]) -> str:
    return say(
        "The image has {millions:.3g} million pixels; it was decoded at 1/{scale} of its size: "
        "{width} × {height} of {full_width} × {full_height} pixels.",
        millions=full[0] * full[1] / 1e6,
        scale=round(full[0] / reduced[0]),
        width=reduced[0],
        height=reduced[1],
        full_width=full[0],
        full_height=full[1],
    )


# --------------------------------------------------------------------------- video


def read_video(
    source: str | Path | bytes,
    *,
    chosen: FrameChoice = NO_CHOICE,
    max_frames: int | None = None,
    sampling: VideoSampling | None = None,
    name: str | None = None,
    max_pixels: int = MAX_FRAME_PIXELS,
) -> PromptVideo:
    """Decode the frames of a video that ``Qwen3VLVideoProcessor`` would sample.

    They are evenly spaced: by index, as the processor does, or in time if the frame rate varies. A
    single frame is repeated, because a temporal patch spans two; large frames are scaled down until
    all fit into ``video.MAX_VIDEO_PIXELS``. Sound is ignored.

    Args:
        source: a local path, or the file's bytes.
        chosen: the frames to sample.
        max_frames: upper bound on the number of frames.
        sampling: the checkpoint's settings, for what is not given; by default 2 frames per second
            and at least 4.
        name: the name used in messages; by default the file's name.
        max_pixels: limit on the pixels of a decoded frame, at most ``MAX_FRAME_PIXELS``.

    Raises:
        InputError: not a readable video, damaged, without frames, or above a limit; or the chosen
            frames are not in it.
    """
    name = name or ("video" if isinstance(source, bytes) else Path(source).name)
    asked = choose_sampling(sampling or VideoSampling(), chosen, max_frames=max_frames)
    max_pixels = min(max_pixels, MAX_FRAME_PIXELS)
    with _open_source(source, name) as file:
        facts = survey_video(file, name)
        _check_size(name, facts.size, max_pixels)
        decoded, times, keys_only = _decode_sampled(file, name, facts, asked, max_pixels)
    indices = sample_frame_indices(times, asked)
    if keys_only:
        indices = tuple(sorted(decoded.frames))
    notices = [
        *facts.notices,
        *describe_sampling(times, asked, indices, keys_only=keys_only),
        *describe_frames(decoded, facts, times.num_frames),
    ]
    frames = np.stack([decoded.frames[index] for index in indices])
    if len(frames) == 1:
        frames, indices = np.repeat(frames, 2, axis=0), indices * 2
    return PromptVideo(
        frames,
        indices,
        times.fps,
        times.num_frames,
        name=name,
        notices=tuple(notices),
        seconds=times.at(indices),
        chosen=chosen,
    )


def _decode_sampled(
    file: BinaryIO, name: str, facts: VideoFacts, sampling: VideoSampling, max_pixels: int
) -> tuple[DecodedFrames, FrameTimes, bool]:
    """Decode the sampled frames; also the times of the frames that the file really has, and whether
    key frames took the place of others.
    """
    times = facts.times
    indices = sample_frame_indices(times, sampling)
    keys_only = max(indices) >= facts.max_decoded
    if keys_only:
        indices = limit_to_keyframes(facts, name, indices)
    decoded = decode_frames(file, name, indices, max_pixels, facts=facts, keys_only=keys_only)
    if not keys_only and not decoded.frames.keys() >= set(indices):
        # Truncated, or with packets that decode to nothing.
        count = len(decoded.stamps)
        if count:
            found = find_times(decoded.stamps, facts.rates, facts.tick)
            times = found or FrameTimes(count, times.fps)
            indices = sample_frame_indices(times, sampling)
            decoded = decode_frames(file, name, indices, max_pixels, facts=facts)
    if not decoded.frames:
        raise InputError(
            say("No frame of {name} can be decoded.", name=name), remedy=say("Save it as MP4.")
        )
    return decoded, times, keys_only
