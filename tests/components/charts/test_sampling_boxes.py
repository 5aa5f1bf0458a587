"""The chart of a box's coordinates: every value's probability, the written one marked."""

from __future__ import annotations

import numpy as np

from components.charts.sampling_boxes import LEAST_VALUES, plot_edges
from components.look.colors import BLUE, GREY
from playground.grounding.edges import Edge

WIDE = Edge(217, ((210, 0.1), (217, 0.5), (260, 0.3), (999, 0.0001)), 0.9001, 210, 217, 260)
SURE = Edge(4, ((4, 0.98),), 0.98, 4, 4, 4)


def test_a_row_for_each_coordinate() -> None:
    chart = plot_edges({"x1": WIDE, "y1": SURE}, "1 <b>dog", BLUE)
    first, second = chart.data
    np.testing.assert_array_equal(first.x, [210, 217, 260, 999])
    np.testing.assert_allclose(first.y, [0.1, 0.5, 0.3, 0.0001])
    assert first.marker.color == (GREY, BLUE, GREY, GREY)
    assert (first.name, second.name) == ("x1", "y1")
    assert (first.xaxis, second.xaxis) == ("x", "x2")
    layout = chart.layout
    assert layout.yaxis.domain[0] > layout.yaxis2.domain[1]
    assert [axis.title.text for axis in (layout.yaxis, layout.yaxis2)] == ["x1", "y1"]
    assert "thousandths" in layout.xaxis2.title.text
    assert layout.title.text == "Probability of each coordinate of 1 &lt;b&gt;dog"
    assert "x1 = 217 with 50.0%" in layout.meta["alt"]


def test_the_axes_show_what_is_likely() -> None:
    chart = plot_edges({"x1": WIDE, "y1": SURE}, "1 dog", BLUE)
    low, high = chart.layout.xaxis.range
    assert low < 210
    assert 260 < high < 999  # one in ten thousand is left out
    assert chart.layout.yaxis.range[1] > 0.5
    low, high = chart.layout.xaxis2.range
    assert high - low > LEAST_VALUES
    assert chart.layout.yaxis2.range == (0, 1)


def test_the_mass_that_was_covered_is_said() -> None:
    texts = [each.text for each in plot_edges({"x": SURE}, "1", BLUE).layout.annotations]
    assert texts == ["written 4: 98.0% · covered 98.0%"]
