"""The parts that need a second checkpoint."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from components.tabs.compare import drift, swap, weights
from components.tabs.compare.second import second_engine, second_run
from components.tabs.sampling import branch, side
from playground.compare.mix import StageOfModel
from playground.engine import Engine
from playground.pipeline import Run
from playground.prompt import PromptImage
from tests.components.html_reader import read_html
from tests.components.runs import ignore_progress, make_run
from tests.components.tabs.compare.conftest import CHANGED
from tests.playground.compare.changed_engines import changed_engine

PARTS = (weights.PART, drift.PART, swap.PART)
MODULE = CHANGED.removesuffix(".weight")


def test_without_a_second_checkpoint_the_parts_say_so(shipped_engine: Engine) -> None:
    alone = make_run(shipped_engine)
    for part in PARTS:
        assert not part.is_shown(alone)
        assert "--compare" in part.absent


def test_the_second_run_is_kept_and_counted(run: Run) -> None:
    other = second_run(run)
    assert second_run(run) is other
    assert other.engine is second_engine(run)
    other.ensure("decoder")
    assert run.num_bytes >= other.num_bytes > 0


# ------------------------------------------------------------------------------------- weights


def test_the_changed_module_is_named(run: Run) -> None:
    (changes,) = weights.compared(run, ignore_progress)
    assert "1 of" in weights.words(run, changes)
    header, row = read_html(weights.modules(run, changes)).rows()
    assert (header[0], row[0]) == ("Module", MODULE)
    rows = weights.stages(run, changes)
    assert rows.count("untouched") == len(weights.STAGES) - 2  # all but the layers; a tied lm_head
    figure = weights.tree(run, changes)
    assert figure is not None
    assert MODULE in figure.layout.title.text
    by_id = dict(zip(figure.data[0].ids, figure.data[0].customdata, strict=True))
    assert by_id[MODULE][1] == f"{changes.below(MODULE).relative:.2%}"
    assert by_id["model.visual"][1] == "untouched"


def test_equal_weights_are_called_equal(same: Run) -> None:
    (changes,) = weights.compared(same, ignore_progress)
    assert "All weights are equal." in weights.words(same, changes)
    assert weights.modules(same, changes) == ""
    figure = weights.tree(same, changes)
    assert figure is not None
    assert "no module differs" in figure.layout.title.text


def test_the_weights_of_a_pair_are_compared_once(run: Run) -> None:
    (first,) = weights.compared(run, ignore_progress)
    (again,) = weights.compared(Run(run.engine, run.prompt), ignore_progress)
    assert again is first


# --------------------------------------------------------------------------------------- drift


def test_the_drift_starts_after_the_changed_layer(run: Run) -> None:
    (parted,) = drift.measured(run, ignore_progress)
    assert "decoder.hidden_states.3" in drift.words(run, parted)
    steps = drift.steps(run, parted)
    assert steps is not None
    assert "decoder.hidden_states.3" in steps.layout.title.text
    values = dict(zip(steps.data[0].customdata, steps.data[0].y, strict=True))
    assert values["decoder.hidden_states.2"] == 0 < values["decoder.hidden_states.3"]
    tokens = drift.tokens(run, parted)
    assert tokens is not None
    states = [r.decoded.hidden_states[3].double() for r in (run, second_run(run))]
    expected = (states[1] - states[0]).norm(dim=-1) / states[0].norm(dim=-1)
    np.testing.assert_allclose(tokens.data[0].z[3], expected, rtol=1e-4)
    assert not tokens.data[0].z[:3].any()
    shift = drift.shift(run, parted)
    assert shift is not None
    probs = [r.decoded.logits.softmax(-1).max() for r in (run, second_run(run))]
    assert max(shift.data[0].x) == pytest.approx(float(probs[0]), rel=1e-4)
    assert max(shift.data[1].x) == pytest.approx(float(probs[1]), rel=1e-4)


def test_no_drift_says_so(same: Run) -> None:
    (parted,) = drift.measured(same, ignore_progress)
    assert "the same at every step" in drift.words(same, parted)
    (pair,) = drift.answered(same, ignore_progress, 1.0, 4)
    assert "Both answers are equal." in drift.answers(same, pair)
    chart = drift.forced(same, pair)
    assert chart is not None
    np.testing.assert_allclose(chart.data[0].y, chart.data[1].y, rtol=1e-4)


def test_both_answers_and_their_scores(shipped_engine: Engine, image: PromptImage) -> None:
    name = "model.language_model.embed_tokens.weight"
    other = changed_engine(shipped_engine, [name], amount=0.5)
    run = make_run(replace(shipped_engine, other=other), "What is this?", image)
    (pair,) = drift.answered(run, ignore_progress, 1.5, 3)
    assert pair.first_difference is not None
    assert f"from token {pair.first_difference + 1} on" in drift.answers(run, pair)
    chart = drift.forced(run, pair)
    assert chart is not None
    prob = second_run(run).decoded.logits.softmax(-1)[pair.first.steps[0].id]
    assert chart.data[1].y[0] == pytest.approx(float(prob), rel=1e-3)
    _, first, second = read_html(drift.table(run, pair)).rows()
    own = sum(np.log(step.raw_prob) for step in pair.first.steps)
    assert float(first[1].replace("−", "-")) == pytest.approx(own, rel=1e-3)
    assert float(second[4].replace(",", "")) > float(second[3]) >= 1


# ---------------------------------------------------------------------------------------- swap


def test_the_changed_layer_carries_the_change(run: Run) -> None:
    *_, found = swap.measured(run, ignore_progress)
    assert "decoder layer 2 (100%)" in swap.words(run, found)
    figure = swap.carried(run, found)
    assert figure is not None
    shares = dict(zip(figure.data[0].y, figure.data[0].x, strict=True))
    assert shares["decoder layer 2"] == 1
    assert sum(shares.values()) == 1


def test_nothing_is_carried_between_equal_checkpoints(same: Run) -> None:
    *_, found = swap.measured(same, ignore_progress)
    assert "the same in both" in swap.words(same, found)
    assert swap.carried(same, found) is None


def test_a_mixed_model_answers(run: Run) -> None:
    options = [value for _, value in swap.STAGES.choices(run)]
    layer = next(
        index for index, stage in enumerate(swap._stages(run)) if stage == StageOfModel("layer", 2)
    )
    chosen = swap.STAGES.parse([layer], run)
    assert layer in options
    (found,) = swap.mixed(run, ignore_progress, chosen)
    assert found.to_second.kl == 0 < found.to_first.kl
    assert found.mixed.text == found.second.text
    shown = str(swap.answers(run, found, chosen))
    assert "From the second checkpoint: decoder layer 2." in shown
    assert "have changed" not in shown
    assert "have changed" in str(swap.answers(run, found, ()))


def test_the_first_checkpoint_is_not_touched(run: Run) -> None:
    before = run.decoded.logits.clone()
    (_found,) = swap.mixed(run, ignore_progress, (0, 1))
    assert torch.equal(Run(run.engine, run.prompt).decoded.logits, before)


# ------------------------------------------------------------------------------------- sampling


def test_a_column_of_the_second_checkpoint(run: Run) -> None:
    rows = [
        {"temperature": 1.5, "seed": 3},
        {"temperature": 1.5, "seed": 3, "checkpoint": "second"},
    ]
    settings = side.SETTINGS.parse(rows, run)
    *_, lab = side.columns(run, ignore_progress, settings, 8, False)
    assert lab.sampled is not None
    (pair,) = drift.answered(run, ignore_progress, 1.5, 3)
    for trace, alone in zip(lab.sampled.traces, (pair.first, pair.second), strict=True):
        assert [step.id for step in trace.steps] == [step.id for step in alone.steps][:8]
    assert "Column B, second checkpoint" in side.texts(run, lab, "probability")
    assert [branch.second for branch in lab.branches] == [False, True]
    # A branch of it with its own token is the same text: the second checkpoint continues it.
    token = lab.branches[1].trace.steps[0].id
    *_, grown = branch.grow(run, ignore_progress, lab, "B", 0, ("B", 0, token), 8)
    assert grown.branches[-1].second
    assert grown.branches[-1].trace.text == lab.branches[1].trace.text


def test_columns_have_no_checkpoint_without_a_second(shipped_engine: Engine) -> None:
    spec = side.SETTINGS.spec(make_run(shipped_engine))
    assert spec is not None
    assert "checkpoint" not in [field["id"] for field in spec["fields"]]
