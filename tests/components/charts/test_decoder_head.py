"""Charts of one head's rotation, and of a mixture's experts."""

from __future__ import annotations

import numpy as np

from components.charts.decoder_experts import plot_expert_layer, plot_expert_path
from components.charts.decoder_rotation import (
    plot_pair_strengths,
    plot_rotation,
    plot_score_curves,
)
from playground.decoder.rotation import HeadRotation, ScoreCurves

ROTATION = HeadRotation(
    query_index=9,
    key_index=4,
    query_before=np.array([3.0, 1.0, 0.0, 4.0, 0.0, 2.0], np.float32),
    query=np.array([0.0, 1.0, 0.0, 5.0, 0.0, 2.0], np.float32),
    key_before=np.array([0.0, 2.0, 1.0, 1.0, 0.0, 0.0], np.float32),
    key=np.array([1.0, 2.0, 1.0, 0.0, 0.0, 0.0], np.float32),
    distances=(5, 2, -1),
    score=0.5,
    axes=np.array([0, 1, 2]),
    inv_freq=np.array([1.0, 0.5, 0.25], np.float32),
)


def test_each_pair_has_the_strength_of_both_lengths() -> None:
    """Pairs are i and i + 3: query lengths 5, 1, 2 and key lengths 1, 2, 1."""
    figure = plot_pair_strengths(ROTATION)
    assert [trace.y.tolist() for trace in figure.data] == [[5.0], [2.0], [2.0]]
    assert [trace.x.tolist() for trace in figure.data] == [[0], [1], [2]]
    assert len({trace.marker.pattern.shape for trace in figure.data}) == 3
    np.testing.assert_allclose(figure.data[1].customdata, [4 * np.pi], rtol=1e-6)
    assert "t 56%, h 22%, w 22%" in figure.layout.title.text


def test_rows_before_and_after() -> None:
    figure = plot_rotation(ROTATION, "Layer 1, head 2")
    np.testing.assert_array_equal(figure.data[0].z[0], ROTATION.query_before)
    np.testing.assert_array_equal(figure.data[0].z[3], ROTATION.key)
    names = ["t, time", "h, height", "w, width"]
    assert list(figure.data[0].customdata[0]) == [*names, *names]
    assert (figure.data[0].zmin, figure.data[0].zmax) == (-5, 5)
    assert list(figure.layout.yaxis.ticktext) == ["query", "query, rotated", "key", "key, rotated"]


def test_the_axis_that_matters_is_shown() -> None:
    distances = np.arange(-2, 3)
    scores = np.array([[0, 0, 0, 0, 0], [0, 1, 5, 1, 0], [0, 1, 0, 0, 0]], np.float32)
    figure = plot_score_curves(ROTATION, ScoreCurves(distances, scores))
    lines, marks = figure.data[::2], figure.data[1::2]
    np.testing.assert_array_equal(lines[1].y, scores[1])
    assert [mark.x[0] for mark in marks] == [5, 2, -1]
    assert {float(mark.y[0]) for mark in marks} == {0.5}
    assert len({line.line.dash for line in lines}) == 3
    assert "depends most on h, height" in figure.layout.title.text
    assert "− key position" in figure.layout.xaxis.title.text


def test_experts_that_are_not_chosen_are_left_out() -> None:
    weights = np.array([[0.75, 0.0, 0.25], [0.0, 1.0, 0.0]], np.float32)
    path = plot_expert_path(weights, (0, 3), "token 5")
    assert np.isnan(path.data[0].z[0, 1])
    assert path.data[0].z[0, 2] == 0.25
    assert list(path.layout.yaxis.ticktext) == ["0", "3"]
    whole = plot_expert_layer(weights.T, np.array([0, 7]), 3)
    assert list(whole.data[0].x) == [0, 7]
    assert "3 of 3 experts" in whole.layout.title.text
    assert whole.layout.meta["pointer"] == {"what": "token", "axis": "x"}
