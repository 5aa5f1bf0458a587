"""What a server accepts at most, as whoever started it has chosen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

MIN_IMAGE_PIXELS = 262_144  # 512 × 512: the page's own examples must fit
# Pillow warns of a bomb above 89.5 million pixels, and refuses twice that by itself.
MOST_IMAGE_PIXELS = 89_000_000
MOST_NEW_TOKENS = 4096


@dataclass(frozen=True, slots=True)
class Limits:
    """One server's limits; the engine carries them to where they are checked."""

    # Of one decoded picture or video frame: 75 MB by default; a 20 KB PNG can claim far more.
    max_image_pixels: int = 25_000_000
    max_new_tokens: int = MOST_NEW_TOKENS  # of one answer, branch or scored text

    def __post_init__(self) -> None:
        for name, value, low, high in (
            ("max_image_pixels", self.max_image_pixels, MIN_IMAGE_PIXELS, MOST_IMAGE_PIXELS),
            ("max_new_tokens", self.max_new_tokens, 1, MOST_NEW_TOKENS),
        ):
            if not low <= value <= high:
                raise ValueError(f"{name} is {value:,}: from {low:,} to {high:,} are possible.")

    @classmethod
    def for_strangers(cls, **chosen: Any) -> Limits:
        """Tighter limits, for a page that anyone can reach; what is chosen goes first.

        A phone's picture of 12 million pixels still passes.
        """
        return cls(**{"max_image_pixels": 16_000_000, "max_new_tokens": 512} | chosen)

    def at_most(self, num_tokens: int) -> int:
        """A number of new tokens that nobody typed, shortened to the limit."""
        return min(num_tokens, self.max_new_tokens)
