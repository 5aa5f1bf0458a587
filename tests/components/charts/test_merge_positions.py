from __future__ import annotations

import numpy as np

from components.charts.merge_distance_map import plot_distance_map
from components.charts.merge_positions import plot_positions, plot_positions_3d
from components.look.colors import KIND_COLORS

# Two text tokens, an image of 1 x 3 tokens, and a text token.
POSITIONS = np.array([[0, 1, 2, 2, 2, 5], [0, 1, 2, 2, 2, 5], [0, 1, 2, 3, 4, 5]], np.int32)
INDICES = np.arange(6)
KINDS = ["special", "text", "image", "image", "image", "text"]
LABELS = ["&lt;|im_start|&gt;", "user", "p", "p", "p", "?"]


def test_each_kind_is_a_series_at_its_places() -> None:
    figure = plot_positions_3d(POSITIONS, INDICES, KINDS, LABELS)
    series = {trace.name: trace for trace in figure.data}
    assert list(series)[-1] == "pointed at"
    assert set(series) == {"special", "text", "image", "pointed at"}
    image = series["image"]
    np.testing.assert_array_equal(image.x, [2, 3, 4])  # w
    np.testing.assert_array_equal(image.y, [2, 2, 2])  # h
    np.testing.assert_array_equal(image.z, [2, 2, 2])  # t
    assert image.marker.color == KIND_COLORS["image"]
    assert image.customdata.tolist() == [[2], [3], [4]]
    assert [list(entry) for entry in series["text"].customdata] == [[1, "user"], [5, "?"]]
    scene = figure.layout.scene
    titles = [axis.title.text for axis in (scene.xaxis, scene.yaxis, scene.zaxis)]
    assert titles == ["w (width)", "h (height)", "t (time)"]
    assert len({trace.marker.symbol for trace in figure.data}) == 4, "colour alone tells them apart"


def test_the_pointer_has_a_trace_of_its_own_in_3d() -> None:
    figure = plot_positions_3d(POSITIONS, INDICES, KINDS, LABELS)
    assert figure.layout.meta["pointer"] == {"what": "token", "axis": "points"}
    mark = figure.data[-1]
    assert len(mark.x) == len(mark.y) == len(mark.z) == 0
    assert mark.marker.size > max(trace.marker.size for trace in figure.data[:-1])


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
    assert figure.layout.meta["pointer"] == {"what": "token", "axis": "x"}


def test_the_jump_is_pointed_out_at_its_token() -> None:
    figure = plot_positions(POSITIONS, INDICES, LABELS, [(2, 5, "image 1"), (5, 6, "")], (5, 5))
    name, arrow = figure.layout.annotations  # the nameless image gets a band only
    assert name.text == "image 1"
    assert name.x == 3
    assert (arrow.x, arrow.y) == (5, 5)
    assert "largest + 1 = 5" in arrow.text
    assert [(band.x0, band.x1) for band in figure.layout.shapes] == [(1.5, 4.5), (4.5, 5.5)]


def test_a_video_has_a_colour_of_its_own() -> None:
    spans = [(1, 3, "image 1"), (4, 6, "video 1")]
    figure = plot_positions(POSITIONS, INDICES, LABELS, spans, None, kinds=["image", "video"])
    colors = [band.fillcolor for band in figure.layout.shapes]
    assert colors == [KIND_COLORS["image"], KIND_COLORS["video"]]


def test_text_alone_has_no_jump() -> None:
    figure = plot_positions(POSITIONS[:, :2], INDICES[:2], LABELS[:2], [], None)
    assert figure.layout.annotations == ()
    assert figure.layout.shapes == ()


def test_text_alone_promises_no_image() -> None:
    texts = (POSITIONS[:, :2], INDICES[:2])
    lines = plot_positions(*texts, LABELS[:2], [], None)
    space = plot_positions_3d(*texts, KINDS[:2], LABELS[:2])
    for figure in (lines, space):
        assert "picture" not in figure.layout.title.text


def test_far_tokens_are_whole_positions_away() -> None:
    values = np.array([[3, 2, 1], [0, 1, 2]])
    figure = plot_distance_map(values, title="Near", quantity="distance", token=9, span=1)
    (cells,) = figure.data
    np.testing.assert_array_equal(cells.z, values)
    assert cells.reversescale, "near is bright"
    assert figure.layout.yaxis.autorange == "reversed", "row 0 is on top, as in the picture"
    assert figure.layout.meta["pointer"] == {"what": "merged", "span": 1}
    assert "to token 9, from 0 to 3" in figure.layout.meta["alt"]


def test_likeness_has_one_scale_for_all_images() -> None:
    values = np.array([[1, 0.2]])
    figure = plot_distance_map(values, title="Near", quantity="likeness", token=0, span=0)
    (cells,) = figure.data
    assert not cells.reversescale, "near is bright"
    assert (cells.zmin, cells.zmax) == (-0.5, 1)
    np.testing.assert_allclose(cells.z, values)
