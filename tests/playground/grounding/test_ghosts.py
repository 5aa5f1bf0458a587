"""The runners-up of a box, against all combinations."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from playground.grounding.edges import Edge
from playground.grounding.ghosts import likely_ghosts


def make_edge(written: int, probs: dict[int, float]) -> Edge:
    values = tuple(sorted(probs.items()))
    return Edge(written, values, sum(probs.values()), values[0][0], written, values[-1][0])


EDGES = st.lists(
    st.dictionaries(
        st.integers(0, 30), st.sampled_from((0.01, 0.05, 0.1, 0.2)), min_size=1, max_size=4
    ).map(lambda probs: make_edge(min(probs), probs)),
    min_size=2,
    max_size=4,
)


@given(EDGES, st.integers(1, 12))
def test_they_are_the_most_likely_other_combinations(edges: list[Edge], count: int) -> None:
    ghosts = likely_ghosts(edges, count)
    every = [
        (tuple(value for value, _ in each), math.prod(prob for _, prob in each))
        for each in itertools.product(*(edge.values for edge in edges))
    ]
    written = tuple(edge.written for edge in edges)
    others = sorted((prob for values, prob in every if values != written), reverse=True)
    assert [ghost.prob for ghost in ghosts] == pytest.approx(others[:count])
    assert len({ghost.values for ghost in ghosts} | {written}) == len(ghosts) + 1
    known = dict(every)
    for ghost in ghosts:
        assert ghost.prob == pytest.approx(known[ghost.values])


def test_ghosts_that_lie_apart_by_hand() -> None:
    x = make_edge(10, {9: 0.2, 10: 0.4, 11: 0.3, 30: 0.05, 31: 0.02})
    y = make_edge(5, {5: 0.9, 6: 0.1})
    ghosts = likely_ghosts([x, y], 9, apart=5)
    assert [(ghost.values, ghost.prob) for ghost in ghosts] == [
        ((30, 5), pytest.approx(0.05 * 0.9))
    ]


def test_no_ghosts_of_an_edge_that_is_not_measured() -> None:
    assert likely_ghosts([make_edge(1, {1: 0.5, 2: 0.1}), None], 3) == ()
    assert likely_ghosts([], 3) == ()
