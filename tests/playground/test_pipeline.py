"""Each stage once, no more than asked; what is worked out besides is made once and counted."""

from __future__ import annotations

import threading
import weakref
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from playground.cache import cache_bytes
from playground.decoder import stage as decoder
from playground.engine import Engine
from playground.errors import StageCancelled
from playground.merge import stage as merge
from playground.pipeline import STAGES, Run, Stage
from playground.preprocess import stage as preprocess
from playground.prompt import Prompt, PromptImage, Turn
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


def ask(image: PromptImage, text: str) -> Prompt:
    return Prompt(turns=(Turn("user", text, images=(image,)),))


def test_another_question_on_the_same_image_spares_the_tower(
    tiny_random_engine: Engine, calls: Counter[str], image: PromptImage
) -> None:
    first = Run(tiny_random_engine, ask(image, "What is it?"))
    first.ensure("decoder")
    second = Run(tiny_random_engine, ask(image, "Where is it?"), earlier=first)
    assert second.vision is first.vision
    assert calls["vision"] == 1
    alone = Run(tiny_random_engine, second.prompt)
    assert torch.equal(second.decoded.logits, alone.decoded.logits)


def test_another_image_does_not(
    tiny_random_engine: Engine, calls: Counter[str], image: PromptImage
) -> None:
    first = Run(tiny_random_engine, ask(image, "What is it?"))
    first.ensure("vision")
    changed = image.pixels.copy()
    changed[0, 0] ^= 255
    second = Run(tiny_random_engine, ask(PromptImage(changed), "What is it?"), earlier=first)
    second.ensure("vision")
    without = Run(tiny_random_engine, PROMPTS["text"], earlier=first)
    assert without.vision.image is None
    assert calls["vision"] == 3


def test_an_earlier_run_that_did_not_get_so_far(
    tiny_random_engine: Engine, calls: Counter[str], image: PromptImage
) -> None:
    first = Run(tiny_random_engine, ask(image, "What is it?"))
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
    images = sum(image.pixels.nbytes for image in run.prompt.images)
    assert run.num_bytes == images
    run.ensure("preprocess")
    pixels = run.inputs.pixel_values
    assert pixels is not None
    ids = 3 * run.inputs.num_tokens * 8
    assert run.num_bytes == pixels.nbytes + images + ids + 2 * 3 * 8
    before = run.num_bytes
    run.ensure("decoder")
    cache = sum(layer.keys.nbytes + layer.values.nbytes for layer in run.decoded.cache.layers)
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
    assert without.num_bytes > cache_bytes(decoded.cache) > 0


def test_a_memo_is_made_once_for_many_threads(tiny_random_engine: Engine) -> None:
    run, made = Run(tiny_random_engine, PROMPTS["text"]), []
    begun, go_on = threading.Event(), threading.Event()

    def make() -> int:
        begun.set()
        go_on.wait(20)
        made.append(1)
        return run.memo("inner", lambda: 7)  # one may need another

    found: list[int] = []
    ask = [threading.Thread(target=lambda: found.append(run.memo("it", make))) for _ in range(4)]
    for thread in ask:
        thread.start()
    assert begun.wait(20)
    assert run.recall("it") is None
    assert run.memo("another", lambda: 1) == 1  # nobody waits for what is made beside it
    go_on.set()
    for thread in ask:
        thread.join(20)
    assert (found, made, run.recall("it")) == ([7] * 4, [1], 7)


def test_who_waits_for_a_memo_can_be_stopped(tiny_random_engine: Engine) -> None:
    run = Run(tiny_random_engine, PROMPTS["text"])
    begun, go_on = threading.Event(), threading.Event()
    maker = threading.Thread(
        target=lambda: run.memo("it", lambda: (begun.set(), go_on.wait(20))), daemon=True
    )
    maker.start()
    assert begun.wait(20)

    def stop(_what: str, _done: int, _total: int) -> None:
        raise StageCancelled

    with pytest.raises(StageCancelled):
        run.memo("it", lambda: 0, progress=stop)
    go_on.set()
    maker.join(20)
    assert run.recall("it") == (None, True)


def test_a_memo_that_fails_is_made_again(tiny_random_engine: Engine) -> None:
    run = Run(tiny_random_engine, PROMPTS["text"])
    with pytest.raises(ZeroDivisionError):
        run.memo("it", lambda: 1 // 0)
    assert run.recall("it") is None
    assert run.memo("it", lambda: 2) == 2
    assert run.memo("it", lambda: 3) == 2


def test_only_the_latest_of_many_is_kept(tiny_random_engine: Engine) -> None:
    run = Run(tiny_random_engine, PROMPTS["text"])
    before = run.num_bytes
    for of in (1, 1, 2):
        kept = run.memo("picture", lambda of=of: np.full(1000, of, np.uint8), of=of)  # type: ignore[misc]
        assert kept[0] == of
        assert run.num_bytes == before + 1000


def test_a_further_run_counts_as_it_grows(tiny_random_engine: Engine, image: PromptImage) -> None:
    run = Run(tiny_random_engine, ask(image, "What is it?"))
    run.ensure("decoder")
    sizes: list[int] = []
    run.on_growth = lambda: sizes.append(run.num_bytes)
    before = run.num_bytes
    other = run.memo("other", lambda: Run(run.engine, ask(image, "Where is it?"), earlier=run))
    assert sizes == [before]  # the tower's output and the image are the same ones
    other.ensure("decoder")
    assert sizes == sorted(sizes)
    assert sizes[-1] == run.num_bytes > before + other.decoded.logits.nbytes


def test_a_further_run_goes_with_its_owner(tiny_random_engine: Engine) -> None:
    run = Run(tiny_random_engine, PROMPTS["text"])
    gone = weakref.ref(run.memo("other", lambda: Run(tiny_random_engine, PROMPTS["image"])))
    assert gone() is not None
    del run
    assert gone() is None  # at once: no cycle holds it
