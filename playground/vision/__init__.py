"""Stage 2: patches → merged tokens and DeepStack features."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playground.lazy import lazy_modules

if TYPE_CHECKING:
    from playground.vision import (
        attention,
        maps,
        merger,
        position_grid,
        rope,
        stage,
    )

__all__ = [
    "attention",
    "maps",
    "merger",
    "position_grid",
    "rope",
    "stage",
]

__getattr__ = lazy_modules(__name__, __all__)
