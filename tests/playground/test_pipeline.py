"""Each stage once, no more than asked; and a store that stays within its bytes."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import torch

from playground.decoder import stage as decoder
from playground.engine import Engine
from playground.errors import InputError, StageCancelled
from playground.kv_cache.cache import cache_bytes
from playground.merge import stage as merge
from playground.pipeline import STAGES, Run, RunStore, Stage
from playground.preprocess import stage as preprocess
from playground.records import Picture, Prompt, Turn
from playground.vision import stage as vision
from tests.playground.prompt_samples import PROMPTS


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each stage was computed."""
    count: Counter[str] = Counter()

    def spy(module: Any, name: str, stage: str) -> None:
        real = getattr(module, name)

        def counted(*args: Any, **kwargs: Any) -> Any:
            count[stage] += 1
            return real(*args, **kwargs)

        monkeypatch.setattr(module, name, counted)

    spy(preprocess, "run_preprocess", "preprocess")
    spy(vision, "run_vision", "vision")
    spy(merge, "run_merge", "merge")
    spy(decoder, "run_decoder", "decoder")
    spy(decoder, "measure_parity", "parity")
    return count


@pytest.mark.parametrize("stage", STAGES)
def test_no_more_than_asked(tiny_random_engine: Engine, calls: Counter[str], stage: Stage) -> None:
    run = Run(tiny_random_engine, PROMPTS["image"])
    assert not any(run.has(name) for name in STAGES)
    run.ensure(stage)
    needed = STAGES[: STAGES.index(stage) + 1]
    assert calls == dict.fromkeys(needed, 1)
    assert [name for name in STAGES if run.has(name)] == list(needed)


def test_each_stage_once(tiny_random_engine: Engine, calls: Counter[str]) -> None:
    run = Run(tiny_random_engine, PROMPTS["image"])
    records = run.decoded, run.merged, run.vision, run.inputs, run.parity
    for stage in STAGES:
        run.ensure(stage)
    again = run.decoded, run.merged, run.vision, run.inputs, run.parity
    assert all(one is two for one, two in zip(records, again, strict=True))
    assert calls == {**dict.fromkeys(STAGES, 1), "parity": 1}


def test_each_stage_once_for_many_threads(tiny_random_engine: Engine, calls: Counter[str]) -> None:
    run = Run(tiny_random_engine, PROMPTS["image"])
    threads = [threading.Thread(target=run.ensure, args=("decoder",)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert calls == dict.fromkeys(STAGES, 1)


def ask(picture: Picture, text: str) -> Prompt:
    return Prompt(turns=(Turn("user", text, pictures=(picture,)),))


def test_another_question_on_the_same_picture_spares_the_tower(
    tiny_random_engine: Engine, calls: Counter[str], picture: Picture
) -> None:
    first = Run(tiny_random_engine, ask(picture, "What is it?"))
    first.ensure("decoder")
    second = Run(tiny_random_engine, ask(picture, "Where is it?"), earlier=first)
    assert second.vision is first.vision
    assert calls["vision"] == 1
    alone = Run(tiny_random_engine, second.prompt)
    assert torch.equal(second.decoded.logits, alone.decoded.logits)


def test_another_picture_does_not(
    tiny_random_engine: Engine, calls: Counter[str], picture: Picture
) -> None:
    first = Run(tiny_random_engine, ask(picture, "What is it?"))
    first.ensure("vision")
    changed = picture.pixels.copy()
    changed[0, 0] ^= 255
    second = Run(tiny_random_engine, ask(Picture(changed), "What is it?"), earlier=first)
    second.ensure("vision")
    without = Run(tiny_random_engine, PROMPTS["text"], earlier=first)
    assert without.vision.image is None
    assert calls["vision"] == 3


def test_an_earlier_run_that_did_not_get_so_far(
    tiny_random_engine: Engine, calls: Counter[str], picture: Picture
) -> None:
    first = Run(tiny_random_engine, ask(picture, "What is it?"))
    first.ensure("preprocess")
    Run(tiny_random_engine, first.prompt, earlier=first).ensure("vision")
    assert calls["vision"] == 1


def test_a_failed_stage_keeps_the_earlier_ones(
    tiny_random_engine: Engine, calls: Counter[str]
) -> None:
    run = Run(tiny_random_engine, PROMPTS["image"])

    def stop(what: str, done: int, total: int) -> None:
        if what == "decoder layer" and done == 1:
            raise StageCancelled

    with pytest.raises(StageCancelled):
        run.ensure("decoder", stop)
    assert run.has("merge")
    assert not run.has("decoder")
    run.ensure("decoder")
    assert calls == {"preprocess": 1, "vision": 1, "merge": 1, "decoder": 2}


def test_progress_names_the_stages(tiny_random_engine: Engine) -> None:
    run = Run(tiny_random_engine, PROMPTS["text"])
    run.ensure("vision")
    steps: list[tuple[str, int, int]] = []
    run.ensure("decoder", lambda *step: steps.append(step))
    assert steps[:2] == [("merge", 2, 4), ("decoder", 3, 4)]
    assert steps[2] == ("decoder layer", 0, 5)


def test_bytes_are_those_of_the_tensors(tiny_random_engine: Engine) -> None:
    run = Run(tiny_random_engine, PROMPTS["two_images"])
    assert run.num_bytes == 0
    run.ensure("preprocess")
    pixels = run.inputs.pixel_values
    assert pixels is not None
    pictures = sum(picture.pixels.nbytes for picture in run.prompt.pictures)
    ids = 3 * run.inputs.num_tokens * 8
    assert run.num_bytes == pixels.nbytes + pictures + ids + 2 * 3 * 8
    before = run.num_bytes
    run.ensure("decoder")
    cache = sum(
        layer.keys.nbytes + layer.values.nbytes for layer in run.decoded.past_key_values.layers
    )
    assert run.num_bytes > before + cache


def test_what_records_share_counts_once(tiny_random_engine: Engine) -> None:
    """The merge hands the tower's DeepStack features on as they are."""
    run = Run(tiny_random_engine, PROMPTS["image"])
    run.ensure("vision")
    before = run.num_bytes
    run.ensure("merge")
    merged = run.merged
    tower = run.vision.image
    assert tower is not None
    assert merged.deepstack_visual_embeds is tower.deepstack_features
    own = (
        merged.token_embeds,
        merged.inputs_embeds,
        merged.visual_pos_masks,
        merged.position_ids,
        merged.rope_deltas,
    )
    assert run.num_bytes - before == sum(t.nbytes for t in own if t is not None)


def test_bytes_of_a_mixture_count_its_routes(tiny_random_moe_engine: Engine) -> None:
    """The record of the routes has layers, as a cache has, and is none."""
    run = Run(tiny_random_moe_engine, PROMPTS["image"])
    run.ensure("decoder")
    decoded = run.decoded
    assert decoded.experts is not None
    without = Run(tiny_random_moe_engine, PROMPTS["image"])
    without.adopt({**run.export().records, "decoder": replace(decoded, experts=None)})
    routes = decoded.experts.ids.nbytes + decoded.experts.weights.nbytes
    assert run.num_bytes - without.num_bytes == routes > 0
    assert without.num_bytes > cache_bytes(decoded.past_key_values) > 0


class Sized:
    """A run of a given size."""

    def __init__(self, num_bytes: int) -> None:
        self.num_bytes = num_bytes


def fill(store: RunStore, *sizes: int) -> list[str]:
    return [store.add(Sized(size)) for size in sizes]  # type: ignore[arg-type]


def held(store: RunStore, keys: list[str]) -> list[int]:
    return [index for index, key in enumerate(keys) if store.peek(key) is not None]


def test_the_least_recently_used_run_goes_first() -> None:
    store = RunStore(max_bytes=100)
    keys = fill(store, 40, 40, 40)
    store.get(keys[0])
    store.trim()
    assert held(store, keys) == [0, 2]
    with pytest.raises(InputError, match=r"no longer held.*Press Run again"):
        store.get(keys[1])


def test_looking_without_using_does_not_count() -> None:
    store = RunStore(max_bytes=100)
    keys = fill(store, 40, 40, 40)
    store.peek(keys[0])
    store.trim()
    assert held(store, keys) == [1, 2]


def test_within_the_budget_all_stay() -> None:
    store = RunStore(max_bytes=100)
    keys = fill(store, 50, 50)
    store.trim()
    assert held(store, keys) == [0, 1]
    assert len(store) == 2


def test_the_newest_run_always_stays() -> None:
    store = RunStore(max_bytes=10)
    keys = fill(store, 5, 500)
    store.trim()
    assert held(store, keys) == [1]


def test_a_pinned_run_is_never_dropped() -> None:
    store = RunStore(max_bytes=100)
    pinned = store.add(Sized(90), pinned=True)  # type: ignore[arg-type]
    keys = fill(store, 40, 40)
    store.trim()
    store.discard(pinned)
    assert store.get(pinned).num_bytes == 90
    assert held(store, keys) == [1]


def test_discarding() -> None:
    store = RunStore()
    keys = fill(store, 1, 1)
    store.discard(keys[0])
    store.discard("unknown")
    store.discard(None)
    assert held(store, keys) == [1]


@pytest.mark.parametrize("key", [None, "", "unknown"])
def test_unknown_keys(key: str | None) -> None:
    store = RunStore(max_bytes=5 << 20)
    fill(store, 1)
    assert store.peek(key) is None
    with pytest.raises(InputError, match="share 5 MB"):
        store.get(key)


def test_keys_cannot_be_guessed() -> None:
    keys = fill(RunStore(), *[1] * 50)
    assert len(set(keys)) == 50
    assert min(len(key) for key in keys) >= 20


def test_trimming_real_runs(tiny_random_engine: Engine) -> None:
    first, second = (Run(tiny_random_engine, PROMPTS[kind]) for kind in ("image", "text"))
    first.ensure("decoder")
    second.ensure("decoder")
    store = RunStore(max_bytes=first.num_bytes)
    keys = [store.add(first), store.add(second)]
    store.trim()
    assert held(store, keys) == [1]
    assert torch.isfinite(store.get(keys[1]).decoded.logits).all()
