"""How sure a model is of each coordinate that it writes.

A coordinate is written digit by digit, so that its distribution is spread over several tokens. A
beam search sums it up: from the KV cache of everything written before the coordinate, each likely
beginning of a number is continued by one token per forward, all in one batch. A number ends with
any token that does not begin with a digit.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from playground.cache import cache_bytes, crop_cache, expand_cache
from playground.engine import Engine
from playground.errors import InputError
from playground.grounding.number_tokens import (
    DigitToken,
    answer_text,
    answer_tokens,
    digit_tokens,
    find_byte,
)
from playground.grounding.read import Coordinate, Found, read_grounding
from playground.language import say
from playground.logits import apply_head
from playground.pipeline import Run
from playground.records import Progress
from playground.sampling.paths import LOGITS_CHUNK, decode_states

BEAM = 64  # beginnings of a number that are continued at once
LEAST_PROB = 1e-3  # a beginning less likely than this is not continued
MAX_DIGITS = 4  # 1000 has four
WHOLE = re.compile(rf"0|[1-9][0-9]{{0,{MAX_DIGITS - 1}}}")
CACHE_BYTES = 256 * 1024**2  # of the cache's copies in one batch; more rows are run in parts

LOW, MIDDLE, HIGH = 0.1, 0.5, 0.9  # quantiles


@dataclass(frozen=True, slots=True)
class Edge:
    """The distribution of one coordinate, given everything written before it."""

    written: int
    values: tuple[tuple[int, float], ...]  # (value, probability), ascending by value
    mass: float  # probability of all these values together, in [0, 1]
    low: int  # 10 % quantile of the mass
    median: int
    high: int  # 90 % quantile

    @property
    def written_prob(self) -> float:
        """Probability of the value that was written, in [0, 1]."""
        return dict(self.values)[self.written]


def measure_edges(
    answered: Run,
    found: Found,
    *,
    beam: int | None = BEAM,
    progress: Progress | None = None,
) -> tuple[Edge | None, ...]:
    """The distribution of each coordinate of a box or point; kept with the run.

    A value's probability is the sum over all ways to spell it in tokens, times the probability that
    no digit follows. Not followed, and therefore missing in ``mass``: unlikely beginnings, numbers
    of more than ``MAX_DIGITS`` digits or with a leading zero, and anything that is no number. A
    coordinate that is not a whole number written in this way, such as 12.5 or -3, is not measured:
    the digits before the point say little about it.

    Args:
        answered: from ``run_with_answer``.
        found: of ``read_grounding(answer_text(answered.inputs))``.
        beam: how many beginnings are continued at once, besides the written one; None continues
            all, however unlikely.
        progress: called before every forward; ``StageCancelled`` raised in it stops.

    Returns:
        One per coordinate; None where it is not measured.

    Raises:
        InputError: the answer does not hold this box or point.
    """
    text = answer_text(answered.inputs)
    if found not in read_grounding(text).found:
        raise InputError(say("The answer does not hold this box or point."))
    total = len(found.coordinates)

    def measure(number: int, coordinate: Coordinate) -> Edge | None:
        if not WHOLE.fullmatch(text[coordinate.start : coordinate.end]):
            return None

        def report() -> None:
            if progress is not None:
                progress(say("coordinate"), number, total)

        return answered.memo(
            ("edge", coordinate.start, beam),
            lambda: _make_edge(int(coordinate.value), _spread(answered, coordinate, beam, report)),
            progress=progress,
        )

    return tuple(measure(*each) for each in enumerate(found.coordinates))


def _make_edge(written: int, probs: dict[int, float]) -> Edge:
    values = tuple(sorted(probs.items()))
    mass = sum(probs.values())
    low, median, high = (_quantile(values, share * mass) for share in (LOW, MIDDLE, HIGH))
    return Edge(written, values, min(mass, 1.0), low, median, high)


def _quantile(values: tuple[tuple[int, float], ...], least: float) -> int:
    """The first value up to which the probabilities sum to at least this."""
    total = 0.0
    for value, prob in values:
        total += prob
        if total >= least:
            return value
    return values[-1][0]  # rounding


# ------------------------------------------------------------------------------ beam search


@dataclass(frozen=True, slots=True)
class _Beginning:
    """The first digits of a number."""

    digits: str
    ids: tuple[int, ...]
    prob: float
    is_open: bool = True  # its last token ends with the digits


def _spread(
    answered: Run, coordinate: Coordinate, beam: int | None, report: Callable[[], None]
) -> dict[int, float]:
    """The probability of each value of one coordinate."""
    engine, tokens = answered.engine, answer_tokens(answered.inputs)
    first, offset = find_byte(tokens, coordinate.start)
    last, _ = find_byte(tokens, coordinate.end - 1)
    written = tuple(token.id for token in tokens[first : last + 1])
    start = answered.inputs.num_prompt_tokens + first
    states = answered.decoded.last_hidden_state[[start - 1]]
    following = digit_tokens(engine.tokenizer, tokens[first].raw[:offset])
    beginnings = [_Beginning("", (), 1.0)]
    probs: dict[int, float] = {}
    while True:
        longer = list(_continue(engine, states, beginnings, following))
        for each in longer:
            if not each.is_open:
                value = int(each.digits)
                probs[value] = probs.get(value, 0.0) + each.prob
        beginnings = _keep([each for each in longer if each.is_open], written, beam)
        if not beginnings:
            return probs
        states = _run_rows(answered, start, [each.ids for each in beginnings], report)
        following = digit_tokens(engine.tokenizer)


def _continue(
    engine: Engine,
    states: torch.Tensor,
    beginnings: Sequence[_Beginning],
    following: Sequence[DigitToken],
) -> Iterator[_Beginning]:
    """Every way to go on by one token, and every whole number: what ends here is not open.

    Args:
        engine: the loaded checkpoint.
        states: (rows, hidden) after each beginning.
        beginnings: one per row.
        following: the tokens that write more digits.
    """
    ids = torch.tensor([token.id for token in following], dtype=torch.int64)
    rows = zip(states.split(LOGITS_CHUNK), _chunks(beginnings, LOGITS_CHUNK), strict=True)
    for chunk, chunk_beginnings in rows:
        chances = apply_head(engine, chunk).double().softmax(-1)[:, ids]
        for beginning, row in zip(chunk_beginnings, chances.tolist(), strict=True):
            digits, prob = beginning.digits, beginning.prob
            if digits:  # no digit follows
                end = max(0.0, 1.0 - sum(row))
                yield _Beginning(digits, beginning.ids, prob * end, is_open=False)
            for token, chance in zip(following, row, strict=True):
                longer = digits + token.digits
                if WHOLE.fullmatch(longer):
                    longer_ids = (*beginning.ids, token.id)
                    yield _Beginning(longer, longer_ids, prob * chance, token.is_open)


def _chunks(items: Sequence[_Beginning], size: int) -> Iterator[Sequence[_Beginning]]:
    return (items[at : at + size] for at in range(0, len(items), size))


def _keep(
    beginnings: list[_Beginning], written: tuple[int, ...], beam: int | None
) -> list[_Beginning]:
    """The beginnings to continue: the most likely ones, and the written one in any case."""
    if beam is None:
        return beginnings
    beginnings.sort(key=lambda each: each.prob, reverse=True)
    return [
        each
        for rank, each in enumerate(beginnings)
        if (rank < beam and each.prob >= LEAST_PROB) or each.ids == written[: len(each.ids)]
    ]


def _run_rows(
    answered: Run, start: int, rows: Sequence[tuple[int, ...]], report: Callable[[], None]
) -> torch.Tensor:
    """The decoder's last states after rows of equally many tokens from ``start`` on.

    Returns:
        ``(rows, hidden)``, after the final norm, on the CPU.
    """
    engine = answered.engine
    prefix = crop_cache(answered.decoded.cache, start)
    at_once = max(1, CACHE_BYTES // cache_bytes(prefix))
    first = start + int(answered.merged.rope_deltas)
    states = []
    for ids in torch.tensor(rows).split(at_once):
        report()
        positions = torch.arange(first, first + ids.shape[1]).expand(3, len(ids), -1)
        cache = expand_cache(prefix, len(ids))
        states.append(decode_states(engine, cache, ids, positions)[:, -1].cpu())
    return torch.cat(states)
