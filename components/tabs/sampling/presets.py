"""The settings of a column on the page: their labels and ranges, and presets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import playground
from playground.language import mark, say
from playground.sampling.trace import SamplingSettings

if TYPE_CHECKING:
    from playground.pipeline import Run

OWN = mark("Checkpoint default")
PRESETS: dict[str, SamplingSettings] = {
    mark("Greedy"): SamplingSettings(temperature=0.0),
    mark("Strict"): SamplingSettings(temperature=0.3, top_k=20, top_p=0.8),
    mark("Creative"): SamplingSettings(temperature=1.3, top_p=0.95, min_p=0.02),
    mark("Balanced with frequency penalty"): SamplingSettings(
        temperature=0.7, top_p=0.9, frequency_penalty=0.5
    ),
    mark("No filters"): SamplingSettings(),
}
START = ("Strict", "Creative", "Greedy", "Balanced with frequency penalty")


@dataclass(frozen=True, slots=True)
class Field:
    """One setting on the page."""

    name: str  # in SamplingSettings
    label: str
    info: str
    step: float
    slider: tuple[float, float]  # range of the slider in “One step”
    in_card: bool = False  # also a slider in the columns' cards
    shown: Callable[[Run], bool] | None = None  # whether the checkpoint has it; by default always


def can_think(run: Run) -> bool:
    """Whether the checkpoint's chat template handles thinking."""
    return bool(playground.sampling.thinking.can_think(run.engine))


IS_OFF_AT_0, IS_OFF_AT_1 = mark("0 is off"), mark("1 is off")
FIELDS = (
    Field(
        "temperature",
        mark("Temperature"),
        mark("0 is greedy, 1 leaves the logits unchanged"),
        0.05,
        (0, 2),
        in_card=True,
    ),
    Field(
        "top_p",
        mark("Top-p"),
        mark("Keep the most likely tokens up to this total probability; 1 is off"),
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
    Field(
        "no_repeat_ngram_size",
        mark("N-gram ban"),
        mark("No n tokens in a row occur a second time; 0 is off"),
        1,
        (0, 10),
    ),
    Field(
        "thinking_budget",
        mark("Thinking budget"),
        mark("Thinking tokens before </think> is forced; empty is off"),
        1,
        (0, 4096),
        shown=can_think,
    ),
    Field("seed", mark("Seed"), mark("The same seed gives the same samples"), 1, (0, 100)),
)
assert FIELDS[-1].name == "seed"


def setting_name(name: str) -> str:
    """The label of a setting by its name in ``SamplingSettings``."""
    return next(say(field.label) for field in FIELDS if field.name == name)


def control_id(field: Field) -> str:
    """The id of the setting's control: ``top-k``."""
    return field.name.replace("_", "-")


def values_of(settings: SamplingSettings, *, seed: bool = True) -> dict[str, Any]:
    """Settings as control values, by control id."""
    return {
        control_id(field): getattr(settings, field.name)
        for field in FIELDS
        if seed or field.name != "seed"
    }


def start_settings(index: int) -> SamplingSettings:
    """Initial settings of a column by its index, each with a different seed."""
    return replace(PRESETS[START[index % len(START)]], seed=index)


def preset_options(run: Run) -> list[tuple[str, dict[str, Any]]]:
    """All presets: a label and the control values. A preset leaves the seed unchanged."""
    own = playground.sampling.generation_config.own_settings(run.engine)
    presets = {OWN: own, **PRESETS}
    return [(say(name), values_of(settings, seed=False)) for name, settings in presets.items()]
