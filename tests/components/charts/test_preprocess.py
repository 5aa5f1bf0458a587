"""The preprocess charts: trace data, axes and titles."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from components.chart_view.figures import encode_figure
from components.charts.preprocess import plot_histograms, plot_patch, plot_row
from components.charts.preprocess_sequence import MAX_FILE_FRAMES, plot_masks, plot_timeline
from components.charts.token_budget import plot_ladder_times, plot_ladder_tokens


def patch_values() -> np.ndarray:
    """(3, 2, 4, 4): channel 10s, frame 1s, position in hundredths; the frames differ."""
    channel, frame, position = np.meshgrid(range(3), range(2), range(16), indexing="ij")
    return (channel * 10 + frame + position / 100).reshape(3, 2, 4, 4).astype(np.float32)


def test_histograms_are_shares_in_percent() -> None:
    edges = np.stack([np.array([-0.5, 1.5, 3.5])] * 3)
    counts = np.array([[1, 3], [4, 0], [0, 0]])
    figure = plot_histograms(edges, counts, "Before", "pixel value")
    red, green, blue = figure.data
    assert red.y.tolist() == [25, 75]
    assert green.y.tolist() == [100, 0]
    assert blue.y.tolist() == [0, 0]  # an empty histogram does not divide by zero
    assert red.x.tolist() == [0.5, 2.5]
    assert [trace.yaxis for trace in figure.data] == ["y", "y2", "y3"]
    assert figure.layout.xaxis.title.text == "pixel value"
    assert list(figure.layout.xaxis.range) == [-0.5, 3.5]
    assert figure.layout.yaxis2.title.text == "green, %"
    domains = [figure.layout[name].domain for name in ("yaxis3", "yaxis2", "yaxis")]
    assert all(low[1] < high[0] for low, high in itertools.pairwise(domains))
    assert "red -0.5 to 3.5" in figure.layout.meta["alt"]


def test_a_patch_is_six_tiles_that_do_not_overlap() -> None:
    values = patch_values()
    figure = plot_patch(values, 37, ["frame 1", "frame 2"])
    assert len(figure.data) == 6
    positions = set()
    for trace in figure.data:
        channel, frame = (int(part) for part in divmod(int(trace.z[0][0]), 10))
        np.testing.assert_array_equal(trace.z, values[channel, frame])
        assert trace.name == f"{('red', 'green', 'blue')[channel]}, frame {frame + 1}"
        positions.add((trace.x0, trace.y0))
        assert trace.x0 == channel * 6
        assert trace.y0 == frame * 6
    assert len(positions) == 6
    assert figure.data[0].customdata[2][3].tolist() == [2, 3]
    assert figure.layout.title.text.startswith("Row 37: 2 frames × 3 channels × 4 × 4")


def test_a_row_runs_through_channels_then_frames() -> None:
    values = patch_values()
    figure = plot_row(values, 5)
    drawn = np.concatenate([trace.y for trace in figure.data])
    np.testing.assert_array_equal(drawn, values.ravel())
    assert np.concatenate([trace.x for trace in figure.data]).tolist() == list(range(96))
    assert [note.text for note in figure.layout.annotations] == [
        "red<br>1",
        "red<br>2",
        "green<br>1",
        "green<br>2",
        "blue<br>1",
        "blue<br>2",
    ]
    assert "twice" not in figure.layout.title.text
    values[:, 1] = values[:, 0]
    assert "every channel appears twice" in plot_row(values, 5).layout.title.text


def test_masks_are_strips_over_the_sequence() -> None:
    types = np.array([0, 0, 1, 1, 1, 0])
    figure = plot_masks(np.ones(6, np.int64), types)
    (strip,) = figure.data
    assert strip.customdata.tolist() == [[1] * 6, types.tolist()]
    assert strip.z.tolist() == [[0] * 6, [1, 1, 2, 2, 2, 1]]  # indices into the used colours
    assert strip.colorbar.ticktext == ("1 attended", "0 text", "1 image")
    assert len(encode_figure(plot_masks(np.ones(5000), np.zeros(5000))) or "") < 50_000
    assert figure.layout.xaxis.title.text == "sequence index"
    assert figure.layout.meta["pointer"] == {"what": "token", "axis": "x"}
    assert "3 text, 3 image" in figure.layout.meta["alt"]


def test_the_timeline_has_every_frame_and_its_pair() -> None:
    figure = plot_timeline((0, 10, 20, 30, 39), 40, 5.0, (1.0, 5.0, 7.8))
    file, sampled, *pairs = figure.data
    assert len(file.x) == 40
    np.testing.assert_allclose(sampled.x, [0, 2, 4, 6, 7.8], rtol=1e-6)
    assert sampled.customdata[:, 1].tolist() == [1, 1, 2, 2, 3]
    assert sampled.customdata[:, 0].tolist() == [0, 10, 20, 30, 39]
    assert [(pair.x[0], pair.x[-1]) for pair in pairs[:2]] == [(0, 2), (4, 6)]
    assert pairs[2].x[0] == pairs[2].x[-1] == pytest.approx(7.8)
    assert [note.text for note in figure.layout.annotations] == ["1.0 s", "5.0 s", "7.8 s"]
    assert figure.layout.xaxis.title.text == "time in the file (s)"
    assert figure.layout.title.text.startswith("5 of the file's 40 frames")


def test_with_a_varying_rate_only_sampled_frames_have_a_time() -> None:
    figure = plot_timeline((0, 7, 9, 30), 31, 12.0, (0.25, 2.0), seconds=(0.0, 0.5, 1.5, 2.5))
    sampled, *pairs = figure.data
    assert sampled.x.tolist() == [0, 0.5, 1.5, 2.5]
    assert len(pairs) == 2
    assert figure.layout.yaxis.ticktext == ("sampled", "patches")


def test_a_long_file_is_thinned_out() -> None:
    indices = tuple(range(0, 3600, 60))
    figure = plot_timeline(indices, 3600, 30.0, tuple(range(30)))
    assert len(figure.data[0].x) == 1800 <= MAX_FILE_FRAMES
    assert len(figure.layout.annotations) <= 12
    assert len(encode_figure(figure) or "") < 60_000


LIMITS = np.array([1024, 16_384, 2_000_000])


def test_ladder_of_tokens() -> None:
    figure = plot_ladder_tokens(LIMITS, np.array([1, 16, 300]), 14, current=1)
    text, images = figure.data
    assert text.y.tolist() == [14, 14, 14]
    assert images.y.tolist() == [1, 16, 300]
    assert images.customdata.tolist() == LIMITS.tolist()
    assert figure.layout.barmode == "stack"
    assert figure.layout.xaxis.ticktext == ("1.02k", "<b>16.4k</b><br>current", "2M")
    assert "from 15 to 314 tokens" in figure.layout.meta["alt"]


def test_ladder_of_times_leaves_gaps() -> None:
    vision = np.array([1.0, np.nan, 3.0], np.float32)
    figure = plot_ladder_times(LIMITS, vision, vision * 2, current=None)
    tower, prefill = figure.data
    assert np.isnan(tower.y[1])
    assert prefill.y[2] == 6
    assert figure.layout.yaxis.title.text == "milliseconds"
    assert "from 3 to 9 ms" in figure.layout.meta["alt"]
    nothing = plot_ladder_times(LIMITS, vision * np.nan, vision * np.nan, current=0)
    assert "not measured yet" in nothing.layout.meta["alt"]
