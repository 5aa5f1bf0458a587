"""Where the shared prefix of two requests ends, and why."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from playground.engine import Engine
from playground.kv_cache import shared_prefix as prefix
from playground.kv_cache.shared_prefix import reusable_tokens, shared_prefix
from playground.preprocess.stage import run_preprocess
from playground.records import ModelInputs
from tests.playground.kv_cache.request_pairs import PAIRS


@pytest.mark.parametrize("name", PAIRS)
def test_shared_prefix(tiny_random_engine: Engine, name: str) -> None:
    first_prompt, second_prompt, expected_reason = PAIRS[name]
    first = run_preprocess(tiny_random_engine, first_prompt)
    second = run_preprocess(tiny_random_engine, second_prompt)
    shared, reason = shared_prefix(first, second)
    assert reason == expected_reason
    ids = list(zip(first.input_ids[0].tolist(), second.input_ids[0].tolist(), strict=False))
    assert all(one_id == other for one_id, other in ids[:shared])
    if reason == prefix.TOKENS_DIFFER:
        assert ids[shared][0] != ids[shared][1]
    elif reason == prefix.FIRST_ENDED:
        assert shared == first.num_tokens < second.num_tokens
    elif reason == prefix.SAME_REQUEST:
        assert shared == first.num_tokens == second.num_tokens
    else:
        assert ids[shared][0] == ids[shared][1]
        assert shared in {span.start for span in second.spans}
    assert not any(span.start < shared < span.end for span in second.spans)
    assert shared_prefix(second, first)[0] == shared


def test_other_images_with_the_same_ids_are_no_hit(tiny_random_engine: Engine) -> None:
    for name in ("other image, same ids", "as many tokens, other grid"):
        first, second = (run_preprocess(tiny_random_engine, each) for each in PAIRS[name][:2])
        assert torch.equal(first.input_ids, second.input_ids)
        assert shared_prefix(first, second)[0] == second.spans[0].start


def test_video_prefix_ends_between_two_frames(tiny_random_engine: Engine) -> None:
    first, second = (
        run_preprocess(tiny_random_engine, each) for each in PAIRS["video, last frames differ"][:2]
    )
    assert len(second.spans) == 2
    assert shared_prefix(first, second)[0] == second.spans[1].start


def test_request_that_goes_on_or_ends(tiny_random_engine: Engine) -> None:
    """Whole requests end with the template; these are cut to see the other two reasons."""
    whole = run_preprocess(tiny_random_engine, PAIRS["same request"][0])
    end = whole.spans[0].end + 2

    def cut(end: int) -> ModelInputs:
        return replace(
            whole,
            tokens=whole.tokens[:end],
            spans=tuple(
                replace(span, end=min(end, span.end)) for span in whole.spans if span.start < end
            ),
            **{
                name: getattr(whole, name)[:, :end]
                for name in ("input_ids", "attention_mask", "mm_token_type_ids")
            },
        )

    assert shared_prefix(cut(end), whole) == (end, prefix.FIRST_ENDED)
    assert shared_prefix(whole, cut(end)) == (end, prefix.SECOND_ENDED)
    assert reusable_tokens(cut(end), end) == end - 1
    # Half an image is none.
    inside = whole.spans[0].end - 1
    assert shared_prefix(cut(inside), whole)[0] == whole.spans[0].start
    assert reusable_tokens(whole, inside) == whole.spans[0].start
    assert reusable_tokens(cut(whole.spans[0].end), whole.spans[0].end) == whole.spans[0].start
