"""Boxes and points that a model writes: read, converted, drawn, and how sure each edge is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playground.lazy import lazy_modules

if TYPE_CHECKING:
    from playground.grounding import (
        convert,
        edges,
        ghosts,
        locate,
        number_tokens,
        read,
    )

__all__ = [
    "convert",
    "edges",
    "ghosts",
    "locate",
    "number_tokens",
    "read",
]

__getattr__ = lazy_modules(__name__, __all__)
