"""Read frames from a video file with PyAV, within limits."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

import av
import numpy as np

from playground.errors import InputError
from playground.language import mark, say

# FFmpeg demuxers. Playlists (hls, concat, dash) are excluded, because they open other files and
# URLs.
VIDEO_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,gif"
FORMATS_IN_WORDS = mark("MP4, MOV, WebM, MKV, AVI and GIF")

MAX_SOURCE_FRAMES = (
    3_600  # two minutes at 30 fps: every frame up to the last sampled one is decoded
)
MAX_FRAME_PIXELS = 4096 * 2304  # 4K
MAX_VIDEO_FRAMES = 64  # Qwen3VLVideoProcessor allows 768
MIN_VIDEO_FRAMES = 4  # Qwen3VLVideoProcessor.min_frames
SAMPLED_FPS = 2.0  # Qwen3VLVideoProcessor.fps
ASSUMED_FPS = 24.0  # Qwen3VLVideoProcessor's assumption for an unknown rate
MAX_FPS = 1_000.0  # a higher value is a container's clock rate, not a frame rate
MAX_VIDEO_PIXELS = 25_165_824  # of all frames together: the limit of the 2B model's processor


@dataclass(frozen=True, slots=True)
class VideoFacts:
    """The container's metadata, and the number of packets it really has."""

    size: tuple[int, int]  # (width, height) as stored, before any rotation
    fps: float
    num_frames: int
    notices: tuple[str, ...]


def survey_video(file: BinaryIO, name: str) -> VideoFacts:
    """Count the frames without decoding one.

    Raises:
        InputError: not a video of ``VIDEO_FORMATS``, no frames, or over ``MAX_SOURCE_FRAMES``.
    """
    num_frames = 0
    with _open_video(file, name) as (container, stream):
        size = stream.codec_context.width, stream.codec_context.height
        declared, seconds = stream.average_rate or stream.guessed_rate, _read_duration(stream)
        try:
            for packet in container.demux(stream):
                num_frames += bool(packet.size)
                if num_frames > MAX_SOURCE_FRAMES:
                    break
        except av.FFmpegError:
            pass  # truncated file: the frames before the damage are still usable
    if num_frames == 0:
        raise InputError(
            say("{name} has no frames.", name=name), remedy=say("Choose another video.")
        )
    if num_frames > MAX_SOURCE_FRAMES:
        raise InputError(
            say("{name} is too long.", name=name),
            limit=say(
                "The limit is {most:,} frames (two minutes at 30 frames per second).",
                most=MAX_SOURCE_FRAMES,
            ),
            remedy=say("Trim it, or lower its frame rate."),
        )
    fps = float(declared) if declared else 0.0
    if not 0 < fps <= MAX_FPS:
        fps = num_frames / seconds if seconds > 0 else 0.0
    if not 0 < fps <= MAX_FPS:
        note = say(
            "The file gives no frame rate; {fps:g} frames per second are assumed.", fps=ASSUMED_FPS
        )
        return VideoFacts(size, ASSUMED_FPS, num_frames, (note,))
    return VideoFacts(size, fps, num_frames, ())


def sample_frame_indices(
    total_num_frames: int,
    file_fps: float,
    *,
    num_frames: int | None = None,
    fps: float | None = None,
    max_frames: int = MAX_VIDEO_FRAMES,
) -> tuple[int, ...]:
    """The frames to sample, as in ``Qwen3VLVideoProcessor.sample_frames``.

    Args:
        total_num_frames: frames in the file.
        file_fps: frames per second of the file.
        num_frames: number of frames to sample; alternatively
        fps: frames to sample per second, 2 by default, and at least 4 in total.
        max_frames: upper bound on the number of frames.

    Returns:
        Evenly spaced indices that include the first and the last frame.
    """
    if num_frames is None:
        by_rate = int(total_num_frames / file_fps * (fps or SAMPLED_FPS))
        num_frames = max(by_rate, MIN_VIDEO_FRAMES)
    num_frames = min(num_frames, max_frames, total_num_frames)
    spaced = np.linspace(0, total_num_frames - 1, num_frames).round().astype(int)
    return tuple(spaced.tolist())


@dataclass(frozen=True, slots=True)
class DecodedFrames:
    """The requested frames that the file has."""

    frames: tuple[np.ndarray[Any, Any], ...]  # each (height, width, 3) uint8, upright
    num_decoded: int  # frames decoded until the last requested one was found
    original_size: tuple[int, int]  # (width, height) before scaling down
    rotated: bool


def decode_frames(
    file: BinaryIO, name: str, indices: Sequence[int], max_pixels: int = MAX_FRAME_PIXELS
) -> DecodedFrames:
    """Decode in order up to the last index and keep only the requested frames.

    The decoder itself rejects frames of more than ``max_pixels``.
    """
    wanted = set(indices)
    kept: dict[int, np.ndarray[Any, Any]] = {}
    count, rotation = 0, 0
    size: tuple[int, int] = (0, 0)
    with _open_video(file, name, max_pixels) as (container, stream):
        try:
            for frame in container.decode(stream):
                if count == 0:
                    size, rotation = (frame.width, frame.height), round(frame.rotation / 90) % 4
                if count in wanted:
                    kept[count] = _to_rgb(frame, fit_frame(size, len(wanted)), rotation)
                count += 1
                if len(kept) == len(wanted):
                    break
        except av.FFmpegError:
            pass  # damaged from here on: the caller uses the frames before
    upright = size[::-1] if rotation % 2 else size
    frames = tuple(kept[index] for index in indices if index in kept)
    return DecodedFrames(frames, count, upright, bool(rotation))


def fit_frame(size: tuple[int, int], num_frames: int) -> tuple[int, int]:
    """The largest ``(width, height)`` at which all frames fit into ``MAX_VIDEO_PIXELS``."""
    width, height = size
    scale = math.sqrt(MAX_VIDEO_PIXELS / (width * height * num_frames))
    if scale >= 1:
        return size
    return max(1, math.floor(width * scale)), max(1, math.floor(height * scale))


@contextmanager
def _open_video(
    file: BinaryIO, name: str, max_pixels: int = MAX_FRAME_PIXELS
) -> Iterator[tuple[Any, Any]]:
    """``(container, video stream)`` of a file, read from its start."""
    file.seek(0)
    try:
        # A file object, never a path: PyAV would also open a string as a URL.
        container = av.open(file, options={"format_whitelist": VIDEO_FORMATS})
    except (av.FFmpegError, ValueError) as error:
        raise InputError(
            say("{name} is not a readable video, or it is damaged.", name=name),
            limit=say("Accepted formats: {formats}.", formats=say(FORMATS_IN_WORDS)),
            remedy=say("Save it as MP4."),
        ) from error
    with container:
        stream = container.streams.best("video")
        if stream is None or stream.codec_context is None:
            raise InputError(
                say("{name} has no video track.", name=name), remedy=say("Choose another video.")
            )
        # The container only claims a size; this limit makes the decoder check the stream itself.
        stream.codec_context.options = {"max_pixels": str(max_pixels)}
        yield container, stream


def _read_duration(stream: Any) -> float:
    """The duration in seconds; 0 if the container has none."""
    if stream.duration is None or stream.time_base is None:
        return 0.0
    return float(stream.duration * stream.time_base)


def _to_rgb(frame: Any, size: tuple[int, int], rotation: int) -> np.ndarray[Any, Any]:
    width, height = size
    pixels = frame.to_ndarray(format="rgb24", width=width, height=height, interpolation="BICUBIC")
    return np.ascontiguousarray(np.rot90(pixels, rotation))
