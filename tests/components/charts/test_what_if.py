"""Charts of a change: both distributions, and the drop for each masked part of an image."""

from __future__ import annotations

import numpy as np

from components.charts.decoder_influence import plot_agreement, plot_influence
from components.charts.what_if import plot_answer_shift, plot_patch_sweep, plot_shift
from playground.experiments.answers import AnswerShift
from playground.experiments.what_if_runs import LogitsShift, TokenShift

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


def test_the_shift_is_shown_in_its_title() -> None:
    layout = plot_shift(SHIFT).layout
    assert list(layout.yaxis.ticktext) == ["&lt;|im_end|&gt;", "a"]
    assert "different top token, KL = 0.25 nats" in layout.title.text
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


WORDS = AnswerShift(
    (3, 4, 5),
    np.log(np.array([0.9, 0.8, 0.5], np.float32)),
    np.log(np.array([0.9, 0.1, 0.6], np.float32)),
)


def test_the_token_that_drops_most_is_named() -> None:
    figure = plot_answer_shift(WORDS, ["a", "red", "cat"], chosen=2)
    original, changed = figure.data
    np.testing.assert_allclose(original.y, [0.9, 0.8, 0.5], rtol=1e-6)
    np.testing.assert_allclose(changed.y, [0.9, 0.1, 0.6], rtol=1e-6)
    assert original.marker.pattern.shape != changed.marker.pattern.shape
    assert "“red” drops most, from 80.0 % to 10.0 %" in figure.layout.title.text
    assert list(figure.layout.xaxis.ticktext) == ["a", "red", "cat"]
    assert figure.layout.annotations[0].x == 2
    same = AnswerShift((3,), WORDS.before[:1], WORDS.before[:1])
    assert "no token drops" in plot_answer_shift(same, ["a"]).layout.title.text


def test_the_nearest_head_is_shown() -> None:
    agreement = np.array([[0.1, np.nan], [-0.4, 0.7]], np.float32)
    figure = plot_agreement(agreement)
    np.testing.assert_array_equal(figure.data[0].z, agreement)
    assert (figure.data[0].zmin, figure.data[0].zmax) == (-1, 1)
    assert "layer 1, head 1 agrees most, 0.70" in figure.layout.title.text
    empty = plot_agreement(np.full((1, 2), np.nan, np.float32))
    assert "attention is uniform" in empty.layout.title.text


def test_the_layer_that_decides_is_shown() -> None:
    probs = np.array([[0.9, 0.6, 0.1], [0.0, 0.2, 0.8]], np.float32)
    figure = plot_patch_sweep(probs, ("There", "It"))
    np.testing.assert_array_equal(figure.data[1].y, probs[1])
    assert figure.data[0].line.dash != figure.data[1].line.dash
    assert "“It” first takes the lead at layer 2" in figure.layout.title.text
    stays = plot_patch_sweep(probs[::-1, :2], ("There", "It")).layout.title.text
    assert "first takes the lead at layer 0" in stays
    assert (
        "“There” stays ahead" in plot_patch_sweep(probs[:, :2], ("There", "It")).layout.title.text
    )
