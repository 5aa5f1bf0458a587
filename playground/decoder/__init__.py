"""Stage 4: decoder layers and logits, and views of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playground.lazy import lazy_modules

if TYPE_CHECKING:
    from playground.decoder import (
        attention,
        extend,
        rotation,
        stage,
        updates,
    )

__all__ = [
    "attention",
    "extend",
    "rotation",
    "stage",
    "updates",
]

__getattr__ = lazy_modules(__name__, __all__)
