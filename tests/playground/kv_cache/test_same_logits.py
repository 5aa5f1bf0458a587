"""How far rounding moves the logits of a hit, in the dtypes of the shipped checkpoint."""

from __future__ import annotations

import pytest
import torch

from playground.cache import crop_cache, empty_cache
from playground.engine import Engine
from playground.kv_cache.block_hash import HashRules, identify
from playground.kv_cache.compare import SAME_LOGITS
from playground.kv_cache.log import LoggedRequest, replay_log
from playground.kv_cache.partial_prefill import prefill_on
from playground.kv_cache.prefix_store import PrefixStore
from playground.loading.load import load_engine
from playground.preprocess.stage import run_preprocess
from tests.playground.kv_cache.request_pairs import BLUE, PAIRS, RED, one


@pytest.fixture(scope="module")
def half_engine() -> Engine:
    """The shipped checkpoint in bfloat16."""
    return load_engine("tiny", device="cpu", dtype="bfloat16")


def test_every_dtype_of_an_engine_has_a_tolerance() -> None:
    assert SAME_LOGITS[torch.float32] == 1e-4
    assert set(SAME_LOGITS) == {torch.float32, torch.float16, torch.bfloat16}
    assert SAME_LOGITS[torch.bfloat16] == 2 * 16 * torch.finfo(torch.bfloat16).eps  # two steps


@pytest.mark.parametrize("name", PAIRS)
def test_a_hit_in_bfloat16_is_the_miss_up_to_rounding(half_engine: Engine, name: str) -> None:
    tolerance = SAME_LOGITS[torch.bfloat16]
    first, second = (run_preprocess(half_engine, prompt) for prompt in PAIRS[name][:2])
    identity, whole = identify(second), empty_cache(half_engine)
    miss = prefill_on(half_engine, second, identity, whole, 0)[0].float()
    store = PrefixStore(half_engine, HashRules(1))
    store.serve(first)
    hit = store.serve(second)
    assert hit.reused_tokens > 0
    assert hit.logits.dtype == torch.bfloat16
    assert float((hit.logits.float() - miss).abs().max()) <= tolerance
    for start in range(1, second.num_tokens, second.num_tokens // 4):  # also inside images
        cache = crop_cache(whole, start)
        rest = prefill_on(half_engine, second, identity, cache, start)[0].float()
        assert float((rest - miss).abs().max()) <= tolerance


@pytest.mark.parametrize("with_images", [True, False])
def test_rounding_is_distinguished_from_another_image(
    half_engine: Engine, with_images: bool
) -> None:
    log = [
        LoggedRequest.of("a", run_preprocess(half_engine, one("What color is it?", image)))
        for image in (RED, BLUE)
    ]
    store = PrefixStore(half_engine, HashRules(1, with_images=with_images))
    first, second = replay_log(store, log, max_new_tokens=4)
    assert first.is_right
    assert second.is_right is with_images
    if not with_images:
        assert second.max_abs_diff > 8 * SAME_LOGITS[torch.bfloat16]
