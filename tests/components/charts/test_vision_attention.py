from __future__ import annotations

import math

import numpy as np

from components.charts.vision_attention import plot_head_distance, plot_head_entropy

ENTROPY = np.array([[0.5, 1.0, 2.0], [0.0, 1.5, 4.0]], np.float32)
DISTANCE = np.array([[1.0, 2.0, 3.0], [np.nan, np.nan, np.nan]], np.float32)


def test_entropy_is_a_share_of_the_largest_possible() -> None:
    figure = plot_head_entropy(ENTROPY, even=4.0)
    heat_map = figure.data[0]
    np.testing.assert_allclose(heat_map.z, ENTROPY / 4)
    np.testing.assert_array_equal(heat_map.customdata, ENTROPY)
    assert (heat_map.zmin, heat_map.zmax) == (0, 1)
    assert "log N = 4.000 nats" in heat_map.hovertemplate
    assert (figure.layout.xaxis.title.text, figure.layout.yaxis.title.text) == ("head", "block")


def test_one_patch_alone_has_no_entropy_to_share() -> None:
    assert np.isfinite(plot_head_entropy(np.zeros((1, 1), np.float32), even=0.0).data[0].z).all()


def test_distances_are_drawn_up_to_that_of_uniform_attention() -> None:
    figure = plot_head_distance(DISTANCE, even=5.0)
    np.testing.assert_array_equal(figure.data[0].z, DISTANCE)
    assert figure.data[0].zmax == 5
    assert plot_head_distance(DISTANCE, even=2.0).data[0].zmax == 3, "a head may attend farther"


def test_blocks_that_are_not_measured_stay_empty() -> None:
    figure = plot_head_distance(DISTANCE, even=5.0)
    assert "1 to 3 patches away" in figure.layout.meta["alt"]
    assert math.isnan(figure.data[0].z[1, 0])
    nothing = plot_head_distance(np.full((2, 3), np.nan, np.float32), even=5.0)
    assert "none measured" in nothing.layout.meta["alt"]


def test_every_block_has_room() -> None:
    deep = plot_head_entropy(np.zeros((24, 16), np.float32), even=1.0)
    assert plot_head_entropy(ENTROPY, even=1.0).layout.height < deep.layout.height <= 600
    assert list(deep.layout.yaxis.range) == [-0.5, 23.5]
