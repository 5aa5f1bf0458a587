"""Stage 1: prompt → tokens and patches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playground.lazy import lazy_modules

if TYPE_CHECKING:
    from playground.preprocess import (
        chat_template,
        large_jpeg,
        media,
        orientation,
        pixels,
        preview,
        stage,
        video,
        video_notices,
        video_sampling,
        views,
    )

__all__ = [
    "chat_template",
    "large_jpeg",
    "media",
    "orientation",
    "pixels",
    "preview",
    "stage",
    "video",
    "video_notices",
    "video_sampling",
    "views",
]

__getattr__ = lazy_modules(__name__, __all__)
