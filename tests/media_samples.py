"""Images and videos made of seeded numbers, for the tests."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from playground.prompt import PromptImage, PromptVideo


def make_image(width: int = 128, height: int = 96, seed: int = 0) -> PromptImage:
    """A smooth background with three coloured boxes and a little noise."""
    rng = np.random.default_rng(seed)
    pixels = np.empty((height, width, 3), np.float32)
    down, across = np.mgrid[0:height, 0:width]
    for channel in range(3):
        slope = rng.uniform(-60, 60, 2)
        pixels[..., channel] = 128 + slope[0] * down / height + slope[1] * across / width
    for _ in range(3):
        left, top = rng.integers(0, max(1, width // 2)), rng.integers(0, max(1, height // 2))
        box = np.s_[top : top + height // 3 + 1, left : left + width // 3 + 1]
        pixels[box] = rng.uniform(0, 255, 3)
    pixels += rng.normal(0, 4, pixels.shape)
    return PromptImage(pixels.clip(0, 255).astype(np.uint8), name=f"picture {seed}")


def make_square_image(
    colour: tuple[int, int, int] = (220, 30, 30), width: int = 128, height: int = 128
) -> PromptImage:
    """One square of a colour in the middle of a white image."""
    pixels = np.full((height, width, 3), 255, np.uint8)
    side = min(width, height) // 2
    top, left = (height - side) // 2, (width - side) // 2
    pixels[top : top + side, left : left + side] = colour
    return PromptImage(pixels, name="square")


def make_video(
    num_frames: int = 4, width: int = 96, height: int = 96, seed: int = 0, fps: float = 2.0
) -> PromptVideo:
    """A box that moves to the right over an image of ``make_image``."""
    background = make_image(width, height, seed).pixels
    colour = np.random.default_rng(seed + 1).integers(0, 256, 3)
    frames = np.repeat(background[None], num_frames, axis=0)
    side = max(1, min(width, height) // 4)
    for index in range(num_frames):
        left = (width - side) * index // max(1, num_frames - 1)
        frames[index, height // 2 : height // 2 + side, left : left + side] = colour
    return PromptVideo(
        frames=frames,
        frame_indices=tuple(range(num_frames)),
        fps=fps,
        total_num_frames=num_frames,
        name=f"clip {seed}",
    )


def write_video(
    path: Path, frames: np.ndarray, *, fps: int | Fraction = 10, codec: str = "libx264"
) -> Path:
    """Encode ``frames`` (num_frames, height, width, 3) uint8, losslessly where the codec can."""
    with av.open(str(path), "w") as container:
        lossless = {"qp": "0", "preset": "ultrafast"} if codec == "libx264" else {}
        stream = container.add_stream(codec, rate=fps, options=lossless)
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            for packet in stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path
