"""generation_config.json as it is published: every value that means something is understood."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from components.tabs.sampling import side
from components.tabs.sampling.presets import preset_options
from playground.engine import Engine
from playground.pipeline import Run
from playground.sampling.generation_config import read_own_settings
from playground.sampling.trace import SamplingSettings
from tests.components.runs import make_run

FIELDS = ("do_sample", "temperature", "top_k", "top_p", "min_p", "repetition_penalty")


def engine_with(engine: Engine, **values: Any) -> Engine:
    """An engine with this generation config, as transformers loads it: unchecked."""
    config = SimpleNamespace(**{**dict.fromkeys(FIELDS), "do_sample": True, **values})
    model: Any = SimpleNamespace(generation_config=config)
    return replace(engine, model=model)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"top_k": -1}, {"top_k": 0}),  # vLLM's way of "off"
        ({"top_k": 0}, {"top_k": 0}),
        ({"top_k": 20.0}, {"top_k": 20}),
        ({"temperature": "0.7", "top_p": "0.8", "top_k": "20"}, {"temperature": 0.7, "top_p": 0.8}),
        ({"do_sample": "true", "temperature": 0.7}, {"temperature": 0.7, "top_k": 50}),
        ({"do_sample": False, "temperature": 0.7}, {"temperature": 0.0}),
        ({"do_sample": None, "temperature": 0.7}, {"temperature": 0.0}),
        ({"temperature": 0}, {"temperature": 0.0}),
        ({"no_repeat_ngram_size": "3"}, {"no_repeat_ngram_size": 3}),
        ({}, {"temperature": 1.0, "top_k": 50}),  # transformers' defaults
    ],
)
def test_values_that_mean_something(
    tiny_random_engine: Engine, values: dict[str, Any], expected: dict[str, Any]
) -> None:
    read = read_own_settings(engine_with(tiny_random_engine, **values))
    assert {name: getattr(read.settings, name) for name in expected} == expected
    assert read.notes == ()


def test_a_tiny_temperature_is_greedy_and_named(tiny_random_engine: Engine) -> None:
    # Qwen2.5-VL's generation_config.json.
    values = {"temperature": 1e-06, "top_k": 1, "top_p": 0.001, "repetition_penalty": 1.05}
    read = read_own_settings(engine_with(tiny_random_engine, **values))
    assert read.settings == SamplingSettings(
        temperature=0.0, top_k=1, top_p=0.001, repetition_penalty=1.05
    )
    assert read.notes == (
        "generation_config.json has temperature 1e-06, which is greedy in effect.",
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("repetition_penalty", 0),
        ("repetition_penalty", [1.1]),
        ("top_p", 1.5),
        ("top_k", 2.5),
        ("top_k", -2),
        ("min_p", -1),
        ("temperature", "hot"),
        ("temperature", float("nan")),
        ("temperature", float("inf")),
        ("top_p", True),
        ("no_repeat_ngram_size", -3),
    ],
)
def test_nonsense_is_named_and_the_rest_is_used(
    tiny_random_engine: Engine, name: str, value: Any
) -> None:
    given = {"temperature": 0.6, "top_k": 30, name: value}
    read = read_own_settings(engine_with(tiny_random_engine, **given))
    (note,) = read.notes
    assert note.startswith(f"generation_config.json has {name} {value!r}, which is not used.")
    assert "Allowed values" in note
    expected = SamplingSettings(temperature=0.6, top_k=30)
    neutral = getattr(SamplingSettings(), name)
    assert read.settings == replace(expected, **{name: neutral})


def test_the_page_offers_the_rest_and_says_so_once(tiny_random_engine: Engine) -> None:
    engine = engine_with(tiny_random_engine, temperature=0.6, top_k=-1, repetition_penalty=0)
    run: Run = make_run(engine)
    label, values = preset_options(run)[0]
    assert (label, values["temperature"], values["top-k"]) == ("Checkpoint default", 0.6, 0)
    assert side.own(run).count("repetition_penalty") == 1
    assert side.own(make_run(tiny_random_engine)) == ""
