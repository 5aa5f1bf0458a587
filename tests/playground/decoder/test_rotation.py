"""One head's rotation, against transformers' own and against complex numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from transformers.models.qwen3_vl.modeling_qwen3_vl import apply_rotary_pos_emb

from playground.decoder.attention import attention_rows, layer_queries_keys
from playground.decoder.rotation import HeadRotation, rotate_head, score_curves
from playground.engine import Engine
from playground.errors import InputError
from playground.pipeline import Run
from tests.components.runs import make_run
from tests.media_samples import make_image

LAYER, HEAD = 1, 3


@pytest.fixture(scope="module")
def runs(tiny_random_engine: Engine, shipped_engine: Engine) -> dict[int, Run]:
    """One run of each checkpoint."""
    return {
        id(engine): make_run(engine, "What?", make_image(192, 96))
        for engine in (tiny_random_engine, shipped_engine)
    }


@pytest.fixture
def run(engine: Engine, runs: dict[int, Run]) -> Run:
    """An image and a question, on either checkpoint."""
    return runs[id(engine)]


def by_complex_numbers(rotation: HeadRotation, steps: np.ndarray, scaling: float) -> float:
    """The score at a distance: each pair is one complex number that turns by axis and frequency."""

    def pairs(vector: np.ndarray) -> np.ndarray:
        first, second = np.split(vector.astype(np.float64), 2)
        return first + 1j * second

    angles = steps[rotation.axes] * rotation.inv_freq.astype(np.float64)
    turned = pairs(rotation.query_before) * np.conj(pairs(rotation.key_before))
    return float((turned * np.exp(1j * angles)).real.sum() * scaling)


def test_the_rotation_is_transformers_own(run: Run) -> None:
    """``apply_interleaved_mrope`` through the module, ``apply_rotary_pos_emb`` on what went in."""
    last = run.inputs.num_tokens - 1
    rotation = rotate_head(run.engine, run.decoded, LAYER, HEAD, last, 5)
    language_model: Any = run.engine.model.model.language_model
    cos, sin = language_model.rotary_emb(
        torch.zeros(1), run.merged.position_ids
    )  # (1, seq, head_dim)
    for before, after, index in (
        (rotation.query_before, rotation.query, last),
        (rotation.key_before, rotation.key, 5),
    ):
        vector = torch.from_numpy(before)[None, None, None]
        turned, _ = apply_rotary_pos_emb(
            vector, vector, cos[:, index : index + 1], sin[:, index : index + 1]
        )
        np.testing.assert_allclose(after, turned[0, 0, 0], atol=1e-5)
    steps = run.positions[:, last] - run.positions[:, 5]
    assert rotation.distances == tuple(steps.tolist())


def test_the_score_is_what_the_softmax_is_given(run: Run) -> None:
    last = run.inputs.num_tokens - 1
    scores = [
        rotate_head(run.engine, run.decoded, LAYER, HEAD, last, key).score
        for key in range(last + 1)
    ]
    weights = np.exp(scores - np.max(scores))
    expected = attention_rows(layer_queries_keys(run.engine, run.decoded, LAYER), [last])
    np.testing.assert_allclose(weights / weights.sum(), expected[HEAD, 0], atol=1e-5)
    found = rotate_head(run.engine, run.decoded, LAYER, HEAD, last)
    assert found.key_index == int(np.argmax(scores[1:last])) + 1


def test_the_curves_pass_through_the_models_score(run: Run) -> None:
    last = run.inputs.num_tokens - 1
    key = run.inputs.spans[0].start + 3
    rotation = rotate_head(run.engine, run.decoded, LAYER, HEAD, last, key)
    curves = score_curves(run.engine, rotation)
    assert curves.distances[0] == -curves.distances[-1] <= -16
    for axis, step in enumerate(rotation.distances):
        at = int(np.flatnonzero(curves.distances == step)[0])
        assert curves.scores[axis, at] == pytest.approx(rotation.score, abs=1e-4)


def test_the_curves_by_complex_numbers(run: Run) -> None:
    last = run.inputs.num_tokens - 1
    rotation = rotate_head(run.engine, run.decoded, LAYER, HEAD, last, 7)
    scaling = run.engine.model.model.language_model.layers[LAYER].self_attn.scaling
    curves = score_curves(run.engine, rotation, reach=9)
    assert curves.scores.shape == (3, 19)
    for axis in range(3):
        for at, distance in enumerate(curves.distances):
            steps = np.array(rotation.distances)
            steps[axis] = distance
            expected = by_complex_numbers(rotation, steps, scaling)
            assert curves.scores[axis, at] == pytest.approx(expected, abs=1e-4)
    assert len({tuple(line.round(4)) for line in curves.scores}) == 3  # each axis has its own


def test_a_token_is_its_own_only_choice_at_the_start(run: Run) -> None:
    assert rotate_head(run.engine, run.decoded, 0, 0, 1).key_index == 0
    assert rotate_head(run.engine, run.decoded, 0, 0, 0).key_index == 0


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ((99, 0, 5), "no layer 99"),
        ((0, 99, 5), "Head 99 or token 5 does"),
        ((0, 0, 10**6), "token 1000000 does not exist"),
        ((0, 0, 5, 6), "comes later"),
    ],
)
def test_what_is_not_there_is_refused(run: Run, where: tuple[int, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        rotate_head(run.engine, run.decoded, *where)
