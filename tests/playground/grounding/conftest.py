"""Answers with boxes, teacher-forced after prompts with images, on random and shipped weights."""

from __future__ import annotations

import pytest

from playground.answer.stage import run_with_answer
from playground.engine import Engine
from playground.grounding.number_tokens import answer_text
from playground.grounding.read import Found, read_grounding
from playground.pipeline import Run
from playground.sampling.score import read_answer
from tests.playground.sampling_prefills import PROMPTS

ENGINES = ("shipped_engine", "tiny_random_engine", "tiny_random_moe_engine")
BOX = '```json\n[\n\t{"bbox_2d": [217, 112, 920, 956], "label": "red circle"}\n]\n```'


def answer_with(engine: Engine, text: str, prompt: str = "image") -> tuple[Run, tuple[Found, ...]]:
    """A run over a prompt and this text as its answer, and what is read in it."""
    asked = Run(engine, PROMPTS[prompt])
    answered = run_with_answer(asked, read_answer(engine, text, with_end=True))
    return answered, read_grounding(answer_text(answered.inputs)).found


@pytest.fixture(params=ENGINES)
def any_engine(request: pytest.FixtureRequest) -> Engine:
    """The shipped checkpoint and random ones, dense and with experts."""
    engine: Engine = request.getfixturevalue(request.param)
    return engine
