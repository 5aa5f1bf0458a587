from __future__ import annotations

import numpy as np

from components.charts.vision_position import (
    MAX_DOTS,
    plot_neighbours,
    plot_position_grid,
    plot_position_similarity,
)

COLORS = np.random.default_rng(0).integers(0, 256, (4, 4, 3)).astype(np.uint8)
# Two rows and three columns of patches on a grid of four entries a side.
POSITIONS = np.stack(np.meshgrid([0.0, 3.0], [0.0, 1.5, 3.0], indexing="ij"), -1)


def test_the_patches_are_spread_over_the_grid() -> None:
    figure = plot_position_grid(COLORS, POSITIONS, (1, 1), np.array([13, 14, 13, 14]))
    image, dots, neighbours, mark = figure.data
    assert image.source.startswith("data:image/")
    assert list(zip(dots.y, dots.x, strict=True)) == [
        tuple(position) for position in POSITIONS.reshape(-1, 2)
    ]
    # An entry that is repeated at the border is marked once.
    assert list(neighbours.customdata) == [13, 14]
    assert (list(neighbours.x), list(neighbours.y)) == ([1, 2], [3, 3])
    assert (mark.x[0], mark.y[0]) == (1.5, 3.0)
    assert list(figure.layout.yaxis.range) == [3.5, -0.5]  # row 0 on top
    assert "row 3.00, column 1.50" in figure.layout.meta["alt"]


def test_a_photos_patches_are_thinned_out_and_it_is_said() -> None:
    positions = np.zeros((60, 80, 2))
    dots = plot_position_grid(COLORS, positions, (0, 0), np.arange(4)).data[1]
    assert len(dots.x) <= MAX_DOTS
    assert "1 in 3 rows and columns" in dots.name


def test_the_weights_stand_at_their_entries() -> None:
    weights = np.array([0.1, 0.2, 0.3, 0.4], np.float32)
    figure = plot_neighbours(
        COLORS, np.array([1.7, 2.6]), (5, 6), np.array([6, 7, 10, 11]), weights
    )
    labels = {(note.x, note.y): note.text for note in figure.layout.annotations}
    assert labels == {
        (2, 1): "<b>× 0.100</b><br>entry 6",
        (3, 1): "<b>× 0.200</b><br>entry 7",
        (2, 2): "<b>× 0.300</b><br>entry 10",
        (3, 2): "<b>× 0.400</b><br>entry 11",
    }
    widths = [trace.line.width for trace in figure.data[1:] if trace.mode == "lines"]
    assert widths == sorted(widths)
    assert widths[0] < widths[-1]
    assert "entry 11 has the largest weight" in figure.layout.meta["alt"]


def test_an_entry_beyond_the_edge_is_not_drawn_twice() -> None:
    weights = np.array([0.75, 0.0, 0.25, 0.0], np.float32)
    figure = plot_neighbours(
        COLORS, np.array([1.25, 3.0]), (0, 0), np.array([7, 7, 11, 11]), weights
    )
    assert [note.text for note in figure.layout.annotations] == [
        "<b>× 0.750</b><br>entry 7",
        "<b>× 0.250</b><br>entry 11",
    ]
    assert [trace.mode for trace in figure.data[1:]].count("lines") == 2


def test_similarity_is_drawn_as_it_is() -> None:
    similarity = np.array([[1.0, -0.25], [0.5, 0.0]], np.float32)
    figure = plot_position_similarity(similarity, (0, 0), 3)
    np.testing.assert_array_equal(figure.data[0].z, similarity)
    assert (figure.data[0].zmin, figure.data[0].zmax) == (-0.25, 1.0)
    assert figure.layout.meta["pointer"] == {"what": "patch", "span": 3}
    assert figure.layout.xaxis.title.text == "patch column"
    assert figure.layout.yaxis.autorange == "reversed"
