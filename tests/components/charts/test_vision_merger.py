from __future__ import annotations

import numpy as np

from components.charts.vision_merger import (
    MAX_DIMENSIONS,
    plot_merger_vectors,
    plot_tap_similarity,
)


def test_steps_stand_below_one_another() -> None:
    patches = np.arange(8, dtype=np.float32).reshape(4, 2) - 3
    token = np.array([[1.0, -1.0], [2.0, np.nan]], np.float32)
    figure = plot_merger_vectors([("patches", patches), ("token", token)], 37)
    first, second = figure.data
    np.testing.assert_array_equal(first.z, patches)
    np.testing.assert_array_equal(second.z, token)
    assert (list(first.y), list(second.y)) == ([0, 1, 2, 3], [5, 6])
    assert list(figure.layout.yaxis.ticktext) == ["patches", "token"]
    assert list(figure.layout.yaxis.tickvals) == [1.5, 5.5]
    assert (first.zmin, second.zmin) == (-first.zmax, -second.zmax)
    assert first.zmax != second.zmax
    assert "token 37" in figure.layout.title.text
    assert "values up to ±2" in figure.layout.meta["alt"]


def test_long_lines_are_cut_and_it_is_said() -> None:
    patches = np.ones((4, 1024), np.float32)
    figure = plot_merger_vectors([("patches", patches)], 0)
    assert figure.data[0].z.shape == (4, MAX_DIMENSIONS)
    assert "first 256 of 1,024" in figure.layout.xaxis.title.text
    short = plot_merger_vectors([("patches", patches[:, :7])], 0)
    assert short.layout.xaxis.title.text == "dimension in its row (of 7)"


def test_a_tap_is_drawn_on_the_grid_of_tokens() -> None:
    cosine = np.array([[0.5, -0.25, 0.0]], np.float32)
    norms = np.array([[1.0, 2.0, 3.0]], np.float32)
    figure = plot_tap_similarity(cosine, norms, 1, title="Tap 1", reach=0.8, token=(0, 2))
    heat_map, here = figure.data
    np.testing.assert_array_equal(heat_map.z, cosine)
    np.testing.assert_array_equal(heat_map.customdata, norms)
    assert (heat_map.zmin, heat_map.zmax) == (-0.8, 0.8)
    assert (here.x[0], here.y[0]) == (2, 0)
    assert figure.layout.meta["pointer"] == {"what": "merged", "span": 1}
    assert "on average 0.083" in figure.layout.meta["alt"]
