"""Controls: what the browser is told, and what is made of its raw values."""

from __future__ import annotations

import math
from typing import Any

import pytest

from components.parts.compound_controls import Choices, Clicked, Presets, Rows
from components.parts.controls import (
    Choice,
    Control,
    IndexSlider,
    Number,
    Slider,
    TextField,
    Toggle,
)
from playground.errors import InputError

RUN: Any = type("FiveLayers", (), {"num_layers": 5})()

LAYER = IndexSlider("layer", "Layer", last=lambda run: run.num_layers - 1, value=2)
GAIN = Slider(id="gain", label="Gain", low=0, high=2, step=0.1, value=1)
FOLLOWS = Slider(id="first", label="First", high=9, follows=True)
SEED = Number(id="seed", label="Seed", value=7, low=0)
LIMIT = Number(id="limit", label="Limit", low=10, high=20)
WORD = TextField(id="word", label="Word", value="red", max_chars=5)
IS_ON = Toggle(id="on", label="On")
KIND = Choice(id="kind", label="Kind", options=(("As it is", "raw"), ("Less", "less")))
HEAD = Choice(
    id="head", label="Head", options=lambda run: [(f"h{n}", n) for n in range(run.num_layers)]
)
SKIPPED = Choices(id="skipped", label="Skipped", options=(("a", 0), ("b", 1)))
ROWS = Rows(id="rows", label="Rows", fields=(GAIN, SEED), low=1, high=3, value=({}, {"gain": 0}))


@pytest.mark.parametrize(
    ("control", "raw", "value"),
    [
        (LAYER, None, 2),
        (LAYER, 4, 4),
        (LAYER, 4.0, 4),
        (GAIN, None, 1),
        (GAIN, 0.5, 0.5),
        (FOLLOWS, None, None),
        (FOLLOWS, 3, 3),
        (SEED, "", 7),
        (SEED, 0, 0),
        (LIMIT, None, None),
        (LIMIT, "", None),
        (LIMIT, 10, 10),
        (WORD, None, "red"),
        (WORD, "", ""),
        (IS_ON, None, False),
        (IS_ON, True, True),
        (KIND, None, "raw"),
        (KIND, "less", "less"),
        (HEAD, None, 0),
        (HEAD, 4, 4),
        (SKIPPED, None, ()),
        (SKIPPED, [1, 0], (1, 0)),
        (ROWS, None, ({"gain": 1, "seed": 7}, {"gain": 0, "seed": 7})),
        (ROWS, [{"seed": "x", "other": 1}], ({"gain": 1, "seed": "x"},)),
    ],
)
def test_a_value_becomes_python_s(control: Control, raw: Any, value: Any) -> None:
    parsed = control.parse(raw, RUN)
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ("control", "raw"),
    [
        (LAYER, 5),
        (LAYER, -1),
        (LAYER, 1.5),
        (LAYER, True),
        (LAYER, "1"),
        (GAIN, math.nan),
        (GAIN, 2.1),
        (LIMIT, 9),
        (LIMIT, [10]),
        (WORD, "orange"),
        (WORD, 5),
        (IS_ON, 1),
        (KIND, "more"),
        (KIND, ["raw"]),
        (HEAD, 5),
        (HEAD, "0"),
        (HEAD, True),
        (SKIPPED, 1),
        (SKIPPED, [0, 2]),
        (SKIPPED, [0] * 65),
        (ROWS, []),
        (ROWS, [{}, {}, {}, {}]),
        (ROWS, [1]),
        (ROWS, "rows"),
    ],
)
def test_what_a_control_does_not_offer_is_refused(control: Control, raw: Any) -> None:
    with pytest.raises(InputError):
        control.parse(raw, RUN)


@pytest.mark.parametrize("control", [LAYER, GAIN, SEED, WORD, IS_ON, KIND, HEAD, SKIPPED, ROWS])
def test_the_default_that_the_browser_shows_is_the_one_that_counts(control: Control) -> None:
    spec = control.spec(RUN)
    assert spec is not None
    sent = control.parse(spec["value"], RUN)
    assert sent == control.parse(None, RUN)


def test_the_browser_is_sent_the_bounds_of_this_run() -> None:
    spec = LAYER.spec(RUN)
    assert spec is not None
    assert (spec["low"], spec["high"], spec["step"], spec["value"]) == (0, 4, 1, 2)
    small: Any = type("TwoLayers", (), {"num_layers": 2})()
    shrunk = LAYER.spec(small)
    assert shrunk is not None
    assert (shrunk["high"], shrunk["value"]) == (1, 1)


def test_a_control_that_a_run_has_no_use_for_is_not_shown() -> None:
    hidden = Toggle(id="on", label="On", shown=lambda run: run.num_layers > 9)
    assert hidden.spec(RUN) is None


def test_presets_and_clicks() -> None:
    presets = Presets(id="p", label="Start from", options=(("None", {"gain": 0}),), then="run")
    spec = presets.spec(RUN)
    assert spec is not None
    assert spec["options"] == [["None", {"gain": 0}]]
    assert presets.parse(None, RUN) is None
    clicked = Clicked(id="chosen", read=lambda raw, run: raw + run.num_layers, value=1)
    assert (clicked.parse(None, RUN), clicked.parse(2, RUN)) == (1, 7)


def test_values_in_words() -> None:
    assert KIND.words("less", RUN) == "Less"
    assert SKIPPED.words((0, 1), RUN) == "a, b"
    assert SKIPPED.words((), RUN) == "–"
    assert IS_ON.words(True, RUN) == "✓"
    assert GAIN.words(0.5, RUN) == "0.5"


def test_half_a_character_is_refused() -> None:
    with pytest.raises(InputError, match="unpaired surrogate"):
        WORD.parse("a\ud800", RUN)
    assert WORD.parse("\U0001f600", RUN) == "\U0001f600"
