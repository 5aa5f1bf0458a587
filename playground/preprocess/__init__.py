"""Stage 1: prompt → tokens and patches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playground.lazy import lazy_modules

if TYPE_CHECKING:
    from playground.preprocess import (
        media,
        stage,
        video,
        views,
    )

__all__ = [
    "media",
    "stage",
    "video",
    "views",
]

__getattr__ = lazy_modules(__name__, __all__)
