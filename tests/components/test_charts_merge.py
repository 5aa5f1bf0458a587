from __future__ import annotations

import numpy as np

from components.chart_style import KIND_COLORS
from components.charts.merge import plot_embed_norms, plot_positions, plot_positions_3d

# Two text tokens, a picture of 1 x 3 tokens, and a text token.
POSITIONS = np.array([[0, 1, 2, 2, 2, 5], [0, 1, 2, 2, 2, 5], [0, 1, 2, 3, 4, 5]], np.int32)
INDICES = np.arange(6)
KINDS = ["special", "text", "image", "image", "image", "text"]
LABELS = ["&lt;|im_start|&gt;", "user", "p", "p", "p", "?"]


def test_each_kind_is_a_series_at_its_places() -> None:
    figure = plot_positions_3d(POSITIONS, INDICES, KINDS, LABELS)
    series = {trace.name: trace for trace in figure.data}
    assert set(series) == {"special", "text", "image"}
    image = series["image"]
    np.testing.assert_array_equal(image.x, [2, 3, 4])  # w
    np.testing.assert_array_equal(image.y, [2, 2, 2])  # h
    np.testing.assert_array_equal(image.z, [2, 2, 2])  # t
    assert image.marker.color == KIND_COLORS["image"]
    assert [list(entry) for entry in image.customdata] == [[2, "p"], [3, "p"], [4, "p"]]
    scene = figure.layout.scene
    titles = [axis.title.text for axis in (scene.xaxis, scene.yaxis, scene.zaxis)]
    assert titles == ["w (width)", "h (height)", "t (time)"]
    assert len({trace.marker.symbol for trace in figure.data}) == 3, "colour alone tells them apart"


def test_the_lines_are_t_h_and_w() -> None:
    figure = plot_positions(POSITIONS, INDICES, LABELS, [(2, 5, "image 1")], (5, 5))
    lines = {trace.name: trace for trace in figure.data}
    for row, axis in enumerate("thw"):
        np.testing.assert_array_equal(lines[axis].x, INDICES)
        np.testing.assert_array_equal(lines[axis].y, POSITIONS[row])
    np.testing.assert_array_equal(lines["plain 1-D"].y, [0, 5])
    # Where they lie on each other, the wider one shows around the narrower one.
    widths = [lines[axis].line.width for axis in "thw"]
    assert widths == sorted(widths, reverse=True)
    assert figure.layout.xaxis.title.text == "sequence index"


def test_the_jump_is_pointed_out_at_its_token() -> None:
    figure = plot_positions(POSITIONS, INDICES, LABELS, [(2, 5, "image 1"), (5, 6, "")], (5, 5))
    name, arrow = figure.layout.annotations  # the nameless picture gets a band only
    assert name.text == "image 1"
    assert name.x == 3
    assert (arrow.x, arrow.y) == (5, 5)
    assert "largest + 1 = 5" in arrow.text
    assert [(band.x0, band.x1) for band in figure.layout.shapes] == [(1.5, 4.5), (4.5, 5.5)]


def test_text_alone_has_no_jump() -> None:
    figure = plot_positions(POSITIONS[:, :2], INDICES[:2], LABELS[:2], [], None)
    assert figure.layout.annotations == ()
    assert figure.layout.shapes == ()


def test_norms_show_what_the_placeholders_became() -> None:
    norms = np.array([[1, 1, 0.5, 0.5, 0.5, 1], [1, 1, 7, 8, 9, 1]], np.float32)
    before, after = plot_embed_norms(norms, INDICES, KINDS, LABELS).data
    np.testing.assert_array_equal(before.y, norms[0])
    np.testing.assert_array_equal(after.x, [2, 3, 4])
    np.testing.assert_array_equal(after.y, [7, 8, 9])
    assert before.marker.symbol != after.marker.symbol
    alt = plot_embed_norms(norms, INDICES, KINDS, LABELS).layout.meta["alt"]
    assert "3 placeholders have norm 0.5" in alt
    assert "7 to 9" in alt


def test_norms_of_text_have_one_series() -> None:
    figure = plot_embed_norms(np.ones((2, 2), np.float32), INDICES[:2], KINDS[:2], LABELS[:2])
    assert [trace.name for trace in figure.data] == ["before: token embeddings"]
