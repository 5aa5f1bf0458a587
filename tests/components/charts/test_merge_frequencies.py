from __future__ import annotations

import math

import numpy as np

from components.charts.merge_deepstack import plot_deepstack_routes
from components.charts.merge_frequencies import plot_angles, plot_frequencies

WAVES = np.array([6.0, 12.0, 24.0, 48.0])
AXES = np.array([0, 1, 2, 0])


def test_each_axis_has_its_own_frequencies() -> None:
    figure = plot_frequencies(WAVES, AXES, largest=20, context=4096)
    t, h, w = figure.data
    np.testing.assert_array_equal(t.x, [0, 3])
    np.testing.assert_array_equal(t.y, [6, 48])
    np.testing.assert_array_equal(h.x, [1])
    np.testing.assert_array_equal(w.y, [24])
    np.testing.assert_allclose(t.customdata, [2 * math.pi / 6, 2 * math.pi / 48], rtol=1e-6)
    assert t.name.endswith("2 of 4")
    assert figure.layout.yaxis.type == "log"
    assert "positions per rotation" in figure.layout.yaxis.title.text
    assert len({trace.marker.symbol for trace in figure.data}) == 3


def test_the_prompts_length_is_drawn_where_it_belongs() -> None:
    figure = plot_frequencies(WAVES, AXES, largest=20, context=4096)
    (line,) = figure.layout.shapes  # the context window lies far above all wavelengths
    (name,) = figure.layout.annotations
    assert line.y0 == line.y1 == 20
    np.testing.assert_allclose(name.y, math.log10(20))
    assert "20" in name.text


def test_the_context_window_is_drawn_where_wavelengths_reach_it() -> None:
    figure = plot_frequencies(WAVES, AXES, largest=20, context=40)
    assert [line.y0 for line in figure.layout.shapes] == [20, 40]


def test_a_prompt_of_one_token_has_a_line_on_a_log_axis() -> None:
    figure = plot_frequencies(WAVES, AXES, largest=0, context=4096)
    assert figure.layout.shapes[0].y0 == 1


def test_angles_stand_beside_those_of_plain_positions() -> None:
    turns, flat = np.array([10.0, 20.0, 30.0, 40.0]), np.array([10.0, 25.0, 35.0, 45.0])
    figure = plot_angles(turns, flat, AXES, token=7)
    plain, t, h, w = figure.data
    np.testing.assert_array_equal(plain.y, flat)
    np.testing.assert_array_equal(t.y, [10, 40])
    np.testing.assert_array_equal(h.x, [1])
    np.testing.assert_array_equal(w.x, [2])
    assert "Token 7" in figure.layout.title.text
    assert "3 of them would differ" in figure.layout.meta["alt"]
    assert "degrees" in figure.layout.yaxis.title.text


def test_taps_stand_at_visual_positions_of_their_layers() -> None:
    visual = np.array([False, True, True, False])
    figure = plot_deepstack_routes(visual, (5, 11), num_layers=28)
    assert [trace.y0 for trace in figure.data] == [-1, 0, 1]
    for trace in figure.data:
        np.testing.assert_array_equal(np.isfinite(trace.z), [visual])
        assert (trace.x0, trace.dx) == (0, 1)
    assert "tap 2 (vision block 11) is added after layer 1" in figure.data[2].name
    names = dict(zip(figure.layout.yaxis.tickvals, figure.layout.yaxis.ticktext, strict=True))
    assert names[-1] == "input: merger"
    assert names[1] == "layer 1: + tap 2"
    assert names[27] == "layer 27"
    assert len(names) < 12, "not every layer can have a name"
    assert figure.layout.yaxis.range[1] > 27
    assert figure.layout.meta["pointer"] == {"what": "token", "axis": "x"}


def test_a_shallow_decoder_names_every_layer() -> None:
    figure = plot_deepstack_routes(np.array([True]), (0, 1, 3), num_layers=6)
    assert list(figure.layout.yaxis.tickvals) == [-1, 0, 1, 2, 3, 4, 5]
