"""Prompt and answer in one sequence, so that the decoder's views also take generated tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playground.lazy import lazy_modules

if TYPE_CHECKING:
    from playground.answer import (
        stage,
        summary,
    )

__all__ = [
    "stage",
    "summary",
]

__getattr__ = lazy_modules(__name__, __all__)
