"""Finite logits, the most probable tokens, two-stage search and row-wise sum against torch."""

from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from playground import logits as module
from playground.engine import Engine
from playground.errors import ModelError
from playground.logits import BLOCK, check_finite, log_totals, next_token_probs, top_tokens
from playground.pipeline import Run
from tests.playground.prompt_samples import PROMPTS


@pytest.fixture(autouse=True)
def no_vocabulary_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SMALL_VOCAB", 0)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.integers(1, 4),
    st.sampled_from((1, 6, BLOCK, BLOCK + 1, 1000, 10 * BLOCK, 3001)),
    st.integers(1, 30),
    st.integers(0, 2**31 - 1),
    st.booleans(),
)
def test_finds_the_largest(rows: int, vocab: int, count: int, seed: int, ties: bool) -> None:
    logits = torch.randn(rows, vocab, generator=torch.Generator().manual_seed(seed)) * 5
    if ties:
        logits = logits.round()
    count = min(count, vocab)
    values, ids = top_tokens(logits, count)
    assert torch.equal(values, logits.topk(count).values)
    assert torch.equal(logits.gather(1, ids), values)
    assert all(len(set(row)) == count for row in ids.tolist())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_of_a_whole_vocabulary(dtype: torch.dtype) -> None:
    noise = torch.randn(3, 151_936, generator=torch.Generator().manual_seed(0))
    logits = (noise * 8).to(dtype)
    assert torch.equal(top_tokens(logits, 10)[0], logits.topk(10).values)
    totals = log_totals(logits, logits.amax(-1))
    torch.testing.assert_close(totals, logits.float().logsumexp(-1), rtol=0, atol=5e-6)


def test_the_sum_of_large_logits_does_not_overflow() -> None:
    logits = torch.tensor([[1e4, 1e4 - 1, -1e4], [0.0, -1e30, -torch.inf]])
    torch.testing.assert_close(log_totals(logits, logits.amax(-1)), logits.logsumexp(-1))


def test_next_tokens_are_the_softmax(engine: Engine) -> None:
    run = Run(engine, PROMPTS["image"])
    probs = run.decoded.logits.softmax(-1)
    tokens = next_token_probs(run.engine, run.decoded.logits, 5)
    assert [token.id for token in tokens] == probs.topk(5).indices.tolist()
    assert [token.prob for token in tokens] == probs.topk(5).values.tolist()
    everything = next_token_probs(run.engine, run.decoded.logits, 10**9)
    assert len(everything) == run.engine.facts.vocab_size
    assert sum(token.prob for token in everything) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_check_finite(value: float) -> None:
    check_finite(torch.zeros(3))
    with pytest.raises(ModelError):
        check_finite(torch.tensor([0.0, value]))
