"""The settings of up to eight columns: their cards, and messages for invalid ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from components.parts.compound_controls import Rows
from components.parts.controls import Choice, Control, Number, Slider
from components.tabs.compare.second import has_second
from components.tabs.sampling.presets import (
    FIELDS,
    Field,
    control_id,
    preset_options,
    start_settings,
    values_of,
)
from playground.errors import InputError
from playground.language import mark, say
from playground.sampling.settings import MAX_COLUMNS, check_settings
from playground.sampling.trace import SamplingSettings

NAMES = tuple("ABCDEFGH")
assert len(NAMES) == MAX_COLUMNS
MIN_SHOWN = 2
FIRST, SECOND = "first", "second"


def setting_slider(field: Field, **more: Any) -> Control:
    """A setting's slider; a number field if it may be empty."""
    low, high = field.slider
    more["shown"] = field.shown
    if getattr(SamplingSettings(), field.name) is None:
        return Number(
            id=control_id(field), label=field.label, info=field.info, low=low, high=high, **more
        )
    return Slider(
        id=control_id(field),
        label=field.label,
        info=field.info,
        low=low,
        high=high,
        step=field.step,
        value=getattr(SamplingSettings(), field.name),
        **more,
    )


def _card_field(field: Field) -> Control:
    if field.in_card:
        return setting_slider(field)
    # No limits here: the engine's own check has the better message.
    return Number(
        id=control_id(field),
        label=field.label,
        info=field.info,
        step=field.step,
        value=getattr(SamplingSettings(), field.name),
        shown=field.shown,
    )


CHECKPOINT = Choice(
    id="checkpoint",
    label=mark("Checkpoint"),
    options=((mark("first"), FIRST), (mark("second"), SECOND)),
    compact=True,
    shown=has_second,
)
SETTINGS = Rows(
    id="settings",
    label=mark("Column settings"),
    fields=(CHECKPOINT, *map(_card_field, FIELDS)),
    low=MIN_SHOWN,
    high=MAX_COLUMNS,
    value=tuple(values_of(start_settings(index)) for index in range(MIN_SHOWN)),
    starts=tuple(values_of(start_settings(index)) for index in range(MAX_COLUMNS)),
    names=NAMES,
    cards=True,
    presets=preset_options,
    add=mark("Add a column"),
)


@dataclass(frozen=True, slots=True)
class ReadColumns:
    """The valid columns, and why the others were skipped."""

    names: tuple[str, ...]
    settings: tuple[SamplingSettings, ...]
    second: tuple[bool, ...]  # whether the second checkpoint writes it
    problems: tuple[tuple[str, str], ...]  # a column's name, and the message


def read_columns(rows: Sequence[Mapping[str, Any]], *, same_numbers: bool = False) -> ReadColumns:
    """Check every column; an invalid one does not stop the others.

    Args:
        rows: the values of each column, by control id.
        same_numbers: give all columns the first column's seed, so that only their settings differ.

    Raises:
        InputError: no column is valid.
    """
    names: list[str] = []
    settings: list[SamplingSettings] = []
    second: list[bool] = []
    problems: list[tuple[str, str]] = []
    for name, row in zip(NAMES, rows, strict=False):
        # An empty number field sends "".
        values = {field.name: row.get(control_id(field)) for field in FIELDS}
        given = {key: None if value == "" else value for key, value in values.items()}
        if same_numbers and settings:
            given["seed"] = settings[0].seed
        try:
            settings.append(check_settings(given))
            names.append(name)
            second.append(row.get(CHECKPOINT.id) == SECOND)
        except InputError as error:
            problems.append((name, problem_words(error)))
    if not settings:
        messages = [
            say("Column {name} was skipped: {why}", name=name, why=why) for name, why in problems
        ]
        raise InputError(say(" ").join(messages))
    return ReadColumns(tuple(names), tuple(settings), tuple(second), tuple(problems))


def problem_words(error: InputError) -> str:
    """The error message of a column, with the setting's label as shown on the page."""
    named = next((field for field in FIELDS if error.what.startswith(field.name)), None)
    words = str(error)
    return words if named is None else say(named.label) + words.removeprefix(named.name)
