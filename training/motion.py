"""Short videos of one shape moving across the canvas."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from training.scenes import Scene, Shape, sample_background, sample_shape

DIRECTIONS = ("left", "right", "up", "down")
CLIP_SIZES = ((128, 128), (160, 128), (128, 160), (160, 160))
FRAMES_PER_PATCH = 2  # temporal patch size


@dataclass(frozen=True, slots=True)
class Clip:
    """Sampled frames of a video and their times."""

    shape: Shape  # as named; at its position in the first frame
    direction: str
    frames: tuple[Scene, ...]
    fps: float  # of the video that the frames come from
    frame_indices: tuple[int, ...]  # indices of the frames in that video
    total_frames: int

    @property
    def timestamps(self) -> list[float]:
        """Seconds in the middle of each temporal patch, as the processor writes them."""
        times = [index / self.fps for index in self.frame_indices]
        pairs = zip(times[::FRAMES_PER_PATCH], times[1::FRAMES_PER_PATCH], strict=True)
        return [(a + b) / 2 for a, b in pairs]


def sample_clip(rng: np.random.Generator) -> Clip:
    """A video of 4, 6 or 8 sampled frames with one shape moving in one direction."""
    canvas = CLIP_SIZES[rng.choice(4, p=[0.55, 0.18, 0.17, 0.1])]
    num_frames = int(rng.choice([4, 6, 8], p=[0.5, 0.25, 0.25]))
    shape = sample_shape(rng, 4, canvas, ambiguous=0.0)
    if shape.radius > 0.2:
        shape = replace(shape, radius=shape.radius * 0.85)
    direction = DIRECTIONS[rng.integers(4)]
    background = sample_background(rng, [shape.rgb])
    seed = int(rng.integers(2**31))
    places = _path(rng, shape, direction, canvas, num_frames)
    frames = tuple(
        Scene(*canvas, background, (replace(shape, x=x, y=y),), seed=seed) for x, y in places
    )
    fps = float(rng.choice([5, 8, 10, 12, 15, 24, 25, 30]))
    # The processor samples two frames per second, at least four.
    seconds = num_frames / 2 * rng.uniform(0.9, 1.1)
    total = max(num_frames, round(seconds * fps))
    indices = np.linspace(0, total - 1, num_frames).round().astype(int)
    return Clip(frames[0].shapes[0], direction, frames, fps, tuple(int(i) for i in indices), total)


def _path(
    rng: np.random.Generator,
    shape: Shape,
    direction: str,
    canvas: tuple[int, int],
    num_frames: int,
) -> list[tuple[float, float]]:
    """Centre of the shape in each frame (fractions)."""
    short = min(canvas)
    margins = [1.2 * shape.radius * short / length for length in canvas]
    axis = 0 if direction in ("left", "right") else 1
    low, high = margins[axis], 1 - margins[axis]
    travel = (high - low) * rng.uniform(0.55, 1.0)
    start = rng.uniform(low, high - travel)
    along = np.linspace(start, start + travel, num_frames)
    if direction in ("left", "up"):
        along = along[::-1]
    across_margin = margins[1 - axis]
    across = float(rng.uniform(across_margin, 1 - across_margin))
    return [(float(a), across) if axis == 0 else (across, float(a)) for a in along]
