"""Notices about the frames that were read from a video."""

from __future__ import annotations

from collections.abc import Iterator

from playground.language import say
from playground.preprocess.video import DecodedFrames, VideoFacts, stretch
from playground.preprocess.video_sampling import (
    MAX_VIDEO_FRAMES,
    FrameTimes,
    VideoSampling,
    find_range,
)


def describe_sampling(
    times: FrameTimes, sampling: VideoSampling, indices: tuple[int, ...], *, keys_only: bool
) -> Iterator[str]:
    """Notices where other frames are sampled than the processor would."""
    first, last = find_range(times, sampling)
    asked = sampling.count(last - first + 1, times.fps)
    if asked > MAX_VIDEO_FRAMES:
        yield say(
            "The video processor would sample {asked:,} frames; at most {most} are read.",
            asked=asked,
            most=MAX_VIDEO_FRAMES,
        )
    if keys_only:
        yield say(
            "A clip of {total:,} frames is not decoded as a whole; the {count} key frames nearest "
            "to the sampled moments are used.",
            total=times.num_frames,
            count=len(indices),
        )
    if times.seconds is not None:
        yield say("The frame rate varies; frames are sampled by their own timestamps.")


def describe_frames(decoded: DecodedFrames, facts: VideoFacts, num_frames: int) -> Iterator[str]:
    """Notices about the frames, of which the file really has ``num_frames``."""
    if num_frames < facts.num_frames:
        yield say(
            "Only {decoded} of {total} frames could be decoded.",
            decoded=num_frames,
            total=facts.num_frames,
        )
    orientation = decoded.orientation
    if orientation is None:
        yield say(
            "The file asks for a rotation that is no multiple of 90°; the frames are shown as they "
            "are stored."
        )
    elif orientation.changes:
        yield say("Turned upright according to the file's metadata.")
    shown = stretch(decoded.stored_size, facts.pixel_ratio)
    if facts.pixel_ratio != 1:
        yield _describe_pixel_shape(facts, is_applied=shown != decoded.stored_size)
    height, width = next(iter(decoded.frames.values())).shape[:2]
    if (width, height) not in (shown, shown[::-1]):
        yield say(
            "Frames were scaled down to {width} × {height} pixels.", width=width, height=height
        )
    if len(decoded.frames) == 1:
        yield say(
            "Only one frame was found; it is repeated, because a video is sampled at two frames or "
            "more."
        )


def _describe_pixel_shape(facts: VideoFacts, *, is_applied: bool) -> str:
    ratio = f"{facts.pixel_ratio.numerator}:{facts.pixel_ratio.denominator}"
    if is_applied:
        return say(
            "The pixels are not square ({ratio}); frames are stretched as players do.", ratio=ratio
        )
    return say(
        "The pixels claim to be {ratio}; the frames are shown as they are stored.", ratio=ratio
    )
