"""The chain on candidates against the reference on the whole vocabulary."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from playground.sampling import candidates as sampling_candidates
from playground.sampling.candidates import LikelyTokens, keep_tokens
from playground.sampling.filter_chain import FilterContext, filter_logits, removed_by
from playground.sampling.logits_filters import REMOVED
from playground.sampling.thinking import ThinkTags
from playground.sampling.trace import SamplingSettings

KINDS = ("normal", "peaked", "flat", "ties", "huge", "equal")
seeds = st.integers(0, 2**31 - 1)
columns = st.builds(
    SamplingSettings,
    temperature=st.sampled_from((0.0, 0.01, 0.3, 0.7, 1.0, 1.7, 20.0)),
    top_k=st.sampled_from((0, 1, 3, 20, 200, 5000)),
    top_p=st.one_of(st.floats(0, 1), st.sampled_from((0.0, 0.5, 0.8, 0.9, 1.0))),
    min_p=st.sampled_from((0.0, 1e-9, 0.01, 0.3, 1.0)),
    typical_p=st.sampled_from((0.01, 0.2, 0.9, 1.0)),
    repetition_penalty=st.sampled_from((0.5, 1.0, 1.1, 3.0)),
    frequency_penalty=st.sampled_from((-1.0, 0.0, 0.7)),
    presence_penalty=st.sampled_from((-1.0, 0.0, 0.4)),
    no_repeat_ngram_size=st.sampled_from((0, 0, 1, 2, 3)),
    thinking_budget=st.sampled_from((None, None, 3, 99)),
)


def make_row(kind: str, seed: int, vocab: int) -> torch.Tensor:
    noise = torch.randn(vocab, generator=torch.Generator().manual_seed(seed))
    return {
        "normal": noise * 3,
        "peaked": noise * 30,
        "flat": noise * 1e-3,
        "ties": (noise * 4).round() / 2,
        "huge": noise * 1e4,
        "equal": torch.zeros_like(noise),
    }[kind]


def make_context(column: SamplingSettings, seed: int, vocab: int) -> FilterContext:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(vocab + 3, (30,), generator=generator)  # some that lm_head does not know
    tags = ThinkTags(start_id=2, end_id=vocab - 1, is_open=seed % 2 == 0)
    return FilterContext(column, ids[:20], ids[None, 15:], ids[:4], tags)


def assert_equal_to_the_reference(logits: torch.Tensor, context: FilterContext) -> None:
    before = logits.clone()
    kept = keep_tokens(logits, context)
    assert torch.equal(logits, before)
    steps = filter_logits(logits[None], context)
    expected = steps[-1].logits[0] if steps else logits
    ids = (expected != REMOVED).nonzero()[:, 0]
    assert kept.ids.tolist() == ids.tolist()
    assert np.array_equal(kept.logits, expected[ids].numpy())  # the same numbers, not only nearly
    for token_id in {0, len(logits) - 1, *logits.topk(5).indices.tolist()}:
        assert kept.remover(token_id) == removed_by(steps, 0, token_id)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from(KINDS), seeds, st.sampled_from((6, 50, 1000, 1024, 9000)), columns)
@example("equal", 0, 1000, SamplingSettings(top_k=5))
@example("ties", 0, 3000, SamplingSettings(top_k=20, top_p=0.5))
@example("flat", 0, 3000, SamplingSettings(top_p=0.5))
def test_keeps_what_the_reference_keeps(
    kind: str, seed: int, vocab: int, column: SamplingSettings
) -> None:
    assert_equal_to_the_reference(make_row(kind, seed, vocab), make_context(column, seed, vocab))


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(("normal", "peaked", "ties")), seeds, columns)
def test_of_the_full_size_vocabulary(kind: str, seed: int, column: SamplingSettings) -> None:
    vocab = 151_936
    assert_equal_to_the_reference(make_row(kind, seed, vocab), make_context(column, seed, vocab))


@pytest.mark.parametrize(
    "column",
    [
        SamplingSettings(temperature=0.7, top_k=20, top_p=0.8),
        SamplingSettings(temperature=0.8, top_p=0.9, min_p=0.05, repetition_penalty=1.1),
        SamplingSettings(top_k=50, typical_p=0.9, frequency_penalty=0.5),
        SamplingSettings(min_p=0.02),
        SamplingSettings(temperature=0.0),
    ],
)
def test_common_settings_need_no_look_at_the_whole_vocabulary(
    column: SamplingSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would be right, but slow."""
    monkeypatch.setattr(sampling_candidates, "filter_logits", None)
    for seed in range(8):
        logits = make_row("normal", seed, 151_936) * 1.5
        keep_tokens(logits, make_context(column, seed, len(logits)))


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(KINDS), seeds, st.sampled_from((1, 6, 129, 9000, 10_000)), st.integers(1, 300)
)
def test_the_top_of_blocks_is_the_top(kind: str, seed: int, vocab: int, count: int) -> None:
    logits = make_row(kind, seed, vocab)
    ids, values = LikelyTokens(logits.numpy()).top(count)
    smallest = logits.topk(min(count, vocab)).values[-1]
    assert ids.tolist() == (logits >= smallest).nonzero()[:, 0].tolist()
    assert np.array_equal(values, logits[ids].numpy())
