from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from components.charts.vision import plot_feature_norms, plot_norm_summary, state_text

NORMS = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.5]], np.float32)
TOKENS = np.array([[7, 7, 8], [7, 7, 8]])


def _draw_norms(*, merged: bool = False) -> go.Figure:
    return plot_feature_norms(NORMS, TOKENS, "after 2 of 4 blocks", merged=merged, span=1)


def test_patch_norms_are_drawn_as_they_are() -> None:
    figure = _draw_norms()
    heat_map = figure.data[0]
    np.testing.assert_array_equal(heat_map.z, NORMS)
    np.testing.assert_array_equal(heat_map.customdata, TOKENS)
    assert heat_map.z.dtype == np.float32
    assert "after 2 of 4 blocks" in figure.layout.title.text
    assert figure.layout.xaxis.title.text == "patch column"
    assert figure.layout.yaxis.title.text == "patch row"
    assert figure.layout.meta["pointer"] == {"what": "patch", "span": 1}


def test_norms_of_merged_tokens_are_named_so() -> None:
    figure = _draw_norms(merged=True)
    assert figure.layout.xaxis.title.text == "token column"
    assert "Norm of each token" in figure.layout.title.text
    assert figure.layout.meta["pointer"] == {"what": "merged", "span": 1}
    assert "token %{customdata} of the sequence" in figure.data[0].hovertemplate


def test_the_patch_grid_has_the_image_s_orientation() -> None:
    layout = _draw_norms().layout
    assert layout.yaxis.autorange == "reversed"  # row 0 on top
    assert layout.yaxis.scaleanchor == "x"  # square patches


def test_the_range_of_the_norms_is_said_in_words() -> None:
    alt = _draw_norms().layout.meta["alt"]
    assert "2 by 3 patches" in alt
    assert "from 1 to 6.5" in alt


def test_states_have_names() -> None:
    assert state_text(0, 5) == "before the blocks (patch embedding + position)"
    assert state_text(3, 5) == "after 3 of 5 blocks"
    assert state_text(5, 5) == "after 5 of 5 blocks (output)"


def test_the_summary_has_a_line_for_each_statistic() -> None:
    summary = np.array([[1, 2, 3], [2, 4, 6], [3, 6, 9]], np.float32)
    figure = plot_norm_summary(summary, taps=())
    lines = {trace.name: trace for trace in figure.data}
    np.testing.assert_array_equal(lines["smallest"].y, summary[:, 0])
    np.testing.assert_array_equal(lines["median"].y, summary[:, 1])
    np.testing.assert_array_equal(lines["largest"].y, summary[:, 2])
    assert [list(line.x) for line in figure.data] == [[0, 1, 2]] * 3
    assert len({line.line.dash for line in figure.data}) == 3, (
        "lines must not differ only in colour"
    )
    assert figure.layout.yaxis.type is None


def test_a_tap_stands_behind_its_block() -> None:
    figure = plot_norm_summary(np.ones((5, 3), np.float32), taps=(0, 2))
    # After block 0, one block has been passed.
    assert [line.x0 for line in figure.layout.shapes] == [1, 3]
    assert [label.text for label in figure.layout.annotations] == ["tap 1", "tap 2"]


def test_norms_of_very_different_sizes_get_a_log_axis() -> None:
    summary = np.array([[1, 2, 3], [2, 40, 600]], np.float32)
    axis = plot_norm_summary(summary, taps=()).layout.yaxis
    assert axis.type == "log"
    assert "log" in axis.title.text
