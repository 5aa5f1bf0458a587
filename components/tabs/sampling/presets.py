"""The settings of one column on the page: their names and ranges, and presets of all of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import playground
from playground.errors import InputError
from playground.language import mark, say
from playground.records import SamplingSettings

if TYPE_CHECKING:
    from playground.pipeline import Run

OWN = mark("The checkpoint's own")
PRESETS: dict[str, SamplingSettings] = {
    mark("Greedy"): SamplingSettings(temperature=0.0),
    mark("Strict"): SamplingSettings(temperature=0.3, top_k=20, top_p=0.8),
    mark("Creative"): SamplingSettings(temperature=1.3, top_p=0.95, min_p=0.02),
    mark("Balanced, with a frequency penalty"): SamplingSettings(
        temperature=0.7, top_p=0.9, frequency_penalty=0.5
    ),
    mark("No filter at all"): SamplingSettings(),
}
START = ("Strict", "Creative", "Greedy", "Balanced, with a frequency penalty")


@dataclass(frozen=True, slots=True)
class Field:
    """One setting on the page."""

    name: str  # in SamplingSettings
    label: str
    info: str
    step: float
    slider: tuple[float, float]  # what the slider of one step goes over
    in_card: bool = False  # a slider in the columns' cards, too


IS_OFF_AT_0, IS_OFF_AT_1 = mark("0 is off"), mark("1 is off")
FIELDS = (
    Field(
        "temperature",
        mark("Temperature"),
        mark("0 is greedy, 1 changes nothing"),
        0.05,
        (0, 2),
        in_card=True,
    ),
    Field(
        "top_p",
        mark("Top-p"),
        mark("Likeliest up to this mass; 1 is off"),
        0.01,
        (0, 1),
        in_card=True,
    ),
    Field("top_k", mark("Top-k"), IS_OFF_AT_0, 1, (0, 100)),
    Field("min_p", mark("Min-p"), IS_OFF_AT_0, 0.01, (0, 1)),
    Field("typical_p", mark("Typical-p"), IS_OFF_AT_1, 0.01, (0.01, 1)),
    Field("repetition_penalty", mark("Repetition penalty"), IS_OFF_AT_1, 0.05, (0.5, 2)),
    Field("frequency_penalty", mark("Frequency penalty"), IS_OFF_AT_0, 0.1, (-2, 2)),
    Field("presence_penalty", mark("Presence penalty"), IS_OFF_AT_0, 0.1, (-2, 2)),
    Field("seed", mark("Seed"), mark("Same seed, same draws"), 1, (0, 100)),
)
assert FIELDS[-1].name == "seed"


def values_of(settings: SamplingSettings) -> list[Any]:
    """A column's values in the order of ``FIELDS``."""
    return [getattr(settings, field.name) for field in FIELDS]


def start_settings(index: int) -> SamplingSettings:
    """What a column starts with by its place: each with a seed of its own."""
    return replace(PRESETS[START[index % len(START)]], seed=index)


def choose_preset(run: Run, name: object) -> SamplingSettings:
    """The settings of a preset; the checkpoint's own are read from it."""
    if name == OWN:
        return playground.sampling.generation_config.own_settings(run.engine)
    if name not in PRESETS:
        raise InputError(
            say("There is no preset {name}.", name=name), remedy=say("Choose one from the list.")
        )
    return PRESETS[str(name)]


def preset_choices() -> list[tuple[str, str]]:
    """All presets as a list offers them: what it shows, and the name."""
    return [(say(name), name) for name in (OWN, *PRESETS)]
