"""Checks for raw values from clients: text and numbers within bounds.

A client can make a slider send NaN, a text box send a list, and the API receive any JSON.
"""

from __future__ import annotations

import math
from typing import Any

from playground.errors import InputError
from playground.language import say


def check_text(name: str, value: Any) -> str:
    """Return the text unchanged; ``None`` becomes an empty string.

    Raises:
        InputError: the value is not a string.
    """
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InputError(
            say("{name} must be text, not {kind}.", name=name, kind=kind_words(value)),
            remedy=say("Send a string."),
        )
    return value


def check_number(
    name: str, value: Any, *, low: float | None = None, high: float | None = None
) -> float:
    """Check that a value is a finite number within bounds.

    Args:
        name: used in the error message.
        value: any value that a client sent.
        low: smallest value accepted.
        high: largest value accepted.

    Raises:
        InputError: the value is not a number, not finite, or out of bounds.
    """
    bounds = _bounds(low, high)
    # bool is an int in Python, but nobody who sends `true` means a number.
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(
            say("{name} must be a number, not {kind}.", name=name, kind=kind_words(value)),
            limit=bounds,
        )
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(
            say("{name} must be a finite number, not {value}.", name=name, value=value),
            limit=bounds,
        )
    if (low is not None and value < low) or (high is not None and value > high):
        raise InputError(
            say("{name} is {value}.", name=name, value=_short(value)),
            limit=bounds,
            remedy=say("Choose a value in that range."),
        )
    return value


def check_whole(name: str, value: Any, *, low: int | None = None, high: int | None = None) -> int:
    """Check for a whole number within bounds; ``3.0`` is one, since JSON has one number type.

    Raises:
        InputError: as ``check_number``, or the number has a fraction.
    """
    number = check_number(name, value, low=low, high=high)
    if number != int(number):
        raise InputError(
            say("{name} is {value}.", name=name, value=_short(number)),
            limit=say("It must be a whole number."),
        )
    return int(number)


def _short(value: float) -> str:
    # A whole number in JSON may have thousands of digits, more than Python prints.
    return f"{value:,}" if abs(value) < 10**15 else say("a number of more than 15 digits")


def _bounds(low: float | None, high: float | None) -> str:
    if low is not None and high is not None:
        return say("It must be between {low:,} and {high:,}.", low=low, high=high)
    if low is not None:
        return say("It must be at least {low:,}.", low=low)
    return "" if high is None else say("It must be at most {high:,}.", high=high)


def kind_words(value: Any) -> str:
    """The kind of value that a client sent, without quoting the value."""
    names = {
        type(None): say("empty"),
        bool: say("a Boolean"),
        int: say("a number"),
        float: say("a number"),
        str: say("text"),
        list: say("a list"),
        dict: say("an object"),
    }
    return names.get(type(value), say("a {type}", type=type(value).__name__))
