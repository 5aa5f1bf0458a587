"""The grounding snippet gives the same boxes and points as the engine."""

from __future__ import annotations

from typing import Any

import pytest

from components.snippets.scripts import write_snippet
from playground.answer.stage import run_with_answer
from playground.engine import Engine
from playground.experiments.what_if_runs import greedy_answer
from playground.grounding.locate import GroundedAnswer, locate_answer
from playground.pipeline import Run
from playground.prompt import Prompt, Turn
from playground.sampling.score import read_answer
from tests.media_samples import make_image, make_square_image

BOX = '{"bbox_2d": [217, 112, 920, 956], "label": "红色 \\"圆形\\""}'
POINT = '{"point_2d": [5.5, 1000], "label": "dot"}'
ANSWERS = (
    f"```json\n[\n\t{BOX},\n\t{POINT}\n]\n```",
    f"[{BOX}, {POINT}, {BOX[:30]}",
    BOX,
    "There is none.",
)


def check(found: dict[str, Any], grounded: GroundedAnswer) -> None:
    for name in ("boxes", "points"):
        items = getattr(grounded, name)
        assert [label for label, _ in found[name]] == [item.found.label for item in items]
        for (_, pixels), item in zip(found[name], items, strict=True):
            assert pixels == pytest.approx(item.original)


@pytest.mark.parametrize("text", ANSWERS)
@pytest.mark.parametrize("image", [None, 0])
def test_a_given_answer(
    tiny_random_engine: Engine, play: Any, text: str, image: int | None
) -> None:
    images = (make_image(), make_image(192, 64, seed=1))
    run = Run(tiny_random_engine, Prompt((Turn("user", "Where?", images),)))
    answered = run_with_answer(run, read_answer(tiny_random_engine, text))
    found = play(write_snippet("grounding", run, answer=text, image=image), run)
    check(found, locate_answer(answered, image))


def test_the_greedy_answer(shipped_engine: Engine, play: Any) -> None:
    question = "Where is the red square? Give its box."
    run = Run(shipped_engine, Prompt((Turn("user", question, (make_square_image(),)),)))
    trace = greedy_answer(shipped_engine, run.inputs, run.merged, run.decoded, max_new_tokens=64)
    found = play(write_snippet("grounding", run, max_new_tokens=64), run)
    assert found["answer"] == trace.text
    assert found["answer_ids"] == [step.id for step in trace.steps]
    check(found, locate_answer(run_with_answer(run, found["answer_ids"])))
