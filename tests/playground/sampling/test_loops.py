"""The detector of loops, on constructed sequences and against a plain search."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from playground.sampling.loops import (
    LONG_PERIOD,
    LONG_ROUNDS,
    MIN_ROUNDS,
    MIN_TOKENS,
    Loop,
    find_loop,
    find_loops,
    split_rounds,
)

quick = settings(max_examples=300, deadline=None)


def needed(period: int) -> int:
    """The tokens from which a repeated stretch of this period is a loop."""
    rounds = LONG_ROUNDS if period >= LONG_PERIOD else MIN_ROUNDS
    return max(rounds, -(-MIN_TOKENS // period)) * period


def search(ids: list[int]) -> list[Loop]:
    """Every longest run by its definition; those inside another one are left out."""
    found = []
    for period in range(1, len(ids) // 2 + 1):
        start = 0
        while start < len(ids) - period:
            end = start
            while end + period < len(ids) and ids[end] == ids[end + period]:
                end += 1
            count = end - start + period
            if end > start and count >= needed(period):
                found.append(Loop(start, period, count))
            start = end + 1
    return [
        loop
        for loop in found
        if not any(
            other is not loop
            and other.start <= loop.start
            and loop.end <= other.end
            and (other.num_tokens, -other.period) > (loop.num_tokens, -loop.period)
            for other in found
        )
    ]


@quick
@given(st.data(), st.integers(1, 24), st.integers(0, 5))
def test_finds_period_start_and_rounds(data: st.DataObject, period: int, extra: int) -> None:
    """A unit of different tokens, repeated, between tokens that occur once."""
    before, after = data.draw(st.integers(0, 20)), data.draw(st.integers(0, 20))
    rest = data.draw(st.integers(0, period - 1))
    rounds = -(-needed(period) // period) + extra
    unit = data.draw(st.permutations(range(period)))
    stretch = unit * rounds + unit[:rest]
    ids = [*range(100, 100 + before), *stretch, *range(200, 200 + after)]
    expected = Loop(before, period, len(stretch))
    assert find_loops(ids) == (expected,)
    assert find_loop(ids) == expected
    assert (expected.rounds, expected.rest, expected.end) == (rounds, rest, before + len(stretch))


@quick
@given(st.lists(st.integers(0, 2), max_size=60))
def test_equals_the_plain_search(ids: list[int]) -> None:
    assert sorted(find_loops(ids), key=lambda loop: loop.start) == sorted(
        search(ids), key=lambda loop: loop.start
    )


@quick
@given(st.lists(st.integers(0, 2), max_size=60))
def test_every_loop_repeats_and_cannot_be_longer(ids: list[int]) -> None:
    for loop in find_loops(ids):
        inside = range(loop.start, loop.end - loop.period)
        assert all(ids[index] == ids[index + loop.period] for index in inside)
        assert loop.num_tokens >= needed(loop.period)
        if loop.start:
            assert ids[loop.start - 1] != ids[loop.start - 1 + loop.period]
        if loop.end < len(ids):
            assert ids[loop.end] != ids[loop.end - loop.period]


@pytest.mark.parametrize("ids", [[], [1], [1, 1, 1], [1, 2, 1, 2, 1], list(range(50))])
def test_short_repeats_are_no_loop(ids: list[int]) -> None:
    assert find_loops(ids) == ()
    assert find_loop(ids) is None


def test_the_loop_at_the_end_comes_first() -> None:
    ids = [*[1, 2] * 9, 7, 8, *[3, 4, 5] * 3]
    assert find_loop(ids) == Loop(20, 3, 9)
    assert find_loop([*ids, 9]) == Loop(0, 2, 18)


def test_rounds_by_hand() -> None:
    rounds = split_rounds(Loop(1, 2, 5), [-9.0, -1.0, -2.0, -0.5, -0.5, -0.25, -7.0])
    assert [(each.start, each.num_tokens, each.log_prob) for each in rounds] == [
        (1, 2, -3.0),
        (3, 2, -1.0),
        (5, 1, -0.25),
    ]
    assert [each.mean_log_prob for each in rounds] == [-1.5, -0.5, -0.25]
