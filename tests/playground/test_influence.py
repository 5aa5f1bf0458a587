"""Masking in batches equals masking one by one through the what-ifs."""

from __future__ import annotations

import numpy as np
import pytest

from playground.engine import Engine
from playground.errors import InputError, StageCancelled
from playground.influence import MAX_ROWS, measure_influence, rank_correlation
from playground.pipeline import Run
from playground.what_if import WhatIf, change_merged
from playground.what_if_runs import run_what_if
from tests.components.runs import make_run
from tests.media_samples import make_picture


@pytest.fixture(scope="module")
def run(tiny_random_engine: Engine) -> Run:
    """Two pictures, the second wide: 12 x 4 patches."""
    return make_run(tiny_random_engine, "What?", make_picture(), make_picture(192, 64, seed=1))


def test_each_drop_is_that_of_a_painted_run(run: Run) -> None:
    span = run.inputs.spans[1]
    plain = run_what_if(run.engine, run.inputs, run.merged, WhatIf(), max_new_tokens=1)
    word = plain.answer.steps[0].id
    measured = measure_influence(run.engine, run.inputs, run.merged, span, [word])
    assert measured.drop.shape == (span.merged_h, span.merged_w)
    assert len(run.inputs.tokens[span.start : span.end]) + 1 > MAX_ROWS  # several batches
    before = float(plain.decoded.logits.float().log_softmax(-1)[word])
    assert measured.log_prob == pytest.approx(before, abs=1e-5)
    for row, column in ((0, 0), (1, 2), (span.merged_h - 1, span.merged_w - 1)):
        index = span.start + row * span.merged_w + column
        painted = run_what_if(
            run.engine, run.inputs, run.merged, WhatIf(painted=(index,)), max_new_tokens=1
        )
        after = float(painted.decoded.logits.float().log_softmax(-1)[word])
        assert measured.drop[row, column] == pytest.approx(before - after, abs=2e-5)


def test_a_later_word_of_the_answer(run: Run) -> None:
    """The answer so far is given; the third word is measured."""
    span = run.inputs.spans[0]
    plain = run_what_if(run.engine, run.inputs, run.merged, WhatIf(), max_new_tokens=3)
    ids = [step.id for step in plain.answer.steps]
    assert len(ids) == 3
    size = max(span.merged_h, span.merged_w)
    measured = measure_influence(run.engine, run.inputs, run.merged, span, ids, block=size)
    assert measured.drop.shape == (1, 1)
    # Greedy: the third step's probability is of the whole vocabulary but the vision tokens.
    step = plain.answer.steps[2]
    raw = next(each.raw_prob for each in step.top if each.id == step.id)
    assert measured.log_prob == pytest.approx(np.log(raw), abs=1e-4)
    # The one block is the whole picture.
    painted = WhatIf(painted=tuple(range(span.start, span.end)))
    merged = change_merged(run.merged, painted)
    bare = measure_influence(run.engine, run.inputs, merged, span, ids, block=size)
    assert bare.drop[0, 0] == pytest.approx(0, abs=1e-5)
    assert measured.log_prob - measured.drop[0, 0] == pytest.approx(bare.log_prob, abs=1e-4)
    hidden = measure_influence(run.engine, run.inputs, run.merged, span, ids, block=2)
    assert hidden.drop.shape == (-(-span.merged_h // 2), -(-span.merged_w // 2))


def test_it_can_be_stopped(run: Run) -> None:
    def stop(_what: str, done: int, _total: int) -> None:
        if done:
            raise StageCancelled

    with pytest.raises(StageCancelled):
        measure_influence(
            run.engine, run.inputs, run.merged, run.inputs.spans[1], [5], progress=stop
        )


def test_nothing_to_measure_is_said(run: Run, tiny_random_engine: Engine) -> None:
    span = run.inputs.spans[0]
    with pytest.raises(InputError, match="nothing to measure"):
        measure_influence(run.engine, run.inputs, run.merged, span, [])
    with pytest.raises(InputError, match="nothing to measure"):
        measure_influence(run.engine, run.inputs, run.merged, span, [1], block=0)
    text = make_run(tiny_random_engine, "Hello")
    with pytest.raises(InputError, match="no picture"):
        measure_influence(text.engine, text.inputs, text.merged, span, [1])


def test_rank_correlation_by_hand() -> None:
    rising = np.array([1.0, 2.0, 10.0, 50.0])
    assert rank_correlation(rising, rising**3) == pytest.approx(1)
    assert rank_correlation(rising, -rising) == pytest.approx(-1)
    # Ranks 1, 2, 3, 4 against 2.5, 2.5, 1, 4: covariance 1.5, variances 5 and 4.5.
    assert rank_correlation(rising, np.array([3.0, 3.0, 1.0, 9.0])) == pytest.approx(
        1.5 / np.sqrt(5 * 4.5)
    )
    assert np.isnan(rank_correlation(rising, np.ones(4)))
