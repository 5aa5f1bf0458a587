"""The display matrix of a video: how a player turns and mirrors the stored frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

STRETCH = 0.01  # largest share of the other axis that still counts as parallel to the axes


@dataclass(frozen=True, slots=True)
class Orientation:
    """One of the eight ways to show a frame: swap the axes, then mirror each of them."""

    swaps_axes: bool = False
    mirrors_x: bool = False  # left and right, after swapping
    mirrors_y: bool = False

    @property
    def changes(self) -> bool:
        """Whether frames are shown otherwise than they are stored."""
        return self.swaps_axes or self.mirrors_x or self.mirrors_y

    def size(self, stored: tuple[int, int]) -> tuple[int, int]:
        """The shown ``(width, height)`` of a stored one."""
        return stored[::-1] if self.swaps_axes else stored

    def apply(self, pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Turn and mirror stored pixels ``(height, width, 3)``."""
        shown = pixels.swapaxes(0, 1) if self.swaps_axes else pixels
        if self.mirrors_x:
            shown = shown[:, ::-1]
        if self.mirrors_y:
            shown = shown[::-1]
        return np.ascontiguousarray(shown)


def read_display_matrix(matrix: Sequence[int]) -> Orientation | None:
    """The orientation that a display matrix asks for.

    Args:
        matrix: ``a b u c d v x y w``: a pixel at ``(p, q)`` is shown at ``(a p + c q, b p + d q)``,
            with y downwards. Source: ISO/IEC 14496-12, and ``libavutil/display.h`` of FFmpeg.

    Returns:
        None if the matrix turns by an angle that is no multiple of 90 degrees, or is degenerate.
    """
    a, b, _, c, d = (int(value) for value in matrix[:5])
    largest = max(abs(a), abs(b), abs(c), abs(d))

    def is_zero(value: int) -> bool:
        return abs(value) <= STRETCH * largest

    if not largest:
        return None
    if is_zero(b) and is_zero(c) and not is_zero(a) and not is_zero(d):
        return Orientation(mirrors_x=a < 0, mirrors_y=d < 0)
    if is_zero(a) and is_zero(d) and not is_zero(b) and not is_zero(c):
        return Orientation(swaps_axes=True, mirrors_x=c < 0, mirrors_y=b < 0)
    return None
