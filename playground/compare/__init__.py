"""Two sets of weights of one architecture: what differs, and what the difference does to a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playground.lazy import lazy_modules

if TYPE_CHECKING:
    from playground.compare import (
        answers,
        columns,
        drift,
        mix,
        rounded,
        rounded_runs,
        rounding,
        swap,
        weights,
    )

__all__ = [
    "answers",
    "columns",
    "drift",
    "mix",
    "rounded",
    "rounded_runs",
    "rounding",
    "swap",
    "weights",
]

__getattr__ = lazy_modules(__name__, __all__)
