"""Thinking folded apart and cut, on a random checkpoint with a template that thinks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from components.tabs.sampling import one_step, side, tab, thinking
from components.tabs.sampling.columns import SETTINGS
from components.tabs.sampling.lab import Lab
from components.tabs.sampling.sections import read_sections
from playground.engine import Engine
from playground.errors import InputError
from playground.experiments.thinking import stream_thinking_curve
from playground.loading.load import load_engine
from playground.pipeline import Run
from playground.sampling.paths import prompt_prefix
from playground.sampling.trace import SamplingSettings
from tests.components.drawings import draw_part, make_drawing
from tests.components.html_reader import read_html
from tests.components.runs import ignore_progress, make_run
from tests.components.tabs.sampling.columns import write
from tests.media_samples import make_square_image
from tests.thinking_checkpoint import make_thinking_checkpoint

BUDGETED = SamplingSettings(temperature=1.0, seed=2, thinking_budget=6)
UNLIMITED = SamplingSettings(temperature=1.0, seed=2)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    folder = make_thinking_checkpoint(tmp_path_factory.mktemp("thinking"))
    return load_engine(folder, device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def run(engine: Engine) -> Run:
    run = make_run(engine, "What is it?", make_square_image())
    run.ensure("decoder")
    return run


@pytest.fixture(scope="module")
def lab(run: Run) -> Lab:
    """Column A closes its thinking after 6 tokens, column B does not within 12."""
    return write(run, BUDGETED, UNLIMITED, length=12)[-1]


def test_budget_is_a_field_where_the_template_thinks(run: Run, shipped_engine: Engine) -> None:
    other = make_run(shipped_engine)
    ids = [[field["id"] for field in SETTINGS.details(each)["fields"]] for each in (run, other)]
    assert set(ids[0]) - set(ids[1]) == {"thinking-budget"}
    (budget,) = (each for each in one_step.SLIDERS if each.id == "thinking-budget")
    assert budget.spec(run) is not None
    assert budget.spec(other) is None


def test_thinking_is_folded_apart(run: Run, lab: Lab) -> None:
    assert lab.sampled is not None
    page = read_html(side.texts(run, lab, "probability"))
    first, second = page.find("details")
    assert first.text.startswith("Thinking: 6 tokens · ")
    assert second.text.startswith("Thinking: 12 tokens · ")
    sections = page.find("section")
    assert "Answer: 5 tokens" in sections[0].text
    assert "It is not finished: no answer follows." in sections[1].text
    inside = [token for token in page.find("b") if "details" in token.parents]
    assert len(inside) == 7 + 12  # </think> goes with the thinking
    firsts = [each.attrs["data-first"] for each in page.find("p", "pg-picks")]
    assert firsts == ["0", "7", "0"]
    # Every token is shown once.
    assert len(page.find("b")) == sum(len(trace.steps) for trace in lab.sampled.traces)


def test_sections_add_up(run: Run, lab: Lab) -> None:
    assert lab.sampled is not None
    trace, seconds = lab.sampled.traces[0], lab.token_seconds[0]
    found = read_sections(run, trace, seconds)
    assert found is not None
    assert found.thinking.seconds is not None
    assert found.answer.seconds is not None
    close = trace.steps[6].raw_log_prob
    total = sum(step.raw_log_prob for step in trace.steps)
    assert found.thinking.log_prob + close + found.answer.log_prob == pytest.approx(total)
    assert found.thinking.seconds == pytest.approx(seconds[5])


def test_nothing_is_folded_while_it_is_generated_or_without_thinking(
    run: Run, lab: Lab, shipped_engine: Engine
) -> None:
    assert "<details" not in side.texts(run, replace(lab, is_live=True), "probability")
    other = make_run(shipped_engine, "Describe this image.", make_square_image())
    assert "<details" not in side.texts(other, write(other, UNLIMITED, length=3)[-1], "probability")


def test_curve_is_the_engine_s_own(run: Run, lab: Lab) -> None:
    assert lab.sampled is not None
    *found, last = thinking.cut(run, ignore_progress, lab, None, 2)
    steps = lab.sampled.traces[0].steps
    ids = [step.id for step in steps]
    answer = [step.id for step in steps[7:] if step.text.strip()]
    prompt = prompt_prefix(run.inputs, run.merged, run.decoded)
    *_, expected = stream_thinking_curve(
        run.engine, prompt, ids[:6], last.curve.answer_ids, every=2
    )
    assert set(answer) <= set(last.curve.answer_ids)
    assert [cut.num_thinking for cut in last.curve.cuts] == [0, 2, 4, 6]
    for cut, other in zip(last.curve.cuts, expected.cuts, strict=True):
        np.testing.assert_array_equal(cut.log_probs, other.log_probs)
    chart = thinking.curve(run, last)
    assert chart is not None
    assert list(chart.data[0].x) == [0, 2, 4, 6]
    assert list(chart.data[0].y) == pytest.approx(
        [np.exp(cut.log_prob) for cut in last.curve.cuts], rel=1e-5
    )
    assert chart.layout.xaxis.title.text == "Thinking tokens before the cut"
    assert "3 cuts so far" in thinking.words(run, found[-1])
    assert "less likely than not" in thinking.words(run, last)


def test_settled_answer_is_named_and_marked(run: Run, lab: Lab) -> None:
    *_, last = thinking.cut(run, ignore_progress, lab, "A", 3)
    sure = replace(
        last.curve, cuts=tuple(replace(each, log_probs=np.zeros(1)) for each in last.curve.cuts)
    )
    found = replace(last, curve=sure)
    assert "From 0 of 6 thinking tokens on, the answer of A" in thinking.words(run, found)
    chart = thinking.curve(run, found)
    assert chart is not None
    assert [shape.x0 for shape in chart.layout.shapes] == [0]


def test_only_finished_thinking_can_be_chosen(run: Run, lab: Lab) -> None:
    buttons = read_html(thinking.sources(run, lab, None)).find("button")
    assert [each.text for each in buttons] == ["A"]
    only = replace(lab, branches=lab.branches[1:])
    assert "No column has finished its thinking" in thinking.sources(run, only, None)
    with pytest.raises(InputError, match="No column has finished its thinking"):
        next(thinking.cut(run, ignore_progress, only, None, None))
    assert "There are no columns" in thinking.sources(run, None, None)


def test_part_says_that_the_shipped_checkpoint_does_not_think(
    run: Run, shipped_engine: Engine
) -> None:
    assert thinking.PART.is_shown(run)
    assert not thinking.PART.is_shown(make_run(shipped_engine))
    assert thinking.PART.absent.startswith("This checkpoint does not think")
    drawn = draw_part(make_drawing(tab.TAB), thinking.PART, run)
    assert drawn["curve"] is None
