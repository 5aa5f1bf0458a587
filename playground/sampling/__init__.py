"""Stage 5: logits → tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playground.lazy import lazy_modules

if TYPE_CHECKING:
    from playground.sampling import (
        branches,
        candidates,
        columns,
        logits_filters,
        paths,
        score,
        settings,
        stage,
        step,
        sweep,
        tokens,
        views,
    )

__all__ = [
    "branches",
    "candidates",
    "columns",
    "logits_filters",
    "paths",
    "score",
    "settings",
    "stage",
    "step",
    "sweep",
    "tokens",
    "views",
]

__getattr__ = lazy_modules(__name__, __all__)
