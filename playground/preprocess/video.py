"""Read frames from a video file with PyAV, within limits."""

from __future__ import annotations

import math
from collections.abc import Container, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, BinaryIO

import av
import numpy as np

from playground.errors import InputError
from playground.language import mark, say
from playground.preprocess.orientation import Orientation, read_display_matrix
from playground.preprocess.video_sampling import ASSUMED_FPS, MAX_FPS, FrameTimes, find_times

# FFmpeg demuxers. Playlists (hls, concat, dash) are excluded, because they open other files and
# URLs.
VIDEO_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,gif,mpegts,mpeg,flv,asf,ogg"
FORMATS_IN_WORDS = mark("MP4, MOV, WebM, MKV, AVI, GIF, MPEG (.ts, .mpg), FLV, WMV and OGV")

MAX_SOURCE_FRAMES = 432_000  # two hours at 60 fps; a timestamp is kept for each
MAX_FRAME_PIXELS = 4096 * 2304  # 4K
# Every frame up to the last sampled one is decoded: two minutes at 60 fps, or at 30 fps in 4K.
MAX_DECODED_FRAMES = 7_200
MAX_DECODED_PIXELS = 3_600 * MAX_FRAME_PIXELS
MAX_VIDEO_PIXELS = 25_165_824  # of all frames together: the limit of the 2B model's processor
MAX_PIXEL_STRETCH = 4  # pixels that claim to be longer are shown as stored


@dataclass(frozen=True, slots=True, eq=False)
class VideoFacts:
    """What the container says of its video track, and the packets that it really has."""

    size: tuple[int, int]  # (width, height) as stored, before any rotation
    pixel_ratio: Fraction  # width of a pixel to its height
    times: FrameTimes
    rates: tuple[float, ...]  # frame rates that the file gives
    tick: float  # resolution of the timestamps, seconds
    keyframes: dict[int, int]  # timestamp → index of the frames that can be decoded alone
    notices: tuple[str, ...]

    @property
    def num_frames(self) -> int:
        """Frames in the file."""
        return self.times.num_frames

    @property
    def max_decoded(self) -> int:
        """How many frames may be decoded one after the other."""
        width, height = self.size
        return min(MAX_DECODED_FRAMES, MAX_DECODED_PIXELS // max(1, width * height))


def survey_video(file: BinaryIO, name: str) -> VideoFacts:
    """Read the timestamps of all frames without decoding one.

    Raises:
        InputError: not a video of ``VIDEO_FORMATS``, no frames, or over ``MAX_SOURCE_FRAMES``.
    """
    stamps: list[int | None] = []
    keys: list[int] = []  # positions in stamps
    with open_video(file, name) as (container, stream):
        size = stream.codec_context.width, stream.codec_context.height
        ratio = stream.sample_aspect_ratio or Fraction(1)
        given = stream.average_rate, stream.guessed_rate
        seconds, base = _read_duration(stream), float(stream.time_base or 0)
        try:
            for packet in container.demux(stream):
                if not _holds_a_frame(packet, stream):
                    continue
                if packet.is_keyframe:
                    keys.append(len(stamps))
                stamps.append(packet.pts)
                if len(stamps) > MAX_SOURCE_FRAMES:
                    raise _too_long(name, MAX_SOURCE_FRAMES)
        except av.FFmpegError:
            pass  # truncated file: the frames before the damage are still usable
    if not stamps:
        raise InputError(
            say("{name} has no frames.", name=name), remedy=say("Choose another video.")
        )
    rates = tuple(float(rate) for rate in given if rate and 0 < rate <= MAX_FPS)
    times = find_times([None if s is None else s * base for s in stamps], rates, base)
    if times is None:
        times, notices = _assume_times(len(stamps), rates, seconds)
        return VideoFacts(size, ratio, times, rates, base, {}, notices)
    shown = np.argsort(np.argsort(np.array(stamps, np.int64), kind="stable"))  # place in time
    keyframes = {int(stamps[place] or 0): int(shown[place]) for place in keys}
    return VideoFacts(size, ratio, times, rates, base, keyframes, ())


def _holds_a_frame(packet: Any, stream: Any) -> bool:
    """Whether a packet is shown: not cut away by an edit list, nor a hidden reference of VP8."""
    if not packet.size or packet.is_discard:
        return False
    is_vp8 = stream.codec_context.name in ("vp8", "libvpx")
    return not is_vp8 or bool(memoryview(packet)[0] & 0x10)  # show_frame, RFC 6386, 9.1


def _assume_times(
    num_frames: int, rates: Sequence[float], seconds: float
) -> tuple[FrameTimes, tuple[str, ...]]:
    """Evenly spaced frames, for a file without usable timestamps; with a notice."""
    if rates:
        return FrameTimes(num_frames, rates[0]), ()
    fps = num_frames / seconds if seconds > 0 else 0.0
    if 0 < fps <= MAX_FPS:
        return FrameTimes(num_frames, fps), ()
    note = say(
        "The file gives no frame rate; {fps:g} frames per second are assumed.", fps=ASSUMED_FPS
    )
    return FrameTimes(num_frames, ASSUMED_FPS), (note,)


def _too_long(name: str, most: int) -> InputError:
    return InputError(
        say("{name} is too long.", name=name),
        limit=say("At most {most:,} frames are read.", most=most),
        remedy=say("Trim it, or lower its frame rate."),
    )


def limit_to_keyframes(facts: VideoFacts, name: str, indices: Sequence[int]) -> tuple[int, ...]:
    """The key frames nearest to some frames, for a clip too long to be decoded from its start.

    Raises:
        InputError: the clip has too few key frames.
    """
    keys = np.array(sorted(facts.keyframes.values()) or [0])
    nearest = {int(keys[np.abs(keys - index).argmin()]) for index in indices}
    if len(nearest) < min(4, len(indices)):
        raise _too_long(name, facts.max_decoded)
    return tuple(sorted(nearest))


@dataclass(frozen=True, slots=True, eq=False)
class DecodedFrames:
    """The requested frames that the file has."""

    frames: dict[int, np.ndarray[Any, Any]]  # by index; (height, width, 3) uint8, upright
    stamps: tuple[float | None, ...]  # seconds of all frames decoded until the last requested one
    stored_size: tuple[int, int]  # (width, height) as stored
    matrix: tuple[int, ...]  # the display matrix; empty if there is none

    @property
    def orientation(self) -> Orientation | None:
        """How the frames were turned; None if their matrix asks for something else."""
        return read_display_matrix(self.matrix) if self.matrix else Orientation()


def decode_frames(
    file: BinaryIO,
    name: str,
    indices: Sequence[int],
    max_pixels: int = MAX_FRAME_PIXELS,
    *,
    facts: VideoFacts | None = None,
    keys_only: bool = False,
) -> DecodedFrames:
    """Decode in order up to the last index and keep only the requested frames.

    The decoder itself rejects frames of more than ``max_pixels``.

    Args:
        file: the video.
        name: the name used in messages.
        indices: frames to keep.
        max_pixels: limit on the pixels of a stored frame.
        facts: the survey of the file, for its pixels' shape.
        keys_only: the indices are key frames, and only these are decoded.
    """
    ratio = facts.pixel_ratio if facts is not None else Fraction(1)
    left = set(indices)
    num_wanted = len(left)
    kept: dict[int, np.ndarray[Any, Any]] = {}
    stamps: list[float | None] = []
    size: tuple[int, int] = (0, 0)
    matrix: tuple[int, ...] = ()
    with open_video(file, name, max_pixels) as (container, stream):
        frames = container.decode(stream)
        keys = _wanted_keys(facts, left) if keys_only else {}
        if keys_only:
            frames = _decode_packets(container, stream, keys)
        try:
            for frame in frames:
                if not stamps:
                    size, matrix = (frame.width, frame.height), _read_matrix(frame)
                index = keys.get(frame.pts) if keys_only else len(stamps)
                stamps.append(None if frame.pts is None else float(frame.pts * frame.time_base))
                if index in left:
                    shown = fit_frame(stretch(size, ratio), num_wanted)
                    kept[index] = _to_rgb(frame, shown, matrix)
                    left.discard(index)
                if not left:
                    break
        except av.FFmpegError:
            pass  # damaged from here on: the caller uses the frames before
    return DecodedFrames(kept, tuple(stamps), size, matrix)


def _wanted_keys(facts: VideoFacts | None, wanted: set[int]) -> dict[int, int]:
    """Timestamp → index of the requested key frames."""
    known = facts.keyframes if facts is not None else {}
    return {stamp: index for stamp, index in known.items() if index in wanted}


def _decode_packets(container: Any, stream: Any, stamps: Container[int]) -> Iterator[Any]:
    """Give the decoder the packets of some timestamps alone, then flush it."""
    for packet in container.demux(stream):
        if not packet.size or packet.pts in stamps:
            yield from packet.decode()


def fit_frame(size: tuple[int, int], num_frames: int) -> tuple[int, int]:
    """The largest ``(width, height)`` at which all frames fit into ``MAX_VIDEO_PIXELS``."""
    width, height = size
    scale = math.sqrt(MAX_VIDEO_PIXELS / (width * height * num_frames))
    if scale >= 1:
        return size
    return max(1, math.floor(width * scale)), max(1, math.floor(height * scale))


def stretch(size: tuple[int, int], pixel_ratio: Fraction) -> tuple[int, int]:
    """The size at which pixels that are not square are shown, as browsers do: the shorter side of
    a pixel grows.
    """
    width, height = size
    if not Fraction(1, MAX_PIXEL_STRETCH) <= pixel_ratio <= MAX_PIXEL_STRETCH:
        return size
    if pixel_ratio > 1:
        return round(width * pixel_ratio), height
    return width, round(height / pixel_ratio)


@contextmanager
def open_video(
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
        stream = _find_video(container)
        if stream is None or stream.codec_context is None:
            raise InputError(
                say("{name} has no video track.", name=name), remedy=say("Choose another video.")
            )
        # The container only claims a size; this limit makes the decoder check the stream itself.
        stream.codec_context.options = {"max_pixels": str(max_pixels)}
        yield container, stream


def _find_video(container: Any) -> Any:
    """The best video track; the cover picture of a sound file is none."""

    def is_cover(stream: Any) -> bool:
        return bool(stream.disposition & av.stream.Disposition.attached_pic)

    best = container.streams.best("video")
    if best is None or not is_cover(best):
        return best
    return next((stream for stream in container.streams.video if not is_cover(stream)), None)


def _read_duration(stream: Any) -> float:
    """The duration in seconds; 0 if the container has none."""
    if stream.duration is None or stream.time_base is None:
        return 0.0
    return float(stream.duration * stream.time_base)


def _read_matrix(frame: Any) -> tuple[int, ...]:
    data = frame.side_data.get("DISPLAYMATRIX")
    return tuple(np.frombuffer(bytes(data), np.int32).tolist()) if data is not None else ()


def _to_rgb(frame: Any, size: tuple[int, int], matrix: tuple[int, ...]) -> np.ndarray[Any, Any]:
    width, height = size
    pixels = frame.to_ndarray(format="rgb24", width=width, height=height, interpolation="BICUBIC")
    orientation = read_display_matrix(matrix) if matrix else None
    return pixels if orientation is None else orientation.apply(pixels)
