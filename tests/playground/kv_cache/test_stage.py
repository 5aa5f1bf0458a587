"""A continuation on a cache against the same request computed from scratch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from transformers import DynamicCache

from playground.cache import (
    crop_cache,
    fork_cache,
)
from playground.capture import capture_inputs
from playground.decoder.stage import run_decoder
from playground.engine import Engine
from playground.errors import InputError, StageCancelled
from playground.kv_cache.block_hash import identify
from playground.kv_cache.partial_prefill import prefill_on
from playground.kv_cache.shared_prefix import reusable_tokens, shared_prefix
from playground.kv_cache.stage import rest_of, run_cache_reuse, serve_rest
from playground.merge.stage import run_merge
from playground.preprocess.stage import run_preprocess
from playground.prompt import Prompt, Turn
from playground.records import DecoderOutput, MergedInputs, ModelInputs
from playground.sampling.paths import decode_step
from playground.vision.stage import run_vision
from tests.playground.kv_cache.request_pairs import (
    PAIRS,
    RED,
    TALL,
    TOLERANCE,
    VIDEO,
    WIDE,
    one,
    user,
)


@dataclass(frozen=True, eq=False)
class Prefilled:
    """One request computed from scratch."""

    inputs: ModelInputs
    merged: MergedInputs
    output: DecoderOutput

    @property
    def cache(self) -> DynamicCache:
        return self.output.cache


Prefill = Callable[[Engine, Prompt], Prefilled]


@pytest.fixture(scope="module")
def prefill() -> Prefill:
    """Runs the first four stages, once per engine and prompt."""
    done: dict[tuple[int, int], Prefilled] = {}

    def run(engine: Engine, prompt: Prompt) -> Prefilled:
        key = (id(engine), id(prompt))
        if key not in done:
            inputs = run_preprocess(engine, prompt)
            merged = run_merge(engine, inputs, run_vision(engine, inputs))
            done[key] = Prefilled(inputs, merged, run_decoder(engine, inputs, merged))
        return done[key]

    return run


@contextmanager
def unchanged(engine: Engine, *requests: Prefilled) -> Iterator[None]:
    """The records' caches and the shared ``rope_deltas`` stay as they are."""
    inner: Any = engine.model.model
    before, poison = inner.rope_deltas, torch.tensor([[-977]])
    inner.rope_deltas = poison
    layers: list[Any] = [layer for request in requests for layer in request.cache.layers]
    tensors = [(layer.keys, layer.values) for layer in layers]
    copies = [(keys.clone(), values.clone()) for keys, values in tensors]
    try:
        yield
        assert inner.rope_deltas is poison
        for layer, held, copied in zip(layers, tensors, copies, strict=True):
            assert layer.keys is held[0]
            assert layer.values is held[1]
            assert torch.equal(layer.keys, copied[0])
            assert torch.equal(layer.values, copied[1])
    finally:
        inner.rope_deltas = before


def go_on(engine: Engine, case: Prefilled, cache: DynamicCache, start: int) -> torch.Tensor:
    """The logits by the lab's own prefill, which may start inside an image."""
    return prefill_on(engine, case.inputs, identify(case.inputs), cache, start)[0]


def difference(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return float((ours - theirs).abs().max())


# --------------------------------------------------------------------------- hit = miss


@pytest.mark.parametrize("name", PAIRS)
def test_continuation_equals_full_computation(engine: Engine, prefill: Prefill, name: str) -> None:
    first, second = (prefill(engine, prompt) for prompt in PAIRS[name][:2])
    reused = reusable_tokens(second.inputs, shared_prefix(first.inputs, second.inputs)[0])
    assert 0 < reused < second.inputs.num_tokens
    with unchanged(engine, first, second):
        staged = go_on(engine, second, crop_cache(first.cache, reused), reused)
        served = serve_rest(engine, second.inputs, crop_cache(first.cache, reused), reused)
    assert difference(staged, second.output.logits) <= TOLERANCE
    assert difference(served, second.output.logits) <= TOLERANCE


def test_wrong_image_prefix_would_give_other_logits(engine: Engine, prefill: Prefill) -> None:
    """What the images' digests are for: on token ids alone this would have been a hit."""
    first, second = (prefill(engine, each) for each in PAIRS["other image, same ids"][:2])
    start = second.inputs.num_tokens - 1
    wrong = go_on(engine, second, crop_cache(first.cache, start), start)
    assert difference(wrong, second.output.logits) > 10 * TOLERANCE


@pytest.mark.parametrize("name", ["image and video, other video", "second of two images differs"])
def test_continuation_from_every_kind_of_place(
    tiny_random_engine: Engine, prefill: Prefill, name: str
) -> None:
    """With explicit positions even a start inside an image is exact, given its features."""
    case = prefill(tiny_random_engine, PAIRS[name][0])
    spans = case.inputs.spans
    starts = {0, 1, case.inputs.num_tokens - 1}
    starts |= {edge + step for span in spans for edge in (span.start, span.end) for step in (0, 1)}
    whole = fork_cache(case.cache)
    for start in sorted(starts):
        cache = crop_cache(whole, start)
        logits = go_on(tiny_random_engine, case, cache, start)
        assert difference(logits, case.output.logits) <= TOLERANCE
        assert cache.get_seq_length() == case.inputs.num_tokens


def test_decoding_goes_on_after_a_hit(engine: Engine, prefill: Prefill) -> None:
    first, second = (
        prefill(engine, each) for each in PAIRS["second image after a cached first"][:2]
    )
    reused = reusable_tokens(second.inputs, shared_prefix(first.inputs, second.inputs)[0])
    hit, miss = crop_cache(first.cache, reused), fork_cache(second.cache)
    logits = serve_rest(engine, second.inputs, hit, reused)
    position = second.inputs.num_tokens + int(second.merged.rope_deltas)
    for step in range(8):
        token = logits.argmax().view(1, 1)
        positions = torch.full((3, 1, 1), position + step)
        logits = decode_step(engine, hit, token, positions)[0]
        assert difference(logits, decode_step(engine, miss, token, positions)[0]) <= TOLERANCE


def test_rest_holds_only_its_images(tiny_random_engine: Engine) -> None:
    prompt = Prompt((user("a", WIDE, TALL, video=VIDEO), Turn("assistant", "b"), user("c", RED)))
    inputs = run_preprocess(tiny_random_engine, prompt)
    first, second, early, late, third = inputs.spans
    assert inputs.image_grid_thw is not None
    assert inputs.video_grid_thw is not None
    grids, (video_grid,) = inputs.image_grid_thw.tolist(), inputs.video_grid_thw.tolist()

    def media(start: int) -> tuple[list[list[int]], list[list[int]]]:
        rest = rest_of(inputs, start)
        found = []
        for pixels, grid in (
            (rest.pixel_values, rest.image_grid_thw),
            (rest.pixel_values_videos, rest.video_grid_thw),
        ):
            assert (pixels is None) == (grid is None)
            if pixels is not None and grid is not None:
                assert len(pixels) == int(grid.prod(-1).sum())
            found.append([] if grid is None else grid.tolist())
        return found[0], found[1]

    one_frame = [1, *video_grid[1:]]
    assert media(0) == (grids, [video_grid])
    assert media(first.end) == media(second.start) == (grids[1:], [video_grid])
    assert media(second.end) == media(early.start) == (grids[2:], [video_grid])
    assert media(early.end) == media(late.start) == (grids[2:], [one_frame])
    assert media(late.end) == media(third.start) == (grids[2:], [])
    assert media(third.end) == ([], [])
    assert inputs.video_grid_thw.tolist() == [video_grid]
    with pytest.raises(InputError, match="inside an image"):
        rest_of(inputs, second.start + 1)


def test_start_must_match_the_cache(tiny_random_engine: Engine, prefill: Prefill) -> None:
    case = prefill(tiny_random_engine, PAIRS["same request"][0])
    length = case.inputs.num_tokens
    with pytest.raises(InputError, match="the last one must be computed"):
        serve_rest(tiny_random_engine, case.inputs, fork_cache(case.cache), length)
    with pytest.raises(InputError, match=rf"holds {length} tokens, not 3"):
        serve_rest(tiny_random_engine, case.inputs, fork_cache(case.cache), 3)


# --------------------------------------------------------------------------- the experiment


@pytest.mark.parametrize("name", PAIRS)
def test_cache_reuse(engine: Engine, prefill: Prefill, name: str) -> None:
    first, second = (prefill(engine, prompt) for prompt in PAIRS[name][:2])
    with unchanged(engine, first, second):
        reuse = run_cache_reuse(engine, first.inputs, second.inputs, repeats=2)
    assert (reuse.shared_tokens, reuse.reason) == shared_prefix(first.inputs, second.inputs)
    assert reuse.hit
    assert reuse.reused_tokens == reusable_tokens(second.inputs, reuse.shared_tokens)
    assert reuse.computed_tokens >= 1
    assert reuse.max_abs_diff <= TOLERANCE
    assert reuse.max_abs_diff == difference(reuse.hit_logits, reuse.miss_logits)
    assert difference(reuse.miss_logits, second.output.logits) <= TOLERANCE
    assert reuse.next_token.id == int(second.output.logits.argmax())
    assert len(reuse.miss_ms) == len(reuse.hit_ms) == 2
    assert min(reuse.miss_ms + reuse.hit_ms) > 0
    per_token = engine.facts.kv_bytes_per_token(engine.dtype)
    assert reuse.kv_bytes == reuse.reused_tokens * per_token


def test_nothing_shared_is_a_miss(tiny_random_engine: Engine) -> None:
    first = run_preprocess(tiny_random_engine, one("Hello"))
    second = run_preprocess(tiny_random_engine, one("Hello", RED))
    other_ids = first.input_ids.clone()
    other_ids[0, 0] += 1
    reuse = run_cache_reuse(
        tiny_random_engine, replace(first, input_ids=other_ids), second, repeats=1
    )
    assert (reuse.hit, reuse.shared_tokens, reuse.kv_bytes) == (False, 0, 0)
    assert reuse.computed_tokens == second.num_tokens
    assert reuse.max_abs_diff == 0


@pytest.mark.parametrize(
    ("name", "num_passes"),
    [("same image, other question", 0), ("second image after a cached first", 1)],
)
def test_hit_runs_the_tower_only_for_new_images(
    tiny_random_engine: Engine, prefill: Prefill, name: str, num_passes: int
) -> None:
    first, second = (prefill(tiny_random_engine, prompt) for prompt in PAIRS[name][:2])
    reused = reusable_tokens(second.inputs, shared_prefix(first.inputs, second.inputs)[0])
    model: Any = tiny_random_engine.model
    with tiny_random_engine.exclusive(), capture_inputs([model.model.visual]) as passes:
        serve_rest(tiny_random_engine, second.inputs, crop_cache(first.cache, reused), reused)
    assert len(passes) == num_passes
    if passes:
        assert len(passes[0]) == second.inputs.spans[-1].num_patches


def test_progress_is_reported_before_every_forward(tiny_random_engine: Engine) -> None:
    first, second = (run_preprocess(tiny_random_engine, each) for each in PAIRS["text prefix"][:2])
    reports: list[tuple[str, int, int]] = []

    def report(what: str, done: int, total: int) -> None:
        reports.append((what, done, total))
        if done == 5:
            raise StageCancelled

    with pytest.raises(StageCancelled):
        run_cache_reuse(tiny_random_engine, first, second, repeats=3, progress=report)
    assert [what for what, _, _ in reports] == [
        "first request",
        "miss",
        "hit",
        "hit",
        "miss",
        "miss",
    ]
    assert [(done, total) for _, done, total in reports] == [(done, 9) for done in range(6)]


@pytest.mark.parametrize("repeats", [0, 51])
def test_number_of_repeats_is_limited(tiny_random_engine: Engine, repeats: int) -> None:
    inputs = run_preprocess(tiny_random_engine, PAIRS["text prefix"][0])
    with pytest.raises(InputError, match=f"`repeats` is {repeats}"):
        run_cache_reuse(tiny_random_engine, inputs, inputs, repeats=repeats)
