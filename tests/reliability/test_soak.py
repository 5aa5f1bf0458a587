"""Short form of ``reliability/soak.py``."""

from __future__ import annotations

from typing import Any

import pytest

from reliability.served import Server
from reliability.soak import Log, Sample, at_rest, growth, soak

HELD = {"runs": 1, "files": 3, "states": 0, "questions": 0, "jobs": 0}


def test_a_while_of_mixed_use(server: Server) -> None:
    log = soak(server, seconds=6, with_browser=False, rest_s=0)
    assert log.problems == []
    assert sum(log.requests.routes.values()) >= 1  # more on a quiet machine
    assert len(log.samples) >= 3
    assert log.samples[-1].held["questions"] == 0  # the pages are closed


def sample(seconds: float, megabytes: float, num_files: int = 10, **held: int) -> Sample:
    return Sample(seconds, int(megabytes * 2**20), num_files, {**HELD, **held})


def test_growth_is_that_of_the_second_half() -> None:
    log = Log([sample(second, min(second, 50) * 4 + second / 10) for second in range(101)])
    assert growth(log, 100) == pytest.approx(4 * 2**20, rel=0.01)


@pytest.mark.parametrize(
    ("change", "rests"),
    [
        ({}, True),
        ({"runs": 2}, False),
        ({"files": 4}, False),
        ({"jobs": 1}, False),
        ({"num_files": 30}, False),
    ],
)
def test_what_stays_is_seen(change: dict[str, Any], rests: bool) -> None:
    assert at_rest(sample(0, 1), sample(9, 1, **change)) is rests
