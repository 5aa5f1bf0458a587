"""Experiments on top of the stages: changes to the model, and the cost of other settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playground.lazy import lazy_modules

if TYPE_CHECKING:
    from playground.experiments import (
        answers,
        first_object,
        growth,
        influence,
        later_layers,
        loops,
        neutral,
        thinking,
        token_budget,
        video_clock,
        what_if,
        what_if_runs,
    )

__all__ = [
    "answers",
    "first_object",
    "growth",
    "influence",
    "later_layers",
    "loops",
    "neutral",
    "thinking",
    "token_budget",
    "video_clock",
    "what_if",
    "what_if_runs",
]

__getattr__ = lazy_modules(__name__, __all__)
