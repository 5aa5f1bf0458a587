"""The answer's probability when the thinking is cut, against plain forwards."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from playground.engine import Engine
from playground.errors import InputError, StageCancelled
from playground.experiments.thinking import (
    MAX_CUTS,
    ThinkingCurve,
    ThinkingCut,
    cut_lengths,
    stream_thinking_curve,
)
from playground.loading.load import load_engine
from playground.pipeline import Run
from playground.sampling.paths import Prefix, prompt_prefix
from tests.components.runs import make_run
from tests.media_samples import make_square_image
from tests.playground.experiments.plain_forward import plain_log_probs
from tests.thinking_checkpoint import make_thinking_checkpoint

THINKING, ANSWER = [20, 31, 42, 53, 64], [70, 71, 72]


@pytest.fixture(scope="module")
def thinking_engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    folder: Path = make_thinking_checkpoint(tmp_path_factory.mktemp("thinking"))
    return load_engine(folder, device="cpu", dtype="float32")


@pytest.fixture(scope="module", params=["thinking", "shipped"])
def run(request: pytest.FixtureRequest, shipped_engine: Engine, thinking_engine: Engine) -> Run:
    """A prompt that ends with <think>, and one that does not."""
    engine = {"thinking": thinking_engine, "shipped": shipped_engine}[request.param]
    run = make_run(engine, "What is it?", make_square_image())
    run.ensure("decoder")
    return run


def end_of(run: Run) -> Prefix:
    return prompt_prefix(run.inputs, run.merged, run.decoded)


def test_every_cut_equals_a_plain_forward(run: Run) -> None:
    tokenizer = run.engine.tokenizer
    is_open = run.inputs.rendered_prompt.endswith("<think>\n")
    start = [] if is_open else [tokenizer.convert_tokens_to_ids("<think>")]
    close = tokenizer.encode("</think>\n\n", add_special_tokens=False)
    curves = list(stream_thinking_curve(run.engine, end_of(run), THINKING, ANSWER, every=2))
    assert [len(curve.cuts) for curve in curves] == [1, 2, 3, 4]
    assert [cut.num_thinking for cut in curves[-1].cuts] == [0, 2, 4, 5]
    for cut in curves[-1].cuts:
        plain = plain_log_probs(run, ANSWER, [*start, *THINKING[: cut.num_thinking], *close])
        np.testing.assert_allclose(cut.log_probs, plain, atol=2e-5)
        assert cut.log_prob == pytest.approx(float(plain.sum()), abs=1e-4)


def test_prompt_cache_is_left_alone(run: Run) -> None:
    before = run.decoded.cache.get_seq_length()
    *_, curve = stream_thinking_curve(run.engine, end_of(run), [], ANSWER)
    assert len(curve.cuts) == 1
    assert run.decoded.cache.get_seq_length() == before


def test_can_be_stopped(run: Run) -> None:
    def stop(_what: str, done: int, _total: int) -> None:
        if done == 2:
            raise StageCancelled

    stream = stream_thinking_curve(run.engine, end_of(run), THINKING, ANSWER, progress=stop)
    assert [len(next(stream).cuts) for _ in range(2)] == [1, 2]
    with pytest.raises(StageCancelled):
        next(stream)


def test_what_does_not_fit(run: Run) -> None:
    for thinking, answer in ((THINKING, []), (THINKING, [5] * 300)):
        with pytest.raises(InputError):
            next(stream_thinking_curve(run.engine, end_of(run), thinking, answer))


@pytest.mark.parametrize("count", [0, 1, 5, 63, 64, 65, 1000, 4096])
def test_cut_lengths_have_both_ends(count: int) -> None:
    lengths = cut_lengths(count)
    assert (lengths[0], lengths[-1]) == (0, count)
    assert len(set(lengths)) == len(lengths) <= MAX_CUTS
    assert list(lengths) == sorted(lengths)


def test_cuts_that_are_too_many() -> None:
    with pytest.raises(InputError, match="too often"):
        cut_lengths(1000, 1)
    with pytest.raises(InputError, match="too often"):
        cut_lengths(10, 0)


def test_settled_at_by_hand() -> None:
    def curve(*probs: float) -> ThinkingCurve:
        cuts = (ThinkingCut(n, np.log([prob], dtype=np.float32)) for n, prob in enumerate(probs))
        return ThinkingCurve((1,), len(probs) - 1, tuple(cuts))

    assert curve(0.1, 0.9, 0.2, 0.8, 0.9).settled_at == 3
    assert curve(0.9, 0.9).settled_at == 0
    assert curve(0.9, 0.1).settled_at is None
