"""Each filter against its processor in transformers, alone and chained; ours by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from transformers.generation.logits_process import (
    LogitsProcessorList,
    MinPLogitsWarper,
    NoRepeatNGramLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    SuppressTokensLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
    TypicalLogitsWarper,
)

from playground.sampling import logits_filters
from playground.sampling.filter_chain import FILTERS, FilterContext, filter_logits, removed_by
from playground.sampling.logits_filters import (
    REMOVED,
    apply_temperature,
    bar_repeated_ngrams,
    bar_tokens,
    keep_min_p,
    keep_top_k,
    keep_top_p,
    keep_typical,
    penalise_frequency,
    penalise_presence,
    penalise_repetition,
)
from playground.sampling.thinking import ThinkTags
from playground.sampling.trace import SamplingSettings

OPEN = ThinkTags(start_id=40, end_id=41, is_open=True)
PROMPT_IDS = torch.tensor([3, 1, 4, 1, 5])
NO_IDS = torch.zeros(0, dtype=torch.int64)

# Random logits; peaked and flat; many ties, as half precision makes them; far-out values.
KINDS = ("normal", "peaked", "flat", "ties", "huge", "equal")
kinds = st.sampled_from(KINDS)
seeds = st.integers(0, 2**31 - 1)
vocabs = st.sampled_from((6, 50, 1000))
fractions = st.one_of(st.floats(0, 1), st.sampled_from((0.0, 1e-6, 0.1, 0.5, 0.8, 0.9, 0.999, 1.0)))
quick = settings(max_examples=150, deadline=None)


def make_logits(kind: str, seed: int, vocab: int, rows: int = 3) -> torch.Tensor:
    """Seeded logits (rows, vocab) float32."""
    noise = torch.randn(rows, vocab, generator=torch.Generator().manual_seed(seed))
    return {
        "normal": noise * 3,
        "peaked": noise * 30,
        "flat": noise * 1e-3,
        "ties": (noise * 4).round() / 2,
        "huge": noise * 1e4,
        "equal": torch.zeros_like(noise),
    }[kind]


def make_generated(seed: int, vocab: int, rows: int = 3, steps: int = 7) -> torch.Tensor:
    """Seeded ids (rows, steps), some of them more than once."""
    high = min(vocab, 5)
    return torch.randint(high, (rows, steps), generator=torch.Generator().manual_seed(seed))


def assert_same(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    """Equal kept sets and |Δp| ≤ 1e-6; a row may have lost every token to the n-gram ban."""
    kept = ours != REMOVED
    assert torch.equal(kept, theirs != REMOVED)
    rows = kept.any(-1)
    assert ((_probs(ours[rows]) - _probs(theirs[rows])).abs() <= 1e-6).all()


def _probs(logits: torch.Tensor) -> torch.Tensor:
    return logits.double().softmax(-1)


# --------------------------------------------------------------------------- one by one


@quick
@given(kinds, seeds, vocabs, st.floats(0.01, 100))
def test_repetition_penalty_equals_transformers(
    kind: str, seed: int, vocab: int, penalty: float
) -> None:
    logits, seen = make_logits(kind, seed, vocab), make_generated(seed, vocab)
    theirs = RepetitionPenaltyLogitsProcessor(penalty)(seen, logits.clone())
    assert_same(penalise_repetition(logits, penalty, seen), theirs)


@quick
@given(kinds, seeds, vocabs, st.floats(0.01, 100))
def test_temperature_equals_transformers(
    kind: str, seed: int, vocab: int, temperature: float
) -> None:
    logits = make_logits(kind, seed, vocab)
    assert_same(
        apply_temperature(logits, temperature), TemperatureLogitsWarper(temperature)(NO_IDS, logits)
    )


@quick
@given(kinds, seeds, vocabs, st.integers(1, 2000))
def test_top_k_equals_transformers(kind: str, seed: int, vocab: int, k: int) -> None:
    logits = make_logits(kind, seed, vocab)
    assert_same(keep_top_k(logits, k), TopKLogitsWarper(k)(NO_IDS, logits))


@quick
@given(kinds, seeds, vocabs, fractions)
@example("equal", 0, 50, 0.9)
@example("ties", 0, 1000, 0.5)
def test_top_p_equals_transformers(kind: str, seed: int, vocab: int, p: float) -> None:
    logits = make_logits(kind, seed, vocab)
    theirs = logits if p == 1 else TopPLogitsWarper(p)(NO_IDS, logits)
    assert_same(keep_top_p(logits, p), theirs)


@quick
@given(kinds, seeds, vocabs, fractions)
def test_min_p_equals_transformers(kind: str, seed: int, vocab: int, p: float) -> None:
    logits = make_logits(kind, seed, vocab)
    assert_same(keep_min_p(logits, p), MinPLogitsWarper(p)(NO_IDS, logits))


@quick
@given(kinds, seeds, vocabs, fractions.filter(lambda mass: mass >= 1e-4))
def test_typical_p_equals_transformers(kind: str, seed: int, vocab: int, mass: float) -> None:
    logits = make_logits(kind, seed, vocab)
    theirs = logits if mass == 1 else TypicalLogitsWarper(mass)(NO_IDS, logits)
    assert_same(keep_typical(logits, mass), theirs)


@quick
@given(kinds, seeds, st.sampled_from((1, 2, 5, 20, 300)), fractions, fractions)
def test_cuts_of_a_big_vocabulary_after_top_k(
    kind: str, seed: int, k: int, p: float, mass: float
) -> None:
    """Where only the few words that are left get sorted."""
    logits = keep_top_k(make_logits(kind, seed, 20_000, rows=2), k)
    if p < 1:
        assert_same(keep_top_p(logits, p), TopPLogitsWarper(p)(NO_IDS, logits))
    if 1e-4 <= mass < 1:
        assert_same(keep_typical(logits, mass), TypicalLogitsWarper(mass)(NO_IDS, logits))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [1e-3, 0.3, 0.8, 0.95])
def test_cuts_of_the_full_size_vocabulary(kind: str, share: float) -> None:
    logits = make_logits(kind, 7, 151_936, rows=1)
    assert_same(keep_top_p(logits, share), TopPLogitsWarper(share)(NO_IDS, logits))
    assert_same(keep_typical(logits, share), TypicalLogitsWarper(share)(NO_IDS, logits))
    assert_same(keep_min_p(logits, share), MinPLogitsWarper(share)(NO_IDS, logits))


def test_short_sort_gives_the_same_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The padded sort is bit-equal to the full one, and the full one is what ties take."""
    logits = keep_top_k(make_logits("normal", 1, 9000), 40)
    short, _ = logits_filters._sort_kept(logits, logits, removed_first=True)
    monkeypatch.setattr(logits_filters, "MAX_SHORT_SORT", 0)
    full, ids = logits_filters._sort_kept(logits, logits, removed_first=True)
    assert ids.shape == logits.shape
    assert torch.equal(short, full)
    assert torch.equal(short.softmax(-1).cumsum(-1), full.softmax(-1).cumsum(-1))


# --------------------------------------------------------------------------- by hand


def test_frequency_and_presence_penalty_by_hand() -> None:
    logits = torch.tensor([[5.0, 4.0, 3.0, -2.0], [1.0, 1.0, 1.0, 1.0]])
    generated = torch.tensor([[1, 1, 3], [0, 0, 0]])
    assert penalise_frequency(logits, 0.5, generated).tolist() == [
        [5.0, 3.0, 3.0, -2.5],
        [-0.5, 1.0, 1.0, 1.0],
    ]
    assert penalise_presence(logits, 0.5, generated).tolist() == [
        [5.0, 3.5, 3.0, -2.5],
        [0.5, 1.0, 1.0, 1.0],
    ]
    assert penalise_presence(logits, -1.0, generated)[0].tolist() == [5.0, 5.0, 3.0, -1.0]
    nothing = generated[:, :0]
    assert torch.equal(penalise_frequency(logits, 2.0, nothing), logits)


def test_cuts_by_hand() -> None:
    logits = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log()
    gone = lambda kept: (kept == REMOVED)[0].tolist()  # noqa: E731
    assert gone(keep_top_k(logits, 3)) == [False, False, False, True]
    assert gone(keep_top_p(logits, 0.7)) == [False, False, True, True]  # 0.5 < 0.7 ≤ 0.8
    assert gone(keep_top_p(logits, 0.0)) == [False, True, True, True]
    assert gone(keep_min_p(logits, 0.4)) == [False, False, True, True]  # 0.4 · 0.5 = 0.2
    # Entropy 1.14; surprisals 0.69, 1.20, 1.90, 3.00: the second token is the typical one.
    assert gone(keep_typical(logits, 0.2)) == [True, False, True, True]


def test_temperature_zero_keeps_the_first_of_the_largest() -> None:
    logits = torch.tensor([[1.0, 7.0, 7.0], [-1.0, -2.0, -3.0]])
    assert apply_temperature(logits, 0).tolist() == [
        [REMOVED, 7.0, REMOVED],
        [-1.0, REMOVED, REMOVED],
    ]


def test_ids_beyond_the_logits_are_ignored() -> None:
    """The embedding may know more words than ``lm_head`` gives logits for."""
    logits, ids = torch.ones(1, 4), torch.tensor([[1, 9]])
    assert penalise_repetition(logits, 2.0, ids).tolist() == [[1.0, 0.5, 1.0, 1.0]]
    assert bar_tokens(logits, ids[0]).tolist() == [[1.0, REMOVED, 1.0, 1.0]]


@quick
@given(
    st.lists(st.integers(0, 3), max_size=30),
    st.lists(st.integers(0, 5), max_size=12),
    st.integers(1, 8),
    seeds,
)
@example([1], [], 4, 0)
@example([], [], 1, 0)
def test_ngram_ban_equals_transformers(
    prompt: list[int], generated: list[int], size: int, seed: int
) -> None:
    """Few different tokens, so that n-grams do recur; over the prompt, too."""
    ids = torch.tensor([prompt + generated], dtype=torch.int64)
    logits = make_logits("normal", seed, 6, rows=1)
    assert_same(
        bar_repeated_ngrams(logits, size, ids), NoRepeatNGramLogitsProcessor(size)(ids, logits)
    )


def test_spent_budget_leaves_the_closing_tag_alone() -> None:
    """Also where the n-gram ban would remove it; rows that have closed it go on."""
    logits = make_logits("normal", 0, 50, rows=2)
    generated = torch.tensor([[5, 6, 7], [5, 41, 7]])
    column = SamplingSettings(no_repeat_ngram_size=1, thinking_budget=3, repetition_penalty=2.0)
    context = replace(make_context(column, generated), prompt_ids=torch.tensor([41, 40]), tags=OPEN)
    assert context.closing_rows.tolist() == [True, False]
    final = filter_logits(logits, context)[-1].logits
    assert (final[0] > REMOVED).nonzero()[:, 0].tolist() == [41]
    assert (final[1] > REMOVED).sum() == 50 - 4
    assert not replace(context, settings=replace(column, thinking_budget=4)).closing_rows.any()
    assert not replace(context, tags=None).closing_rows.any()


# --------------------------------------------------------------------------- the chain

all_settings = st.builds(
    SamplingSettings,
    temperature=st.sampled_from((0.01, 0.3, 0.7, 1.0, 1.7, 20.0)),
    top_k=st.sampled_from((0, 1, 3, 20, 5000)),
    top_p=fractions,
    min_p=st.sampled_from((0.0, 0.01, 0.3, 1.0)),
    typical_p=st.sampled_from((0.01, 0.2, 0.9, 1.0)),
    repetition_penalty=st.sampled_from((0.5, 1.0, 1.1, 3.0)),
    no_repeat_ngram_size=st.sampled_from((0, 0, 2, 3)),
)


def make_context(
    column: SamplingSettings, generated: torch.Tensor, barred: tuple[int, ...] = ()
) -> FilterContext:
    return FilterContext(column, PROMPT_IDS, generated, torch.tensor(barred, dtype=torch.int64))


def transformers_chain(column: SamplingSettings, barred: tuple[int, ...]) -> LogitsProcessorList:
    """The processors that ``generate(do_sample=True, ...)`` would build, in its order."""
    chain: list[Any] = []
    if column.repetition_penalty != 1:
        chain.append(RepetitionPenaltyLogitsProcessor(column.repetition_penalty))
    if column.no_repeat_ngram_size:
        chain.append(NoRepeatNGramLogitsProcessor(column.no_repeat_ngram_size))
    if barred:
        chain.append(SuppressTokensLogitsProcessor(list(barred)))
    if column.temperature != 1:
        chain.append(TemperatureLogitsWarper(column.temperature))
    if column.top_k:
        chain.append(TopKLogitsWarper(column.top_k))
    if column.top_p < 1:
        chain.append(TopPLogitsWarper(column.top_p))
    chain.append(MinPLogitsWarper(column.min_p))
    if column.typical_p < 1:
        chain.append(TypicalLogitsWarper(column.typical_p))
    return LogitsProcessorList(chain)


@quick
@given(kinds, seeds, vocabs, all_settings, st.sampled_from(((), (2,), (0, 3, 5))))
# Two equal distances at the cut: in another order their sum is rounded below the mass.
@example("flat", 2111, 1000, SamplingSettings(temperature=1.7, top_k=20, typical_p=0.2), ())
def test_chain_equals_transformers(
    kind: str, seed: int, vocab: int, column: SamplingSettings, barred: tuple[int, ...]
) -> None:
    logits, generated = make_logits(kind, seed, vocab), make_generated(seed, vocab)
    context = make_context(column, generated, barred)
    steps = filter_logits(logits, context)
    theirs = transformers_chain(column, barred)(context.seen_ids, logits.clone())
    assert_same(steps[-1].logits if steps else logits, theirs)
    # Every removed token was removed by exactly one filter.
    removals = sum((step.removed.int() for step in steps), torch.zeros_like(logits).int())
    assert torch.equal(removals, (theirs == REMOVED).int())


@quick
@given(seeds, all_settings)
def test_rows_do_not_see_each_other(seed: int, column: SamplingSettings) -> None:
    logits, generated = make_logits("normal", seed, 50), make_generated(seed, 50)
    together = filter_logits(logits, make_context(column, generated))
    for row in range(len(logits)):
        alone = filter_logits(logits[row : row + 1], make_context(column, generated[row : row + 1]))
        for batched, single in zip(together, alone, strict=True):
            assert torch.equal(batched.removed[row], single.removed[0])


def test_neutral_settings_switch_every_filter_off() -> None:
    logits = make_logits("normal", 0, 50)
    assert filter_logits(logits, make_context(SamplingSettings(), make_generated(0, 50))) == ()


def test_every_setting_drives_the_filter_of_its_name() -> None:
    column = SamplingSettings(0.5, 40, 0.9, 0.01, 0.9, 1.1, 0.5, 0.5, 2, 0)
    context = make_context(column, make_generated(0, 50), (1,))
    steps = filter_logits(make_logits("normal", 0, 50), replace(context, tags=OPEN))
    assert [step.name for step in steps] == [
        "thinking_budget",
        "repetition_penalty",
        "no_repeat_ngram_size",
        "vision_tokens",
        "frequency_penalty",
        "presence_penalty",
        "temperature",
        "top_k",
        "top_p",
        "min_p",
        "typical_p",
    ]
    assert [each.name for each in FILTERS] == [step.name for step in steps]


def test_removed_by_names_the_filter() -> None:
    logits = torch.tensor([[0.5, 0.3, 0.15, 0.04, 0.01]]).log()
    column = SamplingSettings(top_k=3, top_p=0.7)
    steps = filter_logits(logits, make_context(column, NO_IDS[None], (0,)))
    # Without token 0 and 4: 0.3 and 0.15 and 0.04; the first two have 0.92 of it, one has 0.61.
    assert [removed_by(steps, 0, token) for token in range(5)] == [
        "vision_tokens",
        None,
        None,
        "top_p",
        "top_k",
    ]


def test_barred_token_never_wins_when_greedy() -> None:
    logits = torch.tensor([[9.0, 1.0, 2.0]])
    column = SamplingSettings(temperature=0, top_k=2, top_p=0.5, min_p=0.1, typical_p=0.5)
    steps = filter_logits(logits, make_context(column, NO_IDS[None], (0,)))
    assert (steps[-1].logits > REMOVED)[0].tolist() == [False, False, True]
    assert removed_by(steps, 0, 0) == "vision_tokens"
    assert removed_by(steps, 0, 1) == "temperature"


def test_order_can_be_permuted() -> None:
    """Temperature last, as in llama.cpp: a high one then no longer widens what top-p keeps."""
    logits = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log()
    context = make_context(SamplingSettings(temperature=10.0, top_p=0.7), NO_IDS[None])
    last = sorted(FILTERS, key=lambda each: each.name == "temperature")
    num_kept = [
        int((filter_logits(logits, context, order)[-1].logits > REMOVED).sum())
        for order in (FILTERS, last)
    ]
    assert num_kept == [3, 2]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_logits_are_filtered_in_float32(dtype: torch.dtype) -> None:
    logits = make_logits("normal", 3, 50).to(dtype)
    context = make_context(replace(SamplingSettings(), top_p=0.8), make_generated(0, 50))
    (step,) = filter_logits(logits, context)
    assert step.logits.dtype == torch.float32
    assert_same(step.logits, TopPLogitsWarper(0.8)(NO_IDS, logits.float()))
