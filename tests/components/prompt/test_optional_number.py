"""An empty number is none, and text that is no number goes on to be explained."""

from __future__ import annotations

from typing import Any

import pytest

from components.prompt.optional_number import OptionalNumber


@pytest.mark.parametrize("sent", [None, "", "  ", "\n"])
def test_empty_is_none(sent: str | None) -> None:
    assert OptionalNumber().preprocess(sent) is None


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        ("65536", 65536),
        (" 65,536 ", 65536),
        ("-5", -5),
        ("0", 0),
        ("0.5", 0.5),
        ("1e6", 1_000_000),
        ("１０２４", 1024),
        (1024, 1024),
    ],
)
def test_a_number_is_read_as_it_is_written(sent: Any, read: float) -> None:
    assert OptionalNumber().preprocess(sent) == read


@pytest.mark.parametrize("sent", ["many", "1,2,3", "65,53", ["1"]])
def test_what_is_no_number_stays_as_it_is(sent: Any) -> None:
    assert OptionalNumber().preprocess(sent) == sent


@pytest.mark.parametrize(
    ("value", "shown"), [(None, ""), (0, "0"), (65536, "65536"), (65536.0, "65536"), (0.5, "0.5")]
)
def test_a_value_is_shown_as_text(value: float | None, shown: str) -> None:
    box = OptionalNumber()
    assert box.postprocess(value) == shown
    assert box.preprocess(shown) == value
    assert OptionalNumber(value).value == shown
