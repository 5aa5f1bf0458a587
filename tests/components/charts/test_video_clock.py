"""The prompt's clock against the file's, as a chart."""

from __future__ import annotations

import numpy as np

from components.charts.video_clock import ClockLine, plot_clock

RIGHT = ClockLine("read right", (0.5, 2.5), (0.5, 2.5), ("<0.5 seconds>", "<2.5 seconds>"))
WRONG = ClockLine("list of images", (0.5, 2.5), (0.25, 1.25), ("<0.2 seconds>", "<1.2 seconds>"))
FRAMES = (0.0, 1.0, 2.0, 3.0)


def test_frames_share_the_time_of_their_temporal_patch() -> None:
    figure = plot_clock([RIGHT], FRAMES)
    traces = {trace.name: trace for trace in figure.data}
    assert list(traces) == ["equal times", "sampled frames", "read right"]
    np.testing.assert_array_equal(traces["equal times"].x, [0, 3])
    np.testing.assert_array_equal(traces["equal times"].x, traces["equal times"].y)
    np.testing.assert_array_equal(traces["sampled frames"].x, FRAMES)
    np.testing.assert_array_equal(traces["sampled frames"].y, [0.5, 0.5, 2.5, 2.5])
    np.testing.assert_array_equal(traces["read right"].x, [0.5, 2.5])
    np.testing.assert_array_equal(traces["read right"].y, [0.5, 2.5])
    assert list(traces["read right"].customdata) == [
        "&lt;0.5 seconds&gt;",
        "&lt;2.5 seconds&gt;",
    ]
    assert figure.layout.xaxis.title.text == "time in the file (s)"
    assert figure.layout.yaxis.title.text == "time in the prompt (s)"
    assert figure.layout.meta["columns"] == {"customdata": "Text in the prompt"}
    assert "the mean of its frames" in figure.layout.title.text


def test_wrong_readings_have_their_own_symbols_and_the_largest_error_is_named() -> None:
    figure = plot_clock([RIGHT, WRONG], FRAMES)
    lines = figure.data[-2:]
    np.testing.assert_array_equal(lines[1].y, np.array([0.25, 1.25], np.float32))
    assert len({(line.marker.symbol, line.marker.color) for line in lines}) == 2
    assert lines[0].marker.symbol != lines[1].marker.symbol
    assert "wrong by up to 1.25 s" in figure.layout.title.text
    assert "1 wrong readings" in figure.layout.meta["alt"]


def test_the_last_frame_of_an_odd_number_has_its_patch() -> None:
    figure = plot_clock([RIGHT], FRAMES[:3])
    np.testing.assert_array_equal(figure.data[1].y, [0.5, 0.5, 2.5])
