"""The boxes and points that a model would have written next, from how sure each edge is."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from playground.grounding.edges import Edge


@dataclass(frozen=True, slots=True)
class Ghost:
    """Another box or point that could have been written."""

    values: tuple[int, ...]
    prob: float  # product of the probabilities of its coordinates


def likely_ghosts(edges: Sequence[Edge | None], count: int, *, apart: int = 1) -> tuple[Ghost, ...]:
    """The most likely other boxes or points, most likely first.

    The coordinates are treated as independent: each distribution is the one given the written
    coordinates before it, although another value there would shift those after it.

    Args:
        edges: of one box or point, from ``measure_edges``.
        count: how many; fewer if there are no more.
        apart: in thousandths: only these values of a coordinate are taken that differ by at least
            this much from the written one and from more likely ones.

    Returns:
        Empty if an edge is not measured.
    """
    measured = [edge for edge in edges if edge is not None]
    if not measured or len(measured) < len(edges):
        return ()
    written = tuple(edge.written for edge in measured)
    columns = [_spaced(edge, apart) for edge in measured]
    ghosts = (Ghost(*each) for each in _best_first(columns))
    others = (ghost for ghost in ghosts if ghost.values != written)
    return tuple(itertools.islice(others, count))


def _spaced(edge: Edge, apart: int) -> list[tuple[int, float]]:
    """The written value and others at this distance from each other, the most likely first."""
    kept = [(edge.written, edge.written_prob)]
    for value, prob in sorted(edge.values, key=lambda pair: -pair[1]):
        if all(abs(value - other) >= apart for other, _ in kept):
            kept.append((value, prob))
    return sorted(kept, key=lambda pair: -pair[1])


def _best_first(
    columns: Sequence[list[tuple[int, float]]],
) -> Iterator[tuple[tuple[int, ...], float]]:
    """All combinations of one (value, probability) per column, by falling joint probability.

    Args:
        columns: each by falling probability, at least one pair.
    """

    def joint(ranks: tuple[int, ...]) -> float:
        return math.prod(column[rank][1] for column, rank in zip(columns, ranks, strict=True))

    start = (0,) * len(columns)
    heap, seen = [(-joint(start), start)], {start}
    while heap:
        prob, ranks = heapq.heappop(heap)
        yield tuple(column[rank][0] for column, rank in zip(columns, ranks, strict=True)), -prob
        for place, column in enumerate(columns):
            after = (*ranks[:place], ranks[place] + 1, *ranks[place + 1 :])
            if after[place] < len(column) and after not in seen:
                seen.add(after)
                heapq.heappush(heap, (-joint(after), after))
