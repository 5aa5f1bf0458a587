from __future__ import annotations

import numpy as np

from components.charts.vision_rope import (
    MAX_DISTANCE,
    plot_distance_kernel,
    plot_kernel_lines,
    plot_patch_scores,
    plot_rope_angles,
)

KERNEL = np.arange(15, dtype=np.float32).reshape(3, 5) - 7.0


def test_angles_are_drawn_by_their_cosine() -> None:
    angles = np.array([[0.0, np.pi, 2 * np.pi], [0.0, 0.5, 1.0]], np.float32)
    figure = plot_rope_angles(angles, "column", 8, 1)
    heat_map = figure.data[0]
    np.testing.assert_allclose(heat_map.z, np.cos(angles), atol=1e-6)
    np.testing.assert_allclose(heat_map.customdata[..., 0], angles)
    np.testing.assert_allclose(heat_map.customdata[..., 1], angles / (2 * np.pi), rtol=1e-6)
    assert list(heat_map.y) == [8, 9]
    assert [line.x0 for line in figure.layout.shapes] == [0.5, 1.5]
    assert figure.layout.xaxis.title.text == "patch column"
    assert "Pairs 8–9" in figure.layout.title.text


def test_the_kernel_has_distance_0_in_its_middle() -> None:
    figure = plot_distance_kernel(KERNEL, "all ones")
    heat_map = figure.data[0]
    np.testing.assert_array_equal(heat_map.z, KERNEL)
    assert list(heat_map.x) == [-2, -1, 0, 1, 2]
    assert list(heat_map.y) == [-1, 0, 1]
    assert (heat_map.zmin, heat_map.zmax) == (-7, 7)
    assert "0 at distance 0" in figure.layout.meta["alt"]
    assert "at every distance" in figure.layout.title.text


def test_far_distances_are_cut_off_and_it_is_said() -> None:
    kernel = np.arange(119 * 159, dtype=np.float32).reshape(119, 159)
    figure = plot_distance_kernel(kernel, "all ones")
    z = figure.data[0].z
    assert z.shape == (2 * MAX_DISTANCE + 1, 2 * MAX_DISTANCE + 1)
    assert z[MAX_DISTANCE, MAX_DISTANCE] == kernel[59, 79]
    assert f"up to {MAX_DISTANCE} patches" in figure.layout.title.text


def test_scores_of_one_sign_need_no_zero() -> None:
    assert plot_distance_kernel(KERNEL + 10, "").data[0].zmin is None


def test_the_lines_go_through_distance_0() -> None:
    down, across = plot_kernel_lines(KERNEL).data
    assert (list(down.x), list(down.y)) == ([-1, 0, 1], [-5, 0, 5])
    assert (list(across.x), list(across.y)) == ([-2, -1, 0, 1, 2], [-2, -1, 0, 1, 2])
    assert down.line.dash != across.line.dash


def test_two_maps_of_scores_share_their_colours() -> None:
    scores = np.array([[1.0, -2.0], [0.5, 3.0]], np.float32)
    figure = plot_patch_scores(scores, 5.0, (0, 1), 2, "Scores")
    heat_map, query = figure.data
    np.testing.assert_array_equal(heat_map.z, scores)
    assert (heat_map.zmin, heat_map.zmax) == (-5, 5)
    assert (query.x[0], query.y[0]) == (1, 0)
    assert figure.layout.meta["pointer"] == {"what": "patch", "span": 2}
    assert "largest is at row 1, column 1" in figure.layout.meta["alt"]
