"""The sampling lab's charts: their traces, marks and words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from components.charts.sampling import filter_name, plot_entropy, plot_probabilities
from components.charts.sampling_step import plot_draw, plot_filters
from components.charts.sampling_sweep import (
    MAX_ANSWERS,
    plot_answers,
    plot_lengths,
    plot_sweep_entropy,
)
from playground.sampling.filter_chain import FilterContext
from playground.sampling.sweep import Sweep, SweepAnswer, SweepPoint
from playground.sampling.trace import (
    Candidate,
    SamplingRun,
    SamplingSettings,
    SamplingTrace,
    TokenStep,
)
from playground.sampling.views import StepView, walk_filters

NO_IDS = torch.zeros(0, dtype=torch.int64)


def make_step(token_id: int, raw_prob: float, entropy: float = 0.5) -> TokenStep:
    candidate = Candidate(token_id, f"<{token_id}>", raw_prob, 1.0, None)
    return TokenStep(token_id, f"<{token_id}>", 1.0, entropy, 0.5, 1, (candidate,))


def make_trace(*steps: TokenStep) -> SamplingTrace:
    return SamplingTrace(SamplingSettings(), steps, "", "length")


RUN = SamplingRun(
    (
        make_trace(make_step(1, 0.9), make_step(2, 0.5, 1.5), make_step(3, 0.25)),
        make_trace(make_step(1, 0.9), make_step(4, 0.4)),
        make_trace(),  # a column that nothing could be drawn for
    )
)


def look(probs: list[float], uniform: float = 0.55, **settings: Any) -> StepView:
    context = FilterContext(SamplingSettings(**settings), NO_IDS, NO_IDS[None], NO_IDS)
    return walk_filters(
        torch.tensor(probs).log(),
        context,
        "temperature first",
        uniform=uniform,
        top=5,
        text_of=["A", "<b>", "C", "D", "E"].__getitem__,
    )


# -------------------------------------------------------------------------------------- columns


def test_lines_are_the_probabilities_before_the_filters() -> None:
    figure = plot_probabilities(RUN, "ABC")
    assert [line.y.tolist() for line in figure.data] == [
        pytest.approx([0.9, 0.5, 0.25]),
        pytest.approx([0.9, 0.4]),
        [],
    ]
    assert figure.data[0].x.tolist() == [1, 2, 3]
    assert figure.data[0].y.dtype == np.float32
    assert tuple(figure.layout.yaxis.range) == (0, 1.05)
    assert figure.layout.xaxis.title.text == "Token"
    assert figure.data[0].customdata[0] == "&lt;1&gt;"


def test_the_first_difference_is_marked() -> None:
    figure = plot_probabilities(RUN, "ABC")
    assert figure.layout.shapes[0].x0 == 1  # one column has no token at all
    pair = SamplingRun(RUN.traces[:2])
    figure = plot_entropy(pair, "AB")
    assert figure.layout.shapes[0].x0 == 2
    assert figure.layout.annotations[0].text == "first difference: token 2"
    assert figure.data[0].y.tolist() == [0.5, 1.5, 0.5]
    assert figure.layout.yaxis.title.text == "Entropy (nats)"
    same = SamplingRun((RUN.traces[0], RUN.traces[0]))
    assert plot_probabilities(same, "AB").layout.shapes == ()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("top_k", "top-k"),
        ("repetition_penalty", "repetition penalty"),
        ("temperature", "greedy decoding"),
        ("vision_tokens", "vision-token mask"),
        (None, ""),
    ],
)
def test_filters_in_words(name: str | None, words: str) -> None:
    assert filter_name(name) == words


# ------------------------------------------------------------------------------------- one step


def test_a_cell_for_every_token_and_filter() -> None:
    view = look([0.4, 0.3, 0.2, 0.06, 0.04], 0.6, top_k=4, top_p=0.6)
    figure = plot_filters(view)
    heat, marks = figure.data
    assert heat.z.shape == (5, 3)
    np.testing.assert_allclose(np.asarray(heat.z)[:, 0], [0.4, 0.3, 0.2, 0.06, 0.04], rtol=1e-5)
    assert np.isnan(heat.z[4, 1:]).all()
    assert np.isnan(heat.z[2:, 2]).all()
    np.testing.assert_allclose(heat.z[:2, 2], [4 / 7, 3 / 7], rtol=1e-5)
    # Each removed token has one mark, at the filter that removed it.
    assert list(zip(marks.x, marks.y, strict=True)) == [(2, 2), (2, 3), (1, 4)]
    assert figure.layout.xaxis.ticktext == ("before", "top-k", "top-p")
    assert figure.layout.yaxis.ticktext == ("A", "✓ &lt;b&gt;", "C", "D", "E")
    assert "removed by top-k" in heat.customdata[4][1]
    assert "top-k removes 1, top-p removes 2" in figure.layout.meta["alt"]


def test_temperature_is_no_removal_unless_it_is_zero() -> None:
    assert plot_filters(look([0.6, 0.4], temperature=0.5)).layout.xaxis.ticktext[1] == "temperature"
    greedy = plot_filters(look([0.6, 0.4], temperature=0.0))
    assert greedy.layout.xaxis.ticktext[1] == "greedy decoding"


def test_the_number_stands_on_the_token_that_is_drawn() -> None:
    figure = plot_draw(look([0.4, 0.3, 0.2, 0.1], uniform=0.65))
    bar, number = figure.data
    np.testing.assert_allclose(np.asarray(bar.base, float), [0, 0.4, 0.7, 0.9], atol=1e-6)
    np.testing.assert_allclose(bar.x, [0.4, 0.3, 0.2, 0.1], atol=1e-6)
    assert list(number.x) == [0.65, 0.65]
    colors = bar.marker.color
    assert len({colors[1]} - {colors[0], colors[2]}) == 1
    assert figure.layout.title.text == "Uniform sample 0.6500 selects “<b>”"
    assert bar.text[1] == "&lt;b&gt;"
    assert len(plot_draw(look([0.6, 0.4], temperature=0.0)).data) == 1


# --------------------------------------------------------------------------------------- sweeps


def make_sweep(texts: list[list[str]]) -> Sweep:
    points = tuple(
        SweepPoint(
            0.5 * index,
            tuple(SweepAnswer(text, len(text), 0.25 * index, -1.0, True) for text in answers),
        )
        for index, answers in enumerate(texts)
    )
    return Sweep("temperature", SamplingSettings(), 4, points)


def test_answers_are_counted_by_value() -> None:
    figure = plot_answers(make_sweep([["a"] * 4, ["a", "a", "<b>", "c"]]), "Temperature")
    assert {bar.name: bar.y.tolist() for bar in figure.data} == {
        "a": [4, 2],
        "&lt;b&gt;": [0, 1],
        "c": [0, 1],
    }
    assert figure.layout.barmode == "stack"
    assert figure.layout.xaxis.ticktext == ("0", "0.5")
    assert len({bar.marker.pattern.shape for bar in figure.data}) == 3  # not by colour alone


def test_rare_answers_are_one_bar() -> None:
    many = [["x"] * 4] + [[f"{index} {column}" for column in range(4)] for index in range(4)]
    figure = plot_answers(make_sweep(many), "Temperature")
    assert len(figure.data) == MAX_ANSWERS + 1
    others = figure.data[-1]
    assert others.name == "other answers"
    totals = torch.stack([torch.tensor(bar.y) for bar in figure.data]).sum(0)
    assert totals.tolist() == [4] * 5


def test_lengths_and_entropies() -> None:
    sweep = make_sweep([["a", "abc"], ["ab", "abcd"]])
    points, means = plot_lengths(sweep, "Temperature").data
    assert points.x.tolist() == [0, 0, 0.5, 0.5]
    assert points.y.tolist() == [1, 3, 2, 4]
    assert means.y.tolist() == [2, 3]
    assert plot_sweep_entropy(sweep, "Temperature").data[1].y.tolist() == [0, 0.25]
