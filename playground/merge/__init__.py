"""Stage 3: embeddings, ``masked_scatter`` and M-RoPE positions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playground.lazy import lazy_modules

if TYPE_CHECKING:
    from playground.merge import (
        embed_views,
        extend,
        mrope,
        stage,
        views,
    )

__all__ = [
    "embed_views",
    "extend",
    "mrope",
    "stage",
    "views",
]

__getattr__ = lazy_modules(__name__, __all__)
