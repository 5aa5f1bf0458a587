from __future__ import annotations

import numpy as np

from components.charts.rounding import plot_weight_errors


def test_errors_by_part() -> None:
    figure = plot_weight_errors([0.01, 0.125], ["Vision tower", "Decoder MLP"], ["FP8", "int4"])
    (bars,) = figure.data
    np.testing.assert_allclose(bars.x, [0.01, 0.125])
    assert bars.y == ("Vision tower", "Decoder MLP")
    assert bars.customdata == ("FP8", "int4")
    assert bars.text == ("1.00%", "12.50%")
    layout = figure.layout
    assert layout.title.text == "Error of the weights: Decoder MLP moves most, by 12.50%"
    assert layout.xaxis.title.text == "norm of the change ÷ norm of the weights"
    assert layout.xaxis.range[1] > 0.125


def test_weights_that_do_not_move_have_bars_of_no_length() -> None:
    figure = plot_weight_errors([0.0], ["Mergers"], ["int8"])
    assert figure.layout.xaxis.range[1] > 0
    assert figure.data[0].text == ("0.00%",)
