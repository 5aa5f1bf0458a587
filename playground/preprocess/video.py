"""Reading frames out of a video file with PyAV, within bounds."""

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

# Names of FFmpeg's demuxers. Playlists (hls, concat, dash) are not among them: they open files
# and addresses of their own.
VIDEO_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,gif"
FORMATS_IN_WORDS = mark("MP4, MOV, WebM, MKV, AVI and GIF")

MAX_SOURCE_FRAMES = 3_600  # two minutes at 30 a second: each up to the last sampled is decoded
MAX_FRAME_PIXELS = 4096 * 2304  # 4K
MAX_CLIP_FRAMES = 64  # Qwen3VLVideoProcessor allows 768
MIN_CLIP_FRAMES = 4  # Qwen3VLVideoProcessor.min_frames
SAMPLED_FPS = 2.0  # Qwen3VLVideoProcessor.fps
ASSUMED_FPS = 24.0  # what Qwen3VLVideoProcessor assumes for a video of unknown rate
MAX_FPS = 1_000.0  # a rate above is a container's clock, not a frame rate
MAX_CLIP_PIXELS = 25_165_824  # of all frames: the 2B model's processor keeps no more


@dataclass(frozen=True, slots=True)
class VideoFacts:
    """What the container says, and how many packets it really has."""

    size: tuple[int, int]  # (width, height) as stored, before any rotation
    fps: float
    num_frames: int
    notices: tuple[str, ...]


def survey_video(file: BinaryIO, name: str) -> VideoFacts:
    """Count the frames without decoding one.

    Raises:
        InputError: no video of ``VIDEO_FORMATS``, no frames, or more than ``MAX_SOURCE_FRAMES``.
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
            pass  # a file that is cut off: what came before can still be shown
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
    max_frames: int = MAX_CLIP_FRAMES,
) -> tuple[int, ...]:
    """Which frames to take: the rule of ``Qwen3VLVideoProcessor.sample_frames``.

    Args:
        total_num_frames: frames in the file.
        file_fps: its frames per second.
        num_frames: how many to take; or
        fps: how many for each second, 2 by default, and 4 in all at least.
        max_frames: the upper bound of both.

    Returns:
        Evenly spaced indices, the first and the last frame among them.
    """
    if num_frames is None:
        by_rate = int(total_num_frames / file_fps * (fps or SAMPLED_FPS))
        num_frames = max(by_rate, MIN_CLIP_FRAMES)
    num_frames = min(num_frames, max_frames, total_num_frames)
    spaced = np.linspace(0, total_num_frames - 1, num_frames).round().astype(int)
    return tuple(spaced.tolist())


@dataclass(frozen=True, slots=True)
class DecodedFrames:
    """The frames that were asked for, as far as the file has them."""

    frames: tuple[np.ndarray[Any, Any], ...]  # each (height, width, 3) uint8, upright
    num_decoded: int  # frames that came out of the decoder before the last one was found
    original_size: tuple[int, int]  # (width, height) before scaling down
    rotated: bool


def decode_frames(
    file: BinaryIO, name: str, indices: Sequence[int], max_pixels: int = MAX_FRAME_PIXELS
) -> DecodedFrames:
    """Decode in order up to the last index and keep only the frames asked for.

    The decoder itself refuses a stream with frames of more than ``max_pixels``.
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
            pass  # broken from here on: the caller makes do with what came before
    upright = size[::-1] if rotation % 2 else size
    frames = tuple(kept[index] for index in indices if index in kept)
    return DecodedFrames(frames, count, upright, bool(rotation))


def fit_frame(size: tuple[int, int], num_frames: int) -> tuple[int, int]:
    """The largest ``(width, height)`` at which all frames fit into ``MAX_CLIP_PIXELS``."""
    width, height = size
    scale = math.sqrt(MAX_CLIP_PIXELS / (width * height * num_frames))
    if scale >= 1:
        return size
    return max(1, math.floor(width * scale)), max(1, math.floor(height * scale))


@contextmanager
def _open_video(
    file: BinaryIO, name: str, max_pixels: int = MAX_FRAME_PIXELS
) -> Iterator[tuple[Any, Any]]:
    """``(container, video stream)`` of a file that is read from its start."""
    file.seek(0)
    try:
        # A file object, never a path: a string would also be taken for an address.
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
        # The container's size is a claim; the decoder refuses what the stream itself exceeds.
        stream.codec_context.options = {"max_pixels": str(max_pixels)}
        yield container, stream


def _read_duration(stream: Any) -> float:
    """Seconds, 0 where the container does not say."""
    if stream.duration is None or stream.time_base is None:
        return 0.0
    return float(stream.duration * stream.time_base)


def _to_rgb(frame: Any, size: tuple[int, int], rotation: int) -> np.ndarray[Any, Any]:
    width, height = size
    pixels = frame.to_ndarray(format="rgb24", width=width, height=height, interpolation="BICUBIC")
    return np.ascontiguousarray(np.rot90(pixels, rotation))
