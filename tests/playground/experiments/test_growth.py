"""One more token of a growing text, with the cache and without."""

from __future__ import annotations

from typing import Any

import pytest

from playground.capture import capture_inputs
from playground.engine import Engine
from playground.errors import InputError, StageCancelled
from playground.experiments.growth import growth_lengths, measure_growth
from playground.pipeline import Run
from tests.playground.kv_cache.request_pairs import RED, TOLERANCE, one


def test_lengths_of_a_growing_text() -> None:
    assert growth_lengths(10, 640) == (10, 20, 40, 80, 160, 320, 640)
    assert growth_lengths(50, 20) == (50,)


def test_growth_is_the_same_text_both_ways(engine: Engine) -> None:
    run = Run(engine, one("Describe it.", RED))
    start = run.inputs.num_tokens
    lengths = (start, start + 7, start + 60)
    points = list(measure_growth(engine, run.inputs, run.merged, lengths, repeats=2))
    per_token = engine.facts.kv_bytes_per_token(engine.dtype)
    assert tuple(point.num_tokens for point in points) == lengths
    for point in points:
        assert point.cache_bytes == point.num_tokens * per_token
        assert point.max_abs_diff <= TOLERANCE
        assert len(point.cached_ms) == len(point.full_ms) == 2
        assert min(point.cached_ms + point.full_ms) > 0


def test_growth_stops_and_refuses(tiny_random_engine: Engine) -> None:
    run = Run(tiny_random_engine, one("Hi"))

    def stop(_what: str, done: int, total: int) -> None:
        assert total == 2 * (2 + 2 * 3)
        if done == 5:
            raise StageCancelled

    def measure(lengths: tuple[int, ...], **options: Any) -> None:
        list(measure_growth(run.engine, run.inputs, run.merged, lengths, **options))

    with pytest.raises(StageCancelled):
        measure((20, 30), progress=stop)
    for lengths, repeats in (((), 1), ((3,), 1), ((4096,), 1), ((20,), 0), ((20,), 21)):
        with pytest.raises(InputError):
            measure(lengths, repeats=repeats)


@pytest.mark.parametrize("allowed", [0, 1, 5])
def test_growth_stops_before_any_layer(tiny_random_engine: Engine, allowed: int) -> None:
    """A forward over thousands of tokens takes seconds, which a stop must not wait for."""
    run = Run(tiny_random_engine, one("Hi"))
    layers: Any = run.engine.model.model.language_model.layers
    run.ensure("decoder")
    asked: list[int] = []

    def stop(_what: str, done: int, _total: int) -> None:
        asked.append(done)
        if len(asked) > allowed:
            raise StageCancelled

    with capture_inputs(layers) as entered, pytest.raises(StageCancelled):
        list(measure_growth(run.engine, run.inputs, run.merged, (20,), progress=stop))
    assert len(entered) == len(asked) == allowed + 1  # stopped at that layer's door
