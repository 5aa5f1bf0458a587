"""What the page sends for some columns, and what comes of it."""

from __future__ import annotations

from typing import Any

from components.tabs.sampling import writing
from components.tabs.sampling.columns import NAMES
from components.tabs.sampling.presets import values_of
from components.tabs.sampling.writing import SamplingParts
from playground.pipeline import Run
from playground.records import SamplingSettings
from tests.components.runs import ignore_progress

GREEDY = SamplingSettings(temperature=0.0)
WILD = SamplingSettings(temperature=1.5, top_k=5, seed=3)


def control_values(
    *columns: SamplingSettings | list[Any], length: Any = 8, same: bool = False, colour: str = ""
) -> list[Any]:
    """What the page sends for these columns."""
    rows = [values_of(each) if isinstance(each, SamplingSettings) else each for each in columns]
    rows += [values_of(GREEDY)] * (len(NAMES) - len(rows))
    shown = [value for row in rows for value in row]
    return [None, length, same, colour or "probability", len(columns), *shown]


def write(parts: SamplingParts, run: Run, *values: Any) -> list[dict[Any, Any]]:
    return list(writing.stream_columns(parts, run, ignore_progress, *values))
