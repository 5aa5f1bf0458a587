"""The limits of each sampling setting, checked in one place on the server.

A slider may send NaN, a text box text, and an API client anything, so every value is checked here
before it is used.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from playground.errors import InputError
from playground.language import mark, say
from playground.limits import MOST_NEW_TOKENS
from playground.sampling.trace import SamplingSettings

MAX_COLUMNS = 8
MAX_NEW_TOKENS = MOST_NEW_TOKENS


@dataclass(frozen=True, slots=True)
class Limit:
    """The values that a setting accepts."""

    low: float
    high: float
    neutral: str  # describes the neutral value
    whole: bool = False  # only whole numbers
    above: float | None = None  # smallest value other than ``low``
    may_be_none: bool = False  # None turns it off


IS_OFF_AT_0, IS_OFF_AT_1 = mark("0 is off"), mark("1 is off")
LIMITS: dict[str, Limit] = {
    # Dividing by less would overflow a float32 logit.
    "temperature": Limit(0, 100, mark("0 is greedy, 1 keeps the model's distribution"), above=1e-4),
    "top_k": Limit(0, 2**31 - 1, IS_OFF_AT_0, whole=True),
    "top_p": Limit(0, 1, IS_OFF_AT_1),
    "min_p": Limit(0, 1, IS_OFF_AT_0),
    "typical_p": Limit(1e-4, 1, IS_OFF_AT_1),
    "repetition_penalty": Limit(0.01, 100, IS_OFF_AT_1),
    # OpenAI's range; a negative penalty rewards repeating.
    "frequency_penalty": Limit(-2, 2, IS_OFF_AT_0),
    "presence_penalty": Limit(-2, 2, IS_OFF_AT_0),
    "no_repeat_ngram_size": Limit(0, 2**31 - 1, IS_OFF_AT_0, whole=True),
    "thinking_budget": Limit(
        0, 2**31 - 1, mark("an empty budget is off"), whole=True, may_be_none=True
    ),
    # JavaScript's largest safe integer.
    "seed": Limit(0, 2**53 - 1, mark("any value works"), whole=True),
}


def check_settings(settings: SamplingSettings | Mapping[str, object]) -> SamplingSettings:
    """Check one column's settings.

    Args:
        settings: the record, or its fields by name; missing fields take their defaults.

    Returns:
        The settings with every value in its proper type (a slider's ``40.0`` becomes 40).

    Raises:
        InputError: an unknown field, or a value that is not a finite number in range.
    """
    given = asdict(settings) if isinstance(settings, SamplingSettings) else dict(settings)
    unknown = sorted(str(name) for name in given.keys() - LIMITS.keys())
    if unknown:
        raise InputError(
            say("{name} is not a sampling setting.", name=repr(unknown[0])),
            limit=say("The settings are {names}.", names=", ".join(LIMITS)),
        )
    checked: dict[str, Any] = {
        name: None
        if value is None and LIMITS[name].may_be_none
        else _check_number(name, value, LIMITS[name])
        for name, value in given.items()
    }
    return SamplingSettings(**checked)


def check_columns(
    settings: Sequence[SamplingSettings | Mapping[str, object]],
) -> tuple[SamplingSettings, ...]:
    """Check all columns; the message names the column, counted from 1.

    Raises:
        InputError: no column, too many, or one that ``check_settings`` rejects.
    """
    if not 1 <= len(settings) <= MAX_COLUMNS:
        raise InputError(
            say("There are {count} columns of settings.", count=len(settings)),
            limit=say("It takes 1 to {most} columns.", most=MAX_COLUMNS),
            remedy=say("Add or remove columns."),
        )
    checked = []
    for index, column in enumerate(settings):
        try:
            checked.append(check_settings(column))
        except InputError as error:
            if len(settings) == 1:
                raise
            what = say("Column {number}: {what}", number=index + 1, what=error.what)
            raise InputError(what, limit=error.limit, remedy=error.remedy) from error
    return tuple(checked)


def check_max_new_tokens(value: object, most: int = MAX_NEW_TOKENS) -> int:
    """Check the length of a continuation.

    Args:
        value: as sent by the client.
        most: the engine's ``limits.max_new_tokens``.

    Raises:
        InputError: not a whole number, or out of range.
    """
    limit = Limit(1, most, mark("the model may stop earlier"), whole=True)
    return int(_check_number("max_new_tokens", value, limit))


def check_count(name: str, value: object, high: int) -> int:
    """Check a count: a whole number from 1 to ``high``.

    Raises:
        InputError: not a whole number in that range.
    """
    return int(_check_number(name, value, Limit(1, high, mark("at least one"), whole=True)))


def _check_number(name: str, value: object, limit: Limit) -> float:
    """``value`` as a finite int or float within the limit."""
    above = limit.low if limit.above is None else limit.above
    rule, shown = _rule(limit), _shorten(value)
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise InputError(
            say("{setting} is empty.", setting=name)
            if value is None
            else say("{name} must be a number, not {shown}.", name=name, shown=shown),
            limit=rule,
            remedy=say("Enter a whole number.") if limit.whole else say("Enter a number."),
        )
    # Compared before any conversion: an int may be too long for a float.
    in_range = limit.low <= value <= limit.high and (value == limit.low or value >= above)
    if not in_range or not math.isfinite(value):
        raise InputError(
            say("{name} is out of range: {shown}.", name=name, shown=shown),
            limit=rule,
            remedy=say("Choose a value in this range."),
        )
    if not limit.whole:
        return float(value)
    if value != int(value):
        raise InputError(
            say("{name} must be a whole number, not {shown}.", name=name, shown=shown),
            limit=rule,
            remedy=say("Remove the fraction."),
        )
    return int(value)


def _rule(limit: Limit) -> str:
    """The allowed values, as a sentence."""
    if limit.above is None:
        span = say("from {low:.16g} to {high:.16g}", low=limit.low, high=limit.high)
    else:
        span = say(
            "{zero:.16g} or from {low:.16g} to {high:.16g}",
            zero=limit.low,
            low=limit.above,
            high=limit.high,
        )
    if limit.whole:
        return say(
            "Allowed values: whole numbers {span}; {neutral}.",
            span=span,
            neutral=say(limit.neutral),
        )
    return say("Allowed values: {span}; {neutral}.", span=span, neutral=say(limit.neutral))


def _shorten(value: object) -> str:
    """``value`` as shown in a message."""
    try:
        text = repr(value)
    except ValueError:  # Python does not print integers of more than 4,300 digits
        return say("a very long number")
    return text if len(text) <= 40 else text[:40] + "…"
