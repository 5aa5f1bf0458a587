"""One step under the glass: from stored logits, under any settings."""

from __future__ import annotations

import math

import pytest

from components.tabs.sampling.lab import Lab
from components.tabs.sampling.one_step import (
    ORDERS,
    SLIDERS,
    draw_step,
    one_step_values,
    own_uniform,
    slider_values,
    step_index,
)
from components.tabs.sampling.tab import pick_values
from components.tabs.sampling.writing import SamplingParts
from playground.errors import InputError
from playground.pipeline import Run
from playground.records import SamplingSettings
from playground.sampling.views import ORDERS as ENGINE_ORDERS
from tests.components.html_reader import read_html
from tests.components.tabs.sampling.columns import GREEDY, WILD


def test_orders_are_the_engine_s() -> None:
    assert ORDERS == ENGINE_ORDERS


def test_the_glass_shows_the_chosen_step(run: Run, lab: Lab) -> None:
    branch = lab.branch("B")
    column, token, uniform, *rest = one_step_values(run, lab, "B", 2)
    assert (column.value, token.value, token.maximum) == ("B", 3, 8)
    step = branch.trace.steps[2]
    assert uniform == step.uniform
    assert rest[: len(SLIDERS)] == slider_values(WILD)
    words, table, filters, bar = rest[len(SLIDERS) :]
    assert "as the column has it" in words
    assert f"{step.num_kept} tokens can be drawn" in words
    rows = read_html(table).rows()
    assert [row[0] for row in rows[1:]] == ["bar on vision tokens", "temperature", "top-k"]
    vocab = run.engine.facts.vocab_size
    assert rows[3][1] == f"{vocab - 5 - 5:,}"
    assert rows[3][3] == "5"
    assert filters.layout.xaxis.ticktext == ("before", "no vision tokens", "temperature", "top-k")
    assert float(bar.data[0].x.sum()) == pytest.approx(1)
    assert bar.data[1].x[0] == step.uniform


def test_another_setting_redraws_the_same_logits(run: Run, lab: Lab) -> None:
    greedy = slider_values(GREEDY)
    words, table, _, bar = draw_step(run, lab, "B", 1, ORDERS[0], 0.5, *greedy)
    best = int(run.decoded.logits.argmax())
    assert "1 token can" in words
    assert "greedy choice" in table
    assert bar.layout.title.text.startswith("No draw")
    step = lab.branch("B").trace.steps[0]
    assert ("as the column has it" in words) == (step.id == best)


def test_the_order_of_the_filters(run: Run, lab: Lab) -> None:
    hot = slider_values(SamplingSettings(temperature=1.9, top_p=0.7))
    _, first, _, _ = draw_step(run, lab, "A", 1, ORDERS[0], 0.5, *hot)
    _, last, _, _ = draw_step(run, lab, "A", 1, ORDERS[1], 0.5, *hot)
    names = [row[0] for row in read_html(first).rows()[1:]]
    assert [row[0] for row in read_html(last).rows()[1:]] == [names[0], names[2], names[1]]
    assert "of the probability lies elsewhere" in first


@pytest.mark.parametrize(
    ("order", "uniform", "temperature"),
    [("x", 0.5, 1.0), (ORDERS[0], 1.0, 1.0), (ORDERS[0], None, 1.0), (ORDERS[0], 0.5, math.nan)],
)
def test_what_the_glass_refuses(
    run: Run, lab: Lab, order: str, uniform: object, temperature: float
) -> None:
    values = [temperature, *slider_values(GREEDY)[1:]]
    with pytest.raises(InputError):
        draw_step(run, lab, "A", 1, order, uniform, *values)


def test_steps_beyond_the_end_are_the_last(lab: Lab) -> None:
    branch = lab.branch("A")
    assert [step_index(branch, token) for token in (1, 8, 99, -3, math.nan, "x")] == [
        0,
        7,
        7,
        0,
        0,
        0,
    ]
    assert 0 <= own_uniform(branch, 3) < 1  # a greedy column would have drawn it


def test_a_picked_token_is_chosen_everywhere(parts: SamplingParts, run: Run, lab: Lab) -> None:
    values = pick_values(run, lab, "B", 4)
    assert len(values) == 1 + len(parts.glass.outputs) + len(parts.branch.outputs)
    assert "token 5 of column B" in values[0]
    assert values[2].value == 5
