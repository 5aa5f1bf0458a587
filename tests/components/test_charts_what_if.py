"""Charts of a change: both distributions, and what parts of a picture are worth."""

from __future__ import annotations

import numpy as np

from components.charts.what_if import plot_influence, plot_shift
from playground.what_if_runs import LogitsShift, TokenShift

SHIFT = LogitsShift(
    kl=0.25,
    max_abs_dp=0.3,
    same_top=False,
    tokens=(TokenShift(7, "<|im_end|>", 0.6, 0.3), TokenShift(3, "a", 0.1, 0.35)),
)


def test_two_distributions_side_by_side() -> None:
    first, second = plot_shift(SHIFT, ("as it is", "nearest")).data
    np.testing.assert_allclose(first.x, [0.6, 0.1], rtol=1e-6)
    np.testing.assert_allclose(second.x, [0.3, 0.35], rtol=1e-6)
    assert (first.name, second.name) == ("as it is", "nearest")
    assert first.marker.pattern.shape != second.marker.pattern.shape  # not by colour alone
    assert list(second.text) == ["30.0 %", "35.0 %"]
    assert (SHIFT.top.id, SHIFT.changed_top.id) == (7, 3)


def test_the_shift_is_told_in_its_title() -> None:
    layout = plot_shift(SHIFT).layout
    assert list(layout.yaxis.ticktext) == ["&lt;|im_end|&gt;", "a"]
    assert "another token leads, KL = 0.25 nats" in layout.title.text
    assert "30.0%" in layout.meta["alt"]
    assert layout.xaxis.title.text == "probability"


def test_blocks_of_the_influence_map_lie_on_their_tokens() -> None:
    drop = np.array([[0.5, -1.0], [0.0, 2.0]])
    figure = plot_influence(drop, 2, "red", 1)
    heat_map = figure.data[0]
    np.testing.assert_array_equal(heat_map.z, drop)
    assert list(heat_map.x) == [0.5, 2.5]  # blocks of two tokens
    assert (heat_map.zmin, heat_map.zmax) == (-2, 2)
    assert "row 1, column 1" in figure.layout.meta["alt"]
    assert figure.layout.meta["pointer"] == {"what": "merged", "span": 1}
