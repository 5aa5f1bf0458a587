"""Some columns as the page's controls give them, and what is written of them."""

from __future__ import annotations

from typing import Any

from components.tabs.sampling import side
from components.tabs.sampling.lab import Lab
from components.tabs.sampling.presets import values_of
from playground.pipeline import Run
from playground.sampling.trace import SamplingSettings
from tests.components.runs import ignore_progress

GREEDY = SamplingSettings(temperature=0.0)
WILD = SamplingSettings(temperature=1.5, top_k=5, seed=3)


def card_rows(*columns: SamplingSettings | dict[str, Any]) -> list[dict[str, Any]]:
    """The cards' values for these columns."""
    return [values_of(each) if isinstance(each, SamplingSettings) else each for each in columns]


def write(
    run: Run, *columns: SamplingSettings | dict[str, Any], length: int = 8, same: bool = False
) -> list[Lab]:
    """All findings of the columns' experiment, the last one finished."""
    run.ensure("decoder")
    return list(side.columns(run, ignore_progress, card_rows(*columns), length, same))
