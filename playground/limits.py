"""The limits of a server, set when it is started."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

MIN_IMAGE_PIXELS = 262_144  # 512 × 512: the page's own examples must fit
# 267 MB of 8-bit RGB, once decoded.
MOST_IMAGE_PIXELS = 89_000_000
MOST_NEW_TOKENS = 4096


@dataclass(frozen=True, slots=True)
class Limits:
    """One server's limits; stages read them from the engine."""

    # For one decoded image or video frame: 75 MB by default; a 20 KB PNG can claim far more.
    max_image_pixels: int = 25_000_000
    max_new_tokens: int = MOST_NEW_TOKENS  # per answer, branch or scored text

    def __post_init__(self) -> None:
        for name, value, low, high in (
            ("max_image_pixels", self.max_image_pixels, MIN_IMAGE_PIXELS, MOST_IMAGE_PIXELS),
            ("max_new_tokens", self.max_new_tokens, 1, MOST_NEW_TOKENS),
        ):
            if not low <= value <= high:
                raise ValueError(f"{name} is {value:,}: from {low:,} to {high:,} are possible.")

    @classmethod
    def for_public(cls, **chosen: Any) -> Limits:
        """Tighter limits for a public page; values in ``chosen`` override them.

        A phone's photo of 12 million pixels is still accepted.
        """
        return cls(**{"max_image_pixels": 16_000_000, "max_new_tokens": 512} | chosen)

    def at_most(self, num_tokens: int) -> int:
        """A default number of new tokens, reduced to the limit."""
        return min(num_tokens, self.max_new_tokens)
