"""Findings: who finds them again, and what goes when there is no more room."""

from __future__ import annotations

import gc

import numpy as np

from components.parts.findings import Findings
from playground.engine import Engine
from playground.pipeline import Run
from tests.components.runs import make_run


def test_a_finding_is_found_by_its_key_run_and_name_alone(tiny_random_engine: Engine) -> None:
    run, other = (make_run(tiny_random_engine) for _ in range(2))
    kept = Findings()
    key = kept.add(run, "decoder.heads.measured", 5)
    assert kept.find(key, run, "decoder.heads.measured") == 5
    for wrong in (
        (key, other, "decoder.heads.measured"),
        (key, run, "decoder.heads.other"),
        (key + "x", run, "decoder.heads.measured"),
        (None, run, "decoder.heads.measured"),
        ({"key": key}, run, "decoder.heads.measured"),
    ):
        assert kept.find(*wrong) is None


def test_the_longest_unused_goes_first_and_what_is_pinned_stays(
    tiny_random_engine: Engine,
) -> None:
    run = make_run(tiny_random_engine)
    kept = Findings(max_bytes=3_500)
    first = kept.add(run, "a", np.zeros(1_000, np.uint8), pinned=True)
    old, used, new = (kept.add(run, "a", np.full(1_000, n, np.uint8)) for n in (1, 2, 3))
    assert kept.find(old, run, "a") is None
    assert kept.find(used, run, "a") is not None
    newest = kept.add(run, "a", np.full(1_000, 4, np.uint8))
    assert kept.num_bytes <= 3_500
    assert [kept.find(key, run, "a") is not None for key in (first, used, new, newest)] == [
        True,
        True,
        False,
        True,
    ]


def test_findings_of_a_run_that_is_gone_are_dropped(tiny_random_engine: Engine) -> None:
    kept = Findings()
    run: Run | None = make_run(tiny_random_engine)
    assert run is not None
    kept.add(run, "a", np.zeros(1_000, np.uint8))
    del run
    gc.collect()
    other = make_run(tiny_random_engine)
    kept.add(other, "a", 1)
    assert len(kept) == 1
