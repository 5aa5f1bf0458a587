"""The token budget: the ladder, its times, and reruns from it."""

from __future__ import annotations

import json

import numpy as np
import pytest

from components.tabs.preprocess import budget
from components.tabs.preprocess.budget import Measured
from components.tabs.preprocess.budget_answers import Answered
from playground.engine import Engine
from playground.errors import InputError, StageCancelled
from playground.experiments.token_budget import PrefillTime, RungAnswer, answer_rung, token_ladder
from playground.pipeline import Run
from tests.components.html_reader import read_html
from tests.components.runs import ignore_progress, make_run
from tests.media_samples import make_image


def test_the_ladder_in_a_table(two_run: Run) -> None:
    ladder = token_ladder(two_run.engine, two_run.inputs)
    found = Measured({ladder[0].max_pixels: PrefillTime(20, 3.0, 4.5, 3)})
    page = read_html(budget.ladder(two_run, found))
    rows = page.rows()[1:]
    assert [row[1] for row in rows] == [f"{rung.max_pixels:,}" for rung in ladder]
    assert [row[4] for row in rows] == [f"{rung.num_tokens:,}" for rung in ladder]
    assert rows[0][7] == "7.5 ms"
    assert {row[7] for row in rows[1:]} == {"not measured"}
    buttons = page.find("button", "pg-choice")
    assert [json.loads(each.attrs["data-rerun"]) for each in buttons] == [
        {"max_pixels": rung.max_pixels} for rung in ladder
    ]
    pressed = [each.attrs["aria-pressed"] == "true" for each in buttons]
    assert pressed == [rung.is_current for rung in ladder]


def test_what_does_not_fit_cannot_be_chosen(tiny_random_engine: Engine) -> None:
    run = make_run(tiny_random_engine, "a", make_image(3000, 2000))
    rows = read_html(budget.ladder(run, None)).rows()
    assert (rows[-1][0], rows[-1][7]) == ("too long", "does not fit")


def test_a_click_on_a_bar_runs_with_its_limit(two_run: Run) -> None:
    ladder = token_ladder(two_run.engine, two_run.inputs)
    found = Measured({ladder[0].max_pixels: PrefillTime(20, 3.0, 4.5, 3)})
    times = budget.times(two_run, found)
    assert times is not None
    for figure in (budget.tokens(two_run), times):
        assert figure.layout.meta["pick"] == {"rerun:max_pixels": "customdata"}
        for bars in figure.data:
            assert list(bars.customdata) == [rung.max_pixels for rung in ladder]


def test_bars_are_what_was_measured(two_run: Run) -> None:
    assert budget.times(two_run, None) is None
    ladder = token_ladder(two_run.engine, two_run.inputs)
    found = Measured({ladder[1].max_pixels: PrefillTime(20, 3.0, 4.5, 3)})
    figure = budget.times(two_run, found)
    assert figure is not None
    for bars, ms in zip(figure.data, (3.0, 4.5), strict=True):
        assert np.flatnonzero(~np.isnan(bars.y)).tolist() == [1]
        assert bars.y[1] == ms


def test_times_come_rung_by_rung(tiny_random_engine: Engine) -> None:
    run = make_run(tiny_random_engine, "a", make_image(96, 64))
    ladder = token_ladder(tiny_random_engine, run.inputs)
    found = list(budget.measured(run, ignore_progress))
    tables = [read_html(budget.ladder(run, each)).rows()[1:] for each in found]
    missing = [sum(row[7] == "not measured" for row in rows) for rows in tables]
    assert missing == list(range(len(ladder) - 1, -1, -1))
    assert all(row[7].endswith(" ms") for row in tables[-1])


def test_measuring_can_be_stopped(two_run: Run) -> None:
    calls = iter(range(100))

    def stop_later(_what: str, _done: int, _total: int) -> None:
        if next(calls) > 25:
            raise StageCancelled

    with pytest.raises(StageCancelled):
        list(budget.measured(two_run, stop_later))


def test_without_an_image_nothing_is_measured(text_run: Run) -> None:
    with pytest.raises(InputError, match="no image or video"):
        next(budget.measured(text_run, ignore_progress))
    assert budget.PART.shown is not None
    assert not budget.PART.shown(text_run)


def test_the_runs_own_limit_is_named(two_run: Run, tiny_random_engine: Engine) -> None:
    assert budget.limit(two_run) == ""
    run = make_run(tiny_random_engine, "a", make_image(96, 64), max_pixels=4096)
    assert "4,096" in read_html(budget.limit(run)).find("p", "pg-chosen")[0].text


def test_answers_come_from_the_largest_limit_down(tiny_random_engine: Engine) -> None:
    run = make_run(tiny_random_engine, "a", make_image(96, 64), max_pixels=4096)
    limits = [rung.max_pixels for rung in token_ladder(tiny_random_engine, run.inputs)]
    found = list(budget.answered(run, ignore_progress))
    assert [list(each.answers)[-1] for each in found] == limits[::-1]
    rows = read_html(budget.answers(run, found[-1])).rows()[1:]
    assert [row[0] for row in rows] == [f"{limit:,}" for limit in limits]
    expected = answer_rung(tiny_random_engine, run.prompt, limits[0])
    assert found[-1].answers[limits[0]] == expected
    assert [row[3:] for row in rows] == [["–", "–"]] * len(rows)  # random weights write no box
    assert "has no box" in budget.answers(run, found[-1])
    assert budget.overlaps(run, found[-1]) is None
    assert "Answer at every limit" in budget.answers(run, None)
    assert budget.overlaps(run, None) is None


def test_boxes_are_compared_with_those_at_the_largest_limit(two_run: Run) -> None:
    ladder = token_ladder(two_run.engine, two_run.inputs)
    first, last = ladder[0].max_pixels, ladder[-1].max_pixels
    found = Answered(
        {
            last: RungAnswer("<b>whole</b>", ((0, 0, 100, 100.5),)),
            first: RungAnswer("half", ((0, 0, 50, 100.5), (1, 2, 3, 4))),
        }
    )
    page = read_html(budget.answers(two_run, found))
    half, whole = page.rows()[1:]
    assert half[2:] == ["half", "0, 0, 50, 100.5; 1, 2, 3, 4", "0.50"]
    assert whole[2:] == ["<b>whole</b>", "0, 0, 100, 100.5", "1.00"]
    assert page.find("p", "pg-fact") == []
    figure = budget.overlaps(two_run, found)
    assert figure is not None
    (bars,) = figure.data
    assert bars.y[[0, -1]].tolist() == [0.5, 1.0]
    assert np.isnan(bars.y[1:-1]).all()
    assert figure.layout.xaxis.title.text == "max pixels"
    assert figure.layout.yaxis.range == (0, 1.05)


def test_answering_can_be_stopped(two_run: Run) -> None:
    def stop(_what: str, _done: int, _total: int) -> None:
        raise StageCancelled

    with pytest.raises(StageCancelled):
        list(budget.answered(two_run, stop))
