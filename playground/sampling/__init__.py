"""Stage 5: logits → tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playground.lazy import lazy_modules

if TYPE_CHECKING:
    from playground.sampling import (
        branches,
        candidates,
        columns,
        filter_chain,
        generation_config,
        logits_filters,
        loops,
        ngrams,
        paths,
        score,
        settings,
        stage,
        step,
        sweep,
        thinking,
        trace,
        views,
    )

__all__ = [
    "branches",
    "candidates",
    "columns",
    "filter_chain",
    "generation_config",
    "logits_filters",
    "loops",
    "ngrams",
    "paths",
    "score",
    "settings",
    "stage",
    "step",
    "sweep",
    "thinking",
    "trace",
    "views",
]

__getattr__ = lazy_modules(__name__, __all__)
