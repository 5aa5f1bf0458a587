"""Two checkpoints' answers: each equals its own, from the same random numbers."""

from __future__ import annotations

import pytest
import torch

from playground.compare.answers import compare_answers
from playground.engine import Engine
from playground.pipeline import Run
from playground.preprocess.stage import model_kwargs
from playground.prompt import PromptImage
from playground.sampling.trace import SamplingSettings
from tests.components.runs import make_run
from tests.playground.compare.changed_engines import changed_engine

EMBED = "model.language_model.embed_tokens.weight"


@pytest.fixture(scope="module")
def first(engine: Engine, image: PromptImage) -> Run:
    return make_run(engine, "What is this?", image)


@pytest.fixture(scope="module")
def second(first: Run) -> Run:
    return Run(changed_engine(first.engine, [EMBED], amount=0.5), first.prompt)


def test_each_answer_is_that_of_its_own_generate(first: Run, second: Run) -> None:
    pair = compare_answers(first, second, SamplingSettings(temperature=0), max_new_tokens=8)
    for run, trace in ((first, pair.first), (second, pair.second)):
        kwargs = model_kwargs(run.inputs, run.engine.device)
        with torch.no_grad():
            written = run.engine.model.generate(**kwargs, do_sample=False, max_new_tokens=8)
        assert [step.id for step in trace.steps] == written[0, run.inputs.num_tokens :].tolist()


def test_equal_checkpoints_sample_the_same_answer(first: Run) -> None:
    twin = Run(changed_engine(first.engine), first.prompt)
    pair = compare_answers(first, twin, SamplingSettings(seed=3), max_new_tokens=8)
    assert pair.first_difference is None
    assert pair.first.text == pair.second.text


def test_the_first_difference_and_the_scores(first: Run, second: Run) -> None:
    pair = compare_answers(first, second, SamplingSettings(seed=3), max_new_tokens=8)
    ids = [[step.id for step in trace.steps] for trace in (pair.first, pair.second)]
    where = pair.first_difference
    assert where is not None
    assert ids[0][:where] == ids[1][:where]
    assert ids[0][where : where + 1] != ids[1][where : where + 1]
    uniforms = [
        [step.uniform for step in trace.steps[: where + 1]] for trace in (pair.first, pair.second)
    ]
    assert uniforms[0] == uniforms[1]
    for scored, reader, answer in (
        (pair.first_by_second, second, ids[0]),
        (pair.second_by_first, first, ids[1]),
    ):
        kwargs = model_kwargs(reader.inputs, reader.engine.device)
        whole = torch.cat([kwargs["input_ids"], torch.tensor([answer])], dim=1)
        more = whole.shape[1] - kwargs["input_ids"].shape[1]
        kwargs |= {
            "input_ids": whole,
            "attention_mask": torch.ones_like(whole),
            "mm_token_type_ids": torch.nn.functional.pad(kwargs["mm_token_type_ids"], (0, more)),
        }
        with torch.no_grad():
            logits = reader.engine.model(**kwargs).logits[0, -more - 1 : -1]
        expected = logits.double().softmax(-1)[range(more), answer]
        probs = [step.prob for step in scored.trace.steps]
        assert probs == pytest.approx(expected.tolist(), abs=1e-6)
