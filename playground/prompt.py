"""The input of a run: a conversation with its images and videos."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from playground.errors import PlaygroundError


@dataclass(frozen=True, slots=True, eq=False)
class PromptImage:
    """One decoded image."""

    pixels: np.ndarray  # (height, width, 3) uint8, RGB
    name: str = "image"
    notices: tuple[str, ...] = ()  # messages about changes made on reading

    def __post_init__(self) -> None:
        if self.pixels.ndim != 3 or self.pixels.shape[2] != 3 or self.pixels.dtype != np.uint8:
            raise PlaygroundError(
                "pixels: expected (height, width, 3) uint8, "
                f"got {self.pixels.shape} {self.pixels.dtype}."
            )

    @property
    def size(self) -> tuple[int, int]:
        """``(width, height)`` in pixels."""
        return self.pixels.shape[1], self.pixels.shape[0]


@dataclass(frozen=True, slots=True)
class FrameChoice:
    """Which frames of a video were asked for; None leaves it to the checkpoint's processor."""

    fps: float | None = None  # per second of the video
    num_frames: int | None = None  # instead of fps
    start_s: float | None = None  # seconds from the first frame; None begins with it
    end_s: float | None = None  # None ends with the last frame

    @property
    def given(self) -> dict[str, float]:
        """What was asked for, by name."""
        return {
            name: value for name in self.__slots__ if (value := getattr(self, name)) is not None
        }


NO_CHOICE = FrameChoice()


@dataclass(frozen=True, slots=True, eq=False)
class PromptVideo:
    """The frames sampled from one video."""

    frames: np.ndarray  # (num_frames, height, width, 3) uint8, RGB
    frame_indices: tuple[int, ...]  # index of each frame in the file
    fps: float  # frames per second of the file, on average
    total_num_frames: int  # frames in the file
    name: str = "video"
    notices: tuple[str, ...] = ()
    # When each frame is shown, in seconds; None if that is its index / fps.
    seconds: tuple[float, ...] | None = None
    chosen: FrameChoice = NO_CHOICE

    def __post_init__(self) -> None:
        if self.frames.ndim != 4 or self.frames.shape[3] != 3 or self.frames.dtype != np.uint8:
            raise PlaygroundError(
                "frames: expected (num_frames, height, width, 3) uint8, "
                f"got {self.frames.shape} {self.frames.dtype}."
            )
        if len(self.frame_indices) != len(self.frames):
            raise PlaygroundError(
                f"frame_indices: expected {len(self.frames)}, got {len(self.frame_indices)}."
            )
        if self.seconds is not None and len(self.seconds) != len(self.frames):
            raise PlaygroundError(f"seconds: expected {len(self.frames)}, got {len(self.seconds)}.")

    @property
    def size(self) -> tuple[int, int]:
        """``(width, height)`` in pixels."""
        return self.frames.shape[2], self.frames.shape[1]

    @property
    def times(self) -> tuple[float, ...]:
        """When each frame is shown, in seconds from the first frame of the file."""
        if self.seconds is not None:
            return self.seconds
        return tuple(index / self.fps for index in self.frame_indices)

    @property
    def clock(self) -> tuple[list[Any], float]:
        """``frames_indices`` and ``fps`` for the processor, which divides one by the other.

        Frames at a varying rate are given by their seconds, at one per second.
        """
        if self.seconds is not None:
            return list(self.seconds), 1.0
        return list(self.frame_indices), self.fps


@dataclass(frozen=True, slots=True, eq=False)
class Turn:
    """One message of the conversation: its images, then its video, then its text."""

    role: Literal["user", "assistant"]
    text: str
    images: tuple[PromptImage, ...] = ()
    video: PromptVideo | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Prompt:
    """The input of a run."""

    turns: tuple[Turn, ...]
    system: str = ""
    max_pixels: int | None = None  # per image; for a video, over all its frames
    enable_thinking: bool | None = None  # the chat template's argument; None is its default

    @property
    def images(self) -> tuple[PromptImage, ...]:
        """All images, in the order of the sequence."""
        return tuple(image for turn in self.turns for image in turn.images)

    @property
    def videos(self) -> tuple[PromptVideo, ...]:
        """All videos, in the order of the sequence."""
        return tuple(turn.video for turn in self.turns if turn.video is not None)
