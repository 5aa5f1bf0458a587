"""Every part of the page takes a run over prompt and answer, with an answer token selected."""

from __future__ import annotations

import numpy as np
import pytest

from components.tabs.decoder import attention, influence, patching, what_if
from components.tabs.decoder.attention import LESS_SINK, MEAN
from components.tabs.decoder.patching import FROM_END, SAME_IMAGES
from playground.answer.stage import run_with_answer
from playground.engine import Engine
from playground.pipeline import Run
from playground.pointer import locate_answer_token
from playground.sampling.score import read_answer
from reliability.shapes import draw_parts
from tests.components.html_reader import read_html
from tests.components.runs import ignore_progress
from tests.playground.sampling_prefills import PROMPTS

TOKEN = 1  # of the answer


def answer(asked: Run) -> Run:
    """The run over the prompt and an answer of a few tokens; holds ``asked`` only weakly."""
    return run_with_answer(asked, read_answer(asked.engine, "A red circle.", with_end=True))


@pytest.fixture(scope="module")
def asked(tiny_random_engine: Engine) -> Run:
    """An image and a question."""
    return Run(tiny_random_engine, PROMPTS["image"])


@pytest.fixture(scope="module")
def answered(asked: Run) -> Run:
    """The same with an answer."""
    return answer(asked)


@pytest.mark.parametrize("kind", ["text", "two images", "video"])
def test_every_part_draws_it(tiny_random_moe_engine: Engine, kind: str) -> None:
    """On a mixture of experts, which has all parts."""
    asked = Run(tiny_random_moe_engine, PROMPTS[kind])
    run = answer(asked)
    selection = {"index": run.inputs.num_prompt_tokens + TOKEN}
    assert list(draw_parts(run, experiments="none", selection=selection)) == []


def test_the_attention_sink_is_removed_from_an_answer_token(answered: Run) -> None:
    selection = locate_answer_token(answered.inputs, answered.positions, TOKEN)
    (found,) = attention.neutral(answered, ignore_progress)
    image = attention.pictures(answered, 1, MEAN, LESS_SINK, found, selection)
    assert len(read_html(image).find("figure")) == 1
    assert f"token {selection.index}" in image


def test_a_what_if_runs_over_the_answer(answered: Run) -> None:
    gains = [1.0] * len(what_if.GAINS)
    (found,) = what_if.changed(
        answered, ignore_progress, *gains, "mrope", (1,), (), (), "zero", False
    )
    assert found.what_if.skipped_layers == (1,)
    assert found.shift.kl > 0
    np.testing.assert_array_equal(
        what_if.words(answered, found).data[0].y, np.exp(found.answer_shift.before)
    )


def test_an_answer_token_is_patched(answered: Run) -> None:
    selection = locate_answer_token(answered.inputs, answered.positions, TOKEN)
    (found,) = patching.patched(
        answered, ignore_progress, SAME_IMAGES, "Why?", 1, FROM_END, selection
    )
    assert found.states.index == selection.index
    assert found.shift.kl > 0
    assert "red" in patching.verdict(answered, found)


def test_an_image_is_occluded_behind_an_answer(answered: Run) -> None:
    *_, found = influence.taken(answered, ignore_progress, 0, 1, None)
    assert found.influence is not None
    assert found.influence.attention.shape[-1] == answered.inputs.num_prompt_tokens
    assert influence.drops(answered, None, found) is not None
