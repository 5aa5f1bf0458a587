from __future__ import annotations

import numpy as np
import pytest

from components.charts.decoder import percent, plot_logit_lens, plot_next_token
from components.charts.decoder_residual import log_colorscale, plot_residual_norms
from components.look.colors import SEQUENTIAL
from playground.records import LogitLens, TokenProb

NORMS = np.array([[1, 2, 4], [10, 20, 40], [100, 200, 1000]], np.float32)
LABELS = ["&lt;|im_start|&gt;", "▦", "?"]


def test_the_heat_map_keeps_the_real_norms() -> None:
    figure = plot_residual_norms(NORMS, LABELS, [(1, 2, "image 1")], 1)
    heat_map, tokens = figure.data
    np.testing.assert_array_equal(heat_map.z, NORMS)
    assert (heat_map.zmin, heat_map.zmax) == (1, 1000)
    assert list(tokens.customdata) == LABELS
    assert list(tokens.x) == [0, 1, 2]
    assert figure.layout.hovermode == "x unified"  # else the tokens would not be shown
    assert figure.layout.xaxis.title.text == "sequence index"


def test_the_colour_bar_reads_as_norms() -> None:
    bar = plot_residual_norms(NORMS, LABELS, [], 0).data[1].marker.colorbar
    assert list(bar.ticktext) == ["1", "2", "5", "10", "20", "50", "100", "200", "500", "1000"]
    np.testing.assert_allclose(bar.tickvals, np.log10([float(text) for text in bar.ticktext]))


def test_states_after_a_deepstack_add_are_marked() -> None:
    axis = plot_residual_norms(NORMS, LABELS, [], 1).layout.yaxis
    assert list(axis.ticktext) == ["0", "1 ◆", "final norm"]
    assert list(axis.tickvals) == [0, 1, 2]


def test_a_bar_marks_each_image() -> None:
    layout = plot_residual_norms(NORMS, LABELS, [(1, 3, "image 1"), (0, 1, "")], 0).layout
    assert [(bar.x0, bar.x1) for bar in layout.shapes] == [(0.5, 2.5), (-0.5, 0.5)]
    assert [name.text for name in layout.annotations] == ["image 1"]


def test_deep_models_name_some_layers_only() -> None:
    axis = plot_residual_norms(np.ones((37, 2), np.float32), ["a", "b"], [], 3).layout.yaxis
    assert axis.tickvals[0] == 0
    assert axis.ticktext[-1] == "final norm"
    assert len(axis.tickvals) <= 20
    assert np.diff(axis.tickvals).min() >= 2


def test_equal_ratios_get_equal_steps_of_colour() -> None:
    scale = log_colorscale(1, 100)
    positions = np.array([position for position, _ in scale])
    assert positions[0] == 0
    assert positions[-1] == 1
    assert (np.diff(positions) > 0).all()
    middle = len(scale) // 2
    assert positions[middle] == pytest.approx((10 - 1) / 99)  # 10 is halfway from 1 to 100
    assert scale[0][1] == "rgb(27,31,75)"  # SEQUENTIAL's first colour
    halfway = [int(SEQUENTIAL[i][1][1:3], 16) for i in (2, 3)]
    assert scale[middle][1].startswith(f"rgb({round(sum(halfway) / 2)},")


def test_equal_norms_have_a_plain_scale() -> None:
    assert log_colorscale(3, 3) == SEQUENTIAL


def _lens() -> LogitLens:
    probs = np.array([[[0.6, 0.4]], [[0.9, 0.05]]], np.float32)
    texts = (((" red", "<b>"),), (("blue", "\n"),))
    return LogitLens((41,), np.array([[[1, 2]], [[3, 4]]]), probs, texts)


def test_a_cell_of_the_lens_shows_its_most_likely_token() -> None:
    figure = plot_logit_lens(_lens(), ["?"], 1)
    table = figure.data[0]
    np.testing.assert_array_equal(table.z, np.array([[0.6], [0.9]], np.float32))
    assert [list(row) for row in table.text] == [["␣red"], ["blue"]]
    assert (table.zmin, table.zmax) == (0, 1)
    assert list(figure.layout.xaxis.ticktext) == ["41 ?"]
    assert list(figure.layout.yaxis.ticktext) == ["0", "final norm"]


def test_a_cell_of_the_lens_lists_its_top_k() -> None:
    words = plot_logit_lens(_lens(), ["?"], 0).data[0].customdata
    assert words[0][0] == ("position 41, input of layer 0<br>60.0 %  ␣red<br>40.0 %  &lt;b&gt;")
    assert words[1][0].startswith("position 41, input of the final norm<br>90.0 %  blue")


def test_next_tokens_keep_their_order_even_when_spelt_alike() -> None:
    probs = (TokenProb(5, "a", 0.5), TokenProb(9, "a", 0.25), TokenProb(2, "<|im_end|>", 0.1))
    figure = plot_next_token(probs)
    bars = figure.data[0]
    np.testing.assert_allclose(bars.x, [0.5, 0.25, 0.1])
    assert list(bars.y) == [0, 1, 2]
    assert list(figure.layout.yaxis.ticktext) == ["a", "a", "&lt;|im_end|&gt;"]
    assert figure.layout.yaxis.autorange == "reversed"
    assert [list(entry) for entry in bars.customdata][2] == ["&lt;|im_end|&gt;", 2]
    assert "a with 50.0 %" in figure.layout.title.text
    assert figure.layout.xaxis.range[1] > 0.5


@pytest.mark.parametrize(
    ("prob", "words"), [(1.0, "100.0 %"), (0.4567, "45.7 %"), (0.0005, "0.1 %"), (1e-9, "< 0.1 %")]
)
def test_probabilities_in_percent(prob: float, words: str) -> None:
    assert percent(prob) == words
