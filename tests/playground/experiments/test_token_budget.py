"""The token-budget ladder: every rung matches the processor at that limit."""

from __future__ import annotations

from dataclasses import replace

import pytest

from playground.engine import Engine
from playground.errors import InputError, StageCancelled
from playground.experiments import token_budget
from playground.experiments.token_budget import (
    answer_rung,
    measure_prefill,
    read_boxes,
    token_ladder,
)
from playground.experiments.what_if_runs import greedy_answer
from playground.pipeline import Run
from playground.preprocess.stage import run_preprocess
from playground.prompt import Prompt, Turn
from tests.media_samples import make_image
from tests.playground.prompt_samples import PROMPTS


@pytest.mark.parametrize("kind", ["image", "max_pixels", "two_images", "video", "image_and_video"])
def test_each_rung_is_what_the_processor_does(engine: Engine, kind: str) -> None:
    inputs = run_preprocess(engine, PROMPTS[kind])
    ladder = token_ladder(engine, inputs)
    assert 4 <= len(ladder) <= 9
    assert sum(rung.is_current for rung in ladder) == 1
    limits = [rung.max_pixels for rung in ladder]
    assert limits == sorted(set(limits))
    for rung in ladder[::3]:
        again = run_preprocess(engine, replace(PROMPTS[kind], max_pixels=rung.max_pixels))
        assert rung.sizes == tuple(facts.resized_size for facts in again.media)
        assert rung.grids == tuple(facts.grid_thw for facts in again.media)
        assert rung.num_tokens == again.num_tokens
        assert rung.num_visual == sum(facts.num_tokens for facts in again.media)


def test_rungs_by_hand(tiny_random_engine: Engine) -> None:
    """An image of 640 x 480 is 300 tokens: the first limit above is 512, and one more."""
    inputs = run_preprocess(
        tiny_random_engine, Prompt((Turn("user", "a", (make_image(640, 480),)),))
    )
    ladder = token_ladder(tiny_random_engine, inputs)
    doubling = [rung.max_pixels // 1024 for rung in ladder if not rung.is_current]
    assert doubling == [8, 16, 32, 64, 128, 256, 512, 1024]
    by_limit = {rung.max_pixels: rung for rung in ladder}
    assert by_limit[512 * 1024].sizes == by_limit[1024 * 1024].sizes == ((640, 480),)
    assert by_limit[512 * 1024].num_visual == 300
    (current,) = (rung for rung in ladder if rung.is_current)
    assert current.max_pixels == 50_176
    assert current.num_tokens == inputs.num_tokens
    # 4 layers, key and value, 2 heads of 16 numbers of 4 bytes
    assert current.kv_bytes == inputs.num_tokens * 4 * 2 * 2 * 16 * 4
    assert current.window_share == inputs.num_tokens / 4096
    assert current.fits


def test_a_rung_that_does_not_fit(tiny_random_engine: Engine) -> None:
    prompt = Prompt((Turn("user", "a", (make_image(3000, 2000),)),))
    ladder = token_ladder(tiny_random_engine, run_preprocess(tiny_random_engine, prompt))
    assert [rung.fits for rung in ladder][-2:] == [False, False]
    assert ladder[0].fits
    with pytest.raises(InputError, match="context window"):
        measure_prefill(tiny_random_engine, prompt, ladder[-1].max_pixels)


def test_no_ladder_without_images(tiny_random_engine: Engine) -> None:
    assert (
        token_ladder(tiny_random_engine, run_preprocess(tiny_random_engine, PROMPTS["text"])) == ()
    )
    with pytest.raises(InputError, match="no image or video"):
        measure_prefill(tiny_random_engine, PROMPTS["text"], 4096)


def test_a_measurement(tiny_random_engine: Engine) -> None:
    calls: list[str] = []
    measured = measure_prefill(
        tiny_random_engine,
        PROMPTS["image"],
        4096,
        progress=lambda what, _done, _total: calls.append(what),
    )
    again = run_preprocess(tiny_random_engine, replace(PROMPTS["image"], max_pixels=4096))
    assert measured.num_tokens == again.num_tokens
    assert measured.vision_ms > 0
    assert measured.prefill_ms > 0
    assert measured.total_ms == measured.vision_ms + measured.prefill_ms
    assert {"vision block", "decoder layer"} <= set(calls)


def test_a_slow_measurement_is_not_repeated(
    tiny_random_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_budget, "ENOUGH_MS", 0.0)
    assert measure_prefill(tiny_random_engine, PROMPTS["image"], 4096).num_repeats == 1
    monkeypatch.setattr(token_budget, "ENOUGH_MS", 1e9)
    assert measure_prefill(tiny_random_engine, PROMPTS["image"], 4096).num_repeats == 3


def test_a_measurement_can_be_stopped(tiny_random_engine: Engine) -> None:
    def stop(_what: str, _done: int, _total: int) -> None:
        raise StageCancelled

    with pytest.raises(StageCancelled):
        measure_prefill(tiny_random_engine, PROMPTS["image"], 4096, progress=stop)


def test_the_answer_at_a_rung_is_that_of_a_run_with_its_limit(engine: Engine) -> None:
    prompt = replace(PROMPTS["image"], max_pixels=8192)
    answer = answer_rung(engine, PROMPTS["image"], 8192)
    run = Run(engine, prompt)
    trace = greedy_answer(
        engine, run.inputs, run.merged, run.decoded, max_new_tokens=token_budget.ANSWER_TOKENS
    )
    assert answer.text == trace.text
    assert answer.boxes == read_boxes(trace.text)


def test_the_boxes_of_an_answer() -> None:
    text = '[{"bbox_2d": [1, 2, 3, 4.5]}, {"point_2d": [5, 6]}, {"bbox_2d": [7, 8, 9, 10]}, {"bbox'
    assert read_boxes(text) == ((1, 2, 3, 4.5), (7, 8, 9, 10))
