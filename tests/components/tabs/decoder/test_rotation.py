"""The decoder tab's M-RoPE."""

from __future__ import annotations

import numpy as np
import pytest

from components.tabs.decoder import rotation
from playground.decoder.rotation import rotate_head, score_curves
from playground.errors import InputError
from playground.pipeline import Run
from playground.pointer import locate_token


def test_the_rotation_of_the_chosen_head_is_drawn(run: Run) -> None:
    selection = locate_token(run.inputs, run.positions, run.inputs.num_tokens - 4)
    turned = rotate_head(run.engine, run.decoded, 2, 3, selection.index)
    numbers = rotation.numbers(run, 2, 3, selection)
    np.testing.assert_array_equal(numbers.data[0].z[1], turned.query)
    np.testing.assert_array_equal(numbers.data[0].z[2], turned.key_before)
    curves = rotation.curves(run, 2, 3, selection)
    moved = score_curves(run.engine, turned)
    lines = [trace for trace in curves.data if trace.mode == "lines"]
    for line, scores in zip(lines, moved.scores, strict=True):
        np.testing.assert_array_equal(line.y, scores)
    marks = [trace for trace in curves.data if trace.mode == "markers"]
    assert [mark.x[0] for mark in marks] == list(turned.distances)
    assert "before the softmax" in curves.layout.yaxis.title.text
    strengths = rotation.strengths(run, 2, 3, selection)
    assert [len(bars.x) for bars in strengths.data] == [4, 2, 2]  # mrope_section
    words = rotation.words(run, 2, 3, selection)
    assert f"token {selection.index} " in words
    assert f"token {turned.key_index} " in words


def test_another_head_layer_or_token_is_rotated_again(run: Run) -> None:
    selection = locate_token(run.inputs, run.positions, 9)
    seen = {
        rotation.rotate(run, layer, head, where).score
        for layer, head, where in ((0, 0, None), (1, 0, None), (0, 1, None), (0, 0, selection))
    }
    assert len(seen) == 4


def test_the_controls_offer_what_the_model_has(run: Run) -> None:
    assert rotation.LAYER.parse(None, run) == run.decoded.num_layers // 2
    assert rotation.LAYER.details(run)["high"] == run.decoded.num_layers - 1
    assert rotation.HEAD.details(run)["high"] == 3
    with pytest.raises(InputError):
        rotation.LAYER.parse(99, run)
    with pytest.raises(InputError):
        rotation.HEAD.parse(-5, run)
