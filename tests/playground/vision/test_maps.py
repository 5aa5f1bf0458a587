"""Feature maps compared with NumPy, and the bases of their colours."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from playground.engine import Engine
from playground.errors import InputError
from playground.pipeline import Run
from playground.pointer import patch_rows
from playground.records import TowerOutput, VisualSpan
from playground.vision.maps import (
    FeatureSource,
    feature_norms,
    feature_pca,
    feature_similarity,
    fit_shared_basis,
    grid_features,
)
from tests.playground.prompt_samples import PROMPTS


@pytest.fixture(scope="module", params=["two_images", "video"])
def run(request: pytest.FixtureRequest, tiny_random_engine: Engine) -> Run:
    return Run(tiny_random_engine, PROMPTS[request.param])


def _second(run: Run) -> tuple[VisualSpan, TowerOutput]:
    """The second image or frame, whose rows do not start at 0."""
    span = run.inputs.spans[1]
    tower = run.vision.tower(span.kind)
    assert tower is not None
    return span, tower


def test_patches_stand_in_their_places(run: Run) -> None:
    span, tower = _second(run)
    rows = patch_rows(span)
    assert rows.min() > 0
    for source, stack in (
        (FeatureSource("embedding"), tower.patch_embeds),
        (FeatureSource("state", 3), tower.hidden_states[3]),
    ):
        np.testing.assert_array_equal(grid_features(tower, span, source), stack.numpy()[rows])


def test_tokens_stand_in_their_places(run: Run) -> None:
    """Row by row in the sequence, so a token's features are where its four patches are."""
    span, tower = _second(run)
    first = patch_rows(span)[0, 0] // 4
    for source, stack in (
        (FeatureSource("tap", 1), tower.deepstack_features[1]),
        (FeatureSource("merger"), tower.pooler_output),
    ):
        found = grid_features(tower, span, source)
        assert found.shape == (span.merged_h, span.merged_w, stack.shape[-1])
        for row, column in ((0, 0), (1, 0), (span.merged_h - 1, span.merged_w - 1)):
            token = first + row * span.merged_w + column
            np.testing.assert_array_equal(found[row, column], stack[token])
            assert patch_rows(span)[2 * row, 2 * column] // 4 == token


def test_what_is_not_there_is_refused(run: Run) -> None:
    span, tower = _second(run)
    with pytest.raises(InputError, match="no DeepStack tap 3"):
        grid_features(tower, span, FeatureSource("tap", 3))


def test_similarity_by_hand() -> None:
    features = torch.tensor([[[3.0, 4.0], [6.0, 8.0]], [[-3.0, -4.0], [4.0, -3.0]]])
    np.testing.assert_allclose(feature_similarity(features, 0, 0), [[1, 1], [-1, 0]], atol=1e-6)
    np.testing.assert_allclose(feature_similarity(features, 1, 1), [[0, 0], [0, 1]], atol=1e-6)


def test_norms_by_hand() -> None:
    features = torch.tensor([[[3.0, 4.0], [0.0, 0.0]]])
    np.testing.assert_array_equal(feature_norms(features), [[5, 0]])


@pytest.mark.parametrize("width", [5, 32, 200])
def test_components_are_those_of_a_singular_value_decomposition(width: int) -> None:
    generator = torch.Generator().manual_seed(width)
    # Spread like real features: each direction carries less than the one before.
    scales = torch.arange(1, width + 1).float().rsqrt()
    turned, _ = torch.linalg.qr(torch.randn(width, width, generator=generator))
    features = (torch.randn(6, 9, width, generator=generator) * scales) @ turned + 3
    plain = features.flatten(0, 1).double().numpy()
    plain = plain - plain.mean(0)
    _, singular, directions = np.linalg.svd(plain, full_matrices=False)
    share = singular[:3] ** 2 / (singular**2).sum()
    found = feature_pca(features)
    np.testing.assert_allclose(found.variance, share, rtol=1e-3)
    scores = plain @ directions[0]
    scores *= np.sign(directions[0][np.abs(directions[0]).argmax()])
    low, high = np.quantile(scores, [0.01, 0.99])
    red = (((scores - low) / (high - low)).clip(0, 1) * 255).reshape(6, 9)
    assert np.abs(found.rgb[..., 0] - red).max() < 2


def test_one_basis_serves_all_states(run: Run) -> None:
    """The directions from NumPy, over layer-normalised and centred states."""
    span, tower = _second(run)
    rows = patch_rows(span).ravel()

    def normal(state: torch.Tensor) -> np.ndarray:
        values = state.numpy()[rows].astype(np.float64)
        values -= values.mean(-1, keepdims=True)
        values /= np.sqrt(values.var(-1, keepdims=True) + 1e-5)
        return np.asarray(values - values.mean(0))

    states = [normal(state) for state in tower.hidden_states]
    _, _, directions = np.linalg.svd(np.concatenate(states), full_matrices=False)
    basis = fit_shared_basis(tower, span)
    overlap = np.abs(np.sum(basis.directions.numpy() * directions[:3], axis=-1))
    np.testing.assert_allclose(overlap, 1, atol=1e-3)
    found = feature_pca(grid_features(tower, span, FeatureSource("state", 2)), basis)
    share = ((states[2] @ directions[:3].T) ** 2).sum(0) / (states[2] ** 2).sum()
    np.testing.assert_allclose(found.variance, share, atol=1e-3)


def test_with_one_basis_equal_features_get_equal_colours(run: Run) -> None:
    """A state that merely grew and was shifted looks the same; with bases of their own others do
    not carry over."""
    span, tower = _second(run)
    states = list(tower.hidden_states)
    states[3] = states[1] * 7 + 2
    tower = replace(tower, hidden_states=tuple(states))
    basis = fit_shared_basis(tower, span)
    maps = [
        feature_pca(grid_features(tower, span, FeatureSource("state", state)), basis).rgb
        for state in (1, 3, 4)
    ]
    assert np.abs(maps[0].astype(int) - maps[1]).max() <= 2
    assert np.abs(maps[0].astype(int) - maps[2]).max() > 50
