"""Which frames of a video are sampled: ``Qwen3VLVideoProcessor.sample_frames``, also in time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from playground.errors import InputError
from playground.language import say
from playground.prompt import FrameChoice

SAMPLED_FPS = 2.0  # Qwen3VLVideoProcessor.fps
MIN_SAMPLED_FRAMES = 2  # a temporal patch spans two frames
MAX_SAMPLED_FPS = 60.0
MAX_VIDEO_FRAMES = 64  # Qwen3VLVideoProcessor allows 768
ASSUMED_FPS = 24.0  # Qwen3VLVideoProcessor's assumption for an unknown rate
MAX_FPS = 1_000.0  # a higher value is a container's clock rate, not a frame rate
MAX_SECONDS = 86_400.0  # timestamps that span more than a day are not believed
ROUNDING_S = 1e-6  # 0.1 s at 30 frames per second is frame 3.0000000000000004


@dataclass(frozen=True, slots=True)
class VideoSampling:
    """How many frames are sampled; the defaults are those of ``Qwen3VLVideoProcessor``."""

    fps: float | None = SAMPLED_FPS  # per second of the video; None takes every frame
    num_frames: int | None = None  # goes before fps
    min_frames: int = 4  # with fps
    max_frames: int = 768
    # The range of time that is sampled, as ``video_start`` and ``video_end`` of qwen-vl-utils.
    start_s: float = 0.0
    end_s: float | None = None  # None is the end of the video

    @classmethod
    def of_processor(cls, processor: Any) -> VideoSampling:
        """The settings of a checkpoint's video processor; what is no number keeps the default.

        ``do_sample_frames: false`` takes every frame.
        """
        fps: float | None = SAMPLED_FPS
        if getattr(processor, "fps", fps) is None or not processor.do_sample_frames:
            fps = None
        elif _is_positive(processor.fps):
            fps = float(processor.fps)
        counts = {
            name: int(getattr(processor, name))
            for name in ("num_frames", "min_frames", "max_frames")
            if _is_positive(getattr(processor, name, None))
        }
        if not processor.do_sample_frames:
            counts.pop("num_frames", None)
        return cls(fps=fps, **counts)

    def count(self, total_num_frames: int, file_fps: float) -> int:
        """How many frames the processor would sample of a video."""
        if self.num_frames is not None:
            return self.num_frames
        if self.fps is None:
            return min(total_num_frames, self.max_frames)
        by_rate = int(total_num_frames / file_fps * self.fps)
        return min(max(by_rate, self.min_frames), self.max_frames, total_num_frames)


def _is_positive(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value) and value >= (1 if isinstance(value, int) else 1e-3)


@dataclass(frozen=True, slots=True, eq=False)
class FrameTimes:
    """When each frame of a file is shown."""

    num_frames: int
    fps: float
    # (num_frames,) seconds from the first frame; None if frame i is shown at i / fps.
    seconds: np.ndarray[Any, Any] | None = None

    @property
    def duration_s(self) -> float:
        """Until the end of the last frame, which is shown as long as the average frame."""
        before_last = (self.num_frames - 1) / self.fps
        return (before_last if self.seconds is None else float(self.seconds[-1])) + 1 / self.fps

    def at(self, indices: Sequence[int]) -> tuple[float, ...] | None:
        """The seconds of some frames, or None if they follow from ``fps``."""
        if self.seconds is None:
            return None
        return tuple(self.seconds[list(indices)].round(6).tolist())


def find_times(
    stamps: Sequence[float | None], rates: Sequence[float], tick: float
) -> FrameTimes | None:
    """Frame times from timestamps.

    Args:
        stamps: seconds of the frames, in any order; None where the file has no timestamp.
        rates: frame rates that the file gives.
        tick: the resolution of the timestamps, in seconds.

    Returns:
        Times without ``seconds`` if one of the rates gives the timestamps up to their resolution,
        else with them; None if the timestamps cannot be used.
    """
    if len(stamps) < 2 or any(stamp is None for stamp in stamps):
        return None
    seconds = np.sort(np.asarray(stamps, np.float64))
    seconds -= seconds[0]
    if not 0 < seconds[-1] <= MAX_SECONDS:
        return None
    num_frames = len(seconds)
    for rate in rates:
        even = np.arange(num_frames) / rate
        if np.abs(seconds - even).max() <= tick + 1e-6:
            return FrameTimes(num_frames, rate)
    return FrameTimes(num_frames, (num_frames - 1) / float(seconds[-1]), seconds)


def find_range(times: FrameTimes, sampling: VideoSampling) -> tuple[int, int]:
    """The first and the last frame that are shown in the sampled range of time.

    Raises:
        InputError: the range begins or ends after the video, or no frame is shown in it.
    """
    start, end = sampling.start_s, sampling.end_s
    longest = math.floor(times.duration_s * 1000) / 1000  # in the milliseconds that the error says
    for limit_s in (start, end):
        if limit_s is not None and limit_s > times.duration_s:
            raise InputError(
                say("The video has no frames at {seconds:,.8g} s.", seconds=limit_s),
                limit=say("It is {seconds:,.8g} s long.", seconds=longest),
                remedy=say("Choose a time range within it."),
            )
    seconds = times.seconds
    if seconds is None:
        seconds = np.arange(times.num_frames) / times.fps
    within = seconds >= start - ROUNDING_S
    if end is not None:
        within &= seconds <= end + ROUNDING_S
    inside = np.flatnonzero(within)
    if not len(inside):
        end = times.duration_s if end is None else end
        raise InputError(
            say("No frame begins between {start:,.8g} s and {end:,.8g} s.", start=start, end=end),
            limit=say("The video has {fps:.4g} frames per second.", fps=times.fps),
            remedy=say("Widen the time range."),
        )
    return int(inside[0]), int(inside[-1])


def sample_frame_indices(times: FrameTimes, sampling: VideoSampling) -> tuple[int, ...]:
    """The frames to sample, as in ``Qwen3VLVideoProcessor.sample_frames``.

    Frames at a varying rate are sampled evenly in time: the nearest frame to each moment, once.

    Returns:
        Indices that include the first and the last frame of the range, at most
        ``MAX_VIDEO_FRAMES``.

    Raises:
        InputError: as ``find_range``.
    """
    first, last = find_range(times, sampling)
    num_inside = last - first + 1
    count = min(sampling.count(num_inside, times.fps), MAX_VIDEO_FRAMES)
    seconds = times.seconds
    if seconds is None or count >= num_inside:
        inside = np.linspace(0, num_inside - 1, count).round().astype(int)
        return tuple((first + inside).tolist())
    moments = np.linspace(seconds[first], seconds[last], count)
    after = np.searchsorted(seconds, moments).clip(first + 1, last)
    before = after - 1
    is_before = moments - seconds[before] <= seconds[after] - moments
    return tuple(np.unique(np.where(is_before, before, after)).tolist())


def choose_sampling(
    own: VideoSampling, chosen: FrameChoice, *, max_frames: int | None = None
) -> VideoSampling:
    """A checkpoint's settings with what somebody chose instead.

    Raises:
        InputError: both a number and a rate are chosen, or a value is out of range.
    """
    num_frames, fps = chosen.num_frames, chosen.fps
    if num_frames is not None and fps is not None:
        raise InputError(say("Give either a number of frames or frames per second, not both."))
    most = MAX_VIDEO_FRAMES
    if max_frames is not None:
        if not MIN_SAMPLED_FRAMES <= max_frames <= MAX_VIDEO_FRAMES:
            raise InputError(
                say("Cannot sample up to {count} frames.", count=max_frames),
                limit=_frame_range(MAX_VIDEO_FRAMES),
            )
        most = max_frames
    if num_frames is not None and not MIN_SAMPLED_FRAMES <= num_frames <= most:
        raise InputError(
            say("Cannot sample {count} frames.", count=num_frames), limit=_frame_range(most)
        )
    if fps is not None and not 0 < fps <= MAX_SAMPLED_FPS:  # also rejects NaN
        raise InputError(
            say("Cannot sample {fps} frames per second.", fps=fps),
            limit=say("Choose a rate above 0 and up to {most:g}.", most=MAX_SAMPLED_FPS),
        )
    if num_frames is None and fps is None:
        num_frames, fps = own.num_frames, own.fps
    limit = own.max_frames if max_frames is None else max_frames
    if num_frames is not None and max_frames is not None:
        num_frames = min(num_frames, max_frames)
    start, end = _choose_range(chosen)
    return VideoSampling(fps, num_frames, min(own.min_frames, limit), limit, start, end)


def _choose_range(chosen: FrameChoice) -> tuple[float, float | None]:
    """The chosen range of time; whether the video is that long is known once it has been read.

    Raises:
        InputError: a time is out of range, or the range ends before it begins.
    """
    start, end = chosen.start_s or 0.0, chosen.end_s
    for seconds in (start, end):
        if seconds is not None and not 0 <= seconds <= MAX_SECONDS:  # also rejects NaN
            raise InputError(
                say("The time range cannot begin or end at {seconds} s.", seconds=seconds),
                limit=say("Choose between {least} and {most}.", least=0, most=int(MAX_SECONDS)),
            )
    if end is not None and end <= start:
        raise InputError(
            say(
                "The time range begins at {start:,.8g} s and ends at {end:,.8g} s.",
                start=start,
                end=end,
            ),
            remedy=say("Let it end after it begins."),
        )
    return start, end


def _frame_range(most: int) -> str:
    return say("Choose between {least} and {most}.", least=MIN_SAMPLED_FRAMES, most=most)
