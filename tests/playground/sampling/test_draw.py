"""The draw against its distribution; one token by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from playground.errors import ModelError
from playground.sampling.filter_chain import FilterContext
from playground.sampling.logits_filters import REMOVED
from playground.sampling.step import draw_token, invert_cdf, sample_next_token
from playground.sampling.trace import SamplingSettings, TokenStep
from tests.playground.sampling_prefills import GREEDY

NO_IDS = torch.zeros(0, dtype=torch.int64)


def chi_square_p(counts: torch.Tensor, probs: torch.Tensor) -> float:
    """Pearson's test: the probability of counts at least as far from ``probs`` as these."""
    expected = probs.double() * counts.sum()
    assert expected.min() >= 5
    statistic = ((counts - expected) ** 2 / expected).sum()
    degrees = torch.tensor(len(probs) - 1, dtype=torch.float64)
    return float(torch.special.gammaincc(degrees / 2, statistic / 2))


# --------------------------------------------------------------------------- the draw


@pytest.mark.parametrize("temperature", [0.7, 1.0, 3.0])
def test_draws_follow_the_distribution(temperature: float) -> None:
    logits = torch.randn(40, generator=torch.Generator().manual_seed(1)) / temperature
    logits[::7] = REMOVED
    generator = torch.Generator().manual_seed(0)
    draws = torch.tensor([draw_token(logits, generator)[0] for _ in range(10_000)])
    counts, kept = draws.bincount(minlength=40), logits > REMOVED
    assert counts[~kept].sum() == 0
    assert chi_square_p(counts[kept], logits[kept].double().softmax(-1)) > 0.001


def test_first_draws_of_consecutive_seeds_follow_the_distribution() -> None:
    """A sweep draws n samples with seeds 0 .. n - 1."""
    logits = torch.randn(12, generator=torch.Generator().manual_seed(2))
    draws = [draw_token(logits, torch.Generator().manual_seed(seed))[0] for seed in range(10_000)]
    counts = torch.tensor(draws).bincount(minlength=12)
    assert chi_square_p(counts, logits.double().softmax(-1)) > 0.001


def test_chi_square_notices_a_wrong_distribution() -> None:
    probs = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    assert chi_square_p(torch.tensor([5000, 3000, 2000]), probs) == 1
    assert chi_square_p(torch.tensor([5200, 2900, 1900]), probs) < 0.001


def test_inverse_cdf_by_hand() -> None:
    probs = np.array([0.0, 0.25, 0.0, 0.5, 0.25, 0.0])
    uniforms = {0.0: 1, 0.2499: 1, 0.25: 3, 0.7499: 3, 0.75: 4, 1 - 2**-53: 4}
    assert {uniform: invert_cdf(probs, uniform) for uniform in uniforms} == uniforms
    one = np.array([1.0])
    assert invert_cdf(one, 0.0) == invert_cdf(one, 1 - 2**-53) == 0


def test_inverse_cdf_never_leaves_the_kept_tokens() -> None:
    """Probabilities whose sum rounds to less or more than 1, at the largest uniform number."""
    for num_kept in range(1, 400):
        probs = np.full(num_kept, 1 / num_kept)
        assert invert_cdf(probs, 1 - 2**-53) == num_kept - 1
        padded = np.append(probs, [0.0, 0.0])
        assert invert_cdf(padded * 1.0000001, 1 - 2**-53) == num_kept - 1


# --------------------------------------------------------------------------- one token


def sample_once(
    logits: list[float],
    settings: SamplingSettings,
    generated: list[int] | None = None,
    **kwargs: Any,
) -> TokenStep:
    context = FilterContext(settings, NO_IDS, torch.tensor([generated or []]).long(), NO_IDS)
    generator = torch.Generator().manual_seed(settings.seed)
    return sample_next_token(torch.tensor(logits), context, generator, **kwargs)


def test_one_step_by_hand() -> None:
    logits = torch.tensor([0.5, 0.3, 0.15, 0.05]).log().tolist()
    step = sample_once(logits, SamplingSettings(top_k=2, seed=3), text_of=lambda i: "abcd"[i])
    uniform = float(torch.rand((), dtype=torch.float64, generator=torch.Generator().manual_seed(3)))
    assert step.uniform == uniform
    assert step.id == (0 if uniform < 0.625 else 1)
    assert step.text == "ab"[step.id]
    assert step.prob == pytest.approx([0.625, 0.375][step.id], abs=1e-6)
    assert step.entropy == pytest.approx(0.661563, abs=1e-5)
    assert step.num_kept == 2
    assert [candidate.text for candidate in step.top] == ["a", "b", "c", "d"]
    assert [candidate.raw_prob for candidate in step.top] == pytest.approx([0.5, 0.3, 0.15, 0.05])
    assert [candidate.prob for candidate in step.top] == pytest.approx([0.625, 0.375, 0, 0])
    assert [candidate.removed_by for candidate in step.top] == [None, None, "top_k", "top_k"]


def test_greedy_step_is_certain_and_draws_nothing() -> None:
    generator = torch.Generator().manual_seed(0)
    state = generator.get_state()
    context = FilterContext(GREEDY, NO_IDS, NO_IDS[None], NO_IDS)
    step = sample_next_token(torch.tensor([1.0, 3.0, 3.0]), context, generator)
    assert (step.id, step.prob, step.entropy, step.uniform, step.num_kept) == (1, 1, 0, None, 1)
    assert [candidate.removed_by for candidate in step.top if candidate.id != 1] == [
        "temperature",
        "temperature",
    ]
    assert torch.equal(generator.get_state(), state)


def test_penalties_count_for_greedy_too() -> None:
    settings = SamplingSettings(temperature=0, frequency_penalty=0.6)
    assert sample_once([2.0, 1.0], settings, generated=[0]).id == 0
    assert sample_once([2.0, 1.0], settings, generated=[0, 0]).id == 1


def test_chosen_token_is_reported_even_if_unlikely() -> None:
    steps = [
        sample_once([0.0] * 50, SamplingSettings(seed=seed, temperature=5), top=3)
        for seed in range(20)
    ]
    assert all(step.id in {candidate.id for candidate in step.top} for step in steps)
    assert {len(step.top) for step in steps} <= {3, 4}


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_logits_that_are_not_finite_are_refused(bad: float) -> None:
    with pytest.raises(ModelError, match="NaN or infinity"):
        sample_once([0.0, bad, 1.0], SamplingSettings())


def test_overflow_in_the_filters_is_refused() -> None:
    with pytest.raises(ModelError, match="no distribution"):
        sample_once([3e38, 0.0], SamplingSettings(temperature=1e-4))
