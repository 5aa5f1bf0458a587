"""One step under the glass: from stored logits, under any settings."""

from __future__ import annotations

import html
import json
import math
from typing import Any

import plotly.graph_objects as go
import pytest

from components.tabs.sampling import one_step
from components.tabs.sampling.lab import Lab, choose_step, read_name, read_step
from components.tabs.sampling.one_step import ORDER, ORDERS, SLIDERS, UNIFORM, own_uniform
from components.tabs.sampling.presets import values_of
from playground.errors import InputError
from playground.pipeline import Run
from playground.sampling.trace import SamplingSettings
from playground.sampling.views import ORDERS as ENGINE_ORDERS
from tests.components.html_reader import read_html
from tests.components.tabs.sampling.columns import GREEDY, WILD

AS_WRITTEN = [None] * len(SLIDERS)


def moved(settings: SamplingSettings) -> list[Any]:
    """All sliders at these settings."""
    values = values_of(settings)
    return [values[slider.id] for slider in SLIDERS]


def draw(
    run: Run, lab: Lab, name: str, step: int, *values: Any
) -> tuple[str, go.Figure, str, go.Figure]:
    """Words, bar, table and chart of the filters."""
    given = (run, lab, name, step, *(values or (ORDERS[0], None, *AS_WRITTEN)))
    bar, filters = one_step.draw(*given), one_step.filters(*given)
    assert bar is not None
    assert filters is not None
    return one_step.words(*given), bar, one_step.effects(*given), filters


def test_orders_are_the_engine_s() -> None:
    assert ORDERS == ENGINE_ORDERS


def test_the_glass_shows_the_chosen_step(run: Run, lab: Lab) -> None:
    branch = lab.branch("B")
    step = branch.trace.steps[2]
    words, bar, table, filters = draw(run, lab, "B", 2)
    assert "Column B, token 3" in words
    assert "the same as in the column" in words
    vocab = run.engine.facts.vocab_size
    assert f"{step.num_kept} of {vocab:,} tokens can be sampled" in words
    rows = read_html(table).rows()
    assert [row[0] for row in rows[1:]] == ["vision-token mask", "temperature", "top-k"]
    assert rows[3][1] == f"{vocab - 5 - 5:,}"
    assert rows[3][3] == "5"
    assert filters.layout.xaxis.ticktext == ("before", "no vision tokens", "temperature", "top-k")
    assert float(bar.data[0].x.sum()) == pytest.approx(1)
    assert bar.data[1].x[0] == step.uniform


def test_sliders_stand_where_the_column_was_written(run: Run, lab: Lab) -> None:
    page = read_html(one_step.picker(run, lab, "B", 2))
    (own,) = [
        each.attrs["data-defaults"] for each in page.find("div") if "data-defaults" in each.attrs
    ]
    values = json.loads(html.unescape(own))
    assert [values[slider.id] for slider in SLIDERS] == moved(WILD)
    assert values[UNIFORM.id] == lab.branch("B").trace.steps[2].uniform
    pressed = [each.text for each in page.find("button") if each.attrs["aria-pressed"] == "true"]
    assert pressed == ["B"]
    marked = [index for index, each in enumerate(page.find("b")) if "pg-diverges" in each.classes]
    assert marked == [2]
    # Sliders that are moved to the column's own settings change nothing.
    uniform = values[UNIFORM.id]
    assert draw(run, lab, "B", 2, ORDERS[0], uniform, *moved(WILD))[0] == draw(run, lab, "B", 2)[0]


def test_another_setting_redraws_the_same_logits(run: Run, lab: Lab) -> None:
    words, bar, table, _ = draw(run, lab, "B", 0, ORDERS[0], 0.5, *moved(GREEDY))
    best = int(run.decoded.logits.argmax())
    assert "1 of 1,024 tokens can" in words
    assert "greedy decoding" in table
    assert bar.layout.title.text.startswith("Greedy")
    step = lab.branch("B").trace.steps[0]
    assert ("the same as in the column" in words) == (step.id == best)


def test_the_order_of_the_filters(run: Run, lab: Lab) -> None:
    hot = moved(SamplingSettings(temperature=1.9, top_p=0.7))
    first = draw(run, lab, "A", 0, ORDERS[0], 0.5, *hot)[2]
    last = draw(run, lab, "A", 0, ORDERS[1], 0.5, *hot)[2]
    names = [row[0] for row in read_html(first).rows()[1:]]
    assert [row[0] for row in read_html(last).rows()[1:]] == [names[0], names[2], names[1]]
    assert "(total variation)" in first


@pytest.mark.parametrize(
    ("control", "value"),
    [(ORDER, "x"), (UNIFORM, 1.0), (UNIFORM, "0.5"), (SLIDERS[0], math.nan), (SLIDERS[0], 2.1)],
)
def test_what_the_glass_refuses(run: Run, control: Any, value: object) -> None:
    with pytest.raises(InputError):
        control.parse(value, run)


def test_sliders_that_were_not_moved_follow_the_column(run: Run) -> None:
    assert [slider.parse(None, run) for slider in (*SLIDERS, UNIFORM)] == [*AS_WRITTEN, None]
    assert {slider.follows for slider in SLIDERS} == {("side.branch",)}
    assert UNIFORM.follows == ("side.branch", "side.step")


def test_the_token_that_is_looked_at(lab: Lab) -> None:
    assert lab.sampled is not None
    first = lab.sampled.first_divergence
    for given, expected in (
        ((None, None), ("A", first)),  # where the columns part
        (("B", 4), ("B", 4)),
        ((1, 4), ("B", 4)),  # as a chart's line has it
        (("B", 99), ("B", 7)),
        (("Z", None), ("A", first)),
        ((7, 0), ("A", 0)),
    ):
        branch, index = choose_step(lab, *given)
        assert (branch.name, index) == expected
    assert 0 <= own_uniform(lab.branch("A"), 3) < 1  # a greedy column would have drawn it


@pytest.mark.parametrize("raw", [None, {}, True, -1, 8, 1.0, "x" * 61])
def test_names_from_the_page_are_checked(run: Run, raw: object) -> None:
    with pytest.raises(InputError):
        read_name(raw, run)
    assert (read_name("A.1", run), read_name(1, run)) == ("A.1", 1)


@pytest.mark.parametrize("raw", [None, "1", True, -1, 1.0])
def test_steps_from_the_page_are_checked(run: Run, raw: object) -> None:
    with pytest.raises(InputError):
        read_step(raw, run)
    assert read_step(3, run) == 3
