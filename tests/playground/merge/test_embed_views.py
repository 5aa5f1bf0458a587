from __future__ import annotations

import numpy as np
import pytest
import torch

from playground.engine import Engine
from playground.merge.embed_views import (
    EmbedGroup,
    compare_groups,
    embed_groups,
    embed_norms,
    embed_values,
    project_groups,
    thin_groups,
    unit_groups,
)
from playground.pipeline import Run
from playground.prompt import PromptImage
from tests.components.runs import make_run
from tests.playground.merged_samples import make_merged


def _group(name: str, *vectors: tuple[float, ...]) -> EmbedGroup:
    return EmbedGroup(name, np.arange(len(vectors)), np.array(vectors, np.float32))


@pytest.fixture(scope="module")
def both_run(engine: Engine, image: PromptImage, wide_image: PromptImage) -> Run:
    return make_run(engine, "Which?", image, wide_image)


def test_norms_by_hand() -> None:
    before = torch.tensor([[[3.0, 4.0], [0.0, 1.0]]])
    after = torch.tensor([[[3.0, 4.0], [6.0, 8.0]]])
    np.testing.assert_array_equal(embed_norms(make_merged(before, after)), [[5, 1], [5, 10]])


def test_norms_of_half_precision_are_taken_in_float32() -> None:
    values = torch.full((1, 1, 4096), 300.0, dtype=torch.float16)  # the sum of squares overflows
    np.testing.assert_allclose(embed_norms(make_merged(values, values)), 300 * 64)


def test_values_are_the_first_ones_by_token() -> None:
    before = torch.arange(6.0).reshape(1, 2, 3)
    values = embed_values(make_merged(before, before + 10), 2)
    np.testing.assert_array_equal(values, [[[0, 3], [1, 4]], [[10, 13], [11, 14]]])


def test_groups_are_the_models_own_vectors(both_run: Run) -> None:
    groups = {each.name: each for each in embed_groups(both_run.inputs, both_run.merged)}
    assert list(groups) == ["text", "special", "image placeholder", "image"]
    with torch.no_grad():
        model = both_run.engine.model
        table = model.get_input_embeddings().weight
        features = model.model.get_image_features(
            both_run.inputs.pixel_values, both_run.inputs.image_grid_thw, return_dict=True
        ).pooler_output
        np.testing.assert_allclose(groups["image"].vectors, torch.cat(features), atol=1e-5)
        pad = table[both_run.engine.facts.image_token_id]
        np.testing.assert_array_equal(groups["image placeholder"].vectors, pad[None])
        text = table[both_run.inputs.input_ids[0, groups["text"].indices]]
        np.testing.assert_array_equal(groups["text"].vectors, text)
    sizes = [len(each.indices) for each in groups.values()]
    assert sum(sizes) == both_run.inputs.num_tokens + 1  # the placeholder, besides what replaced it


def test_every_placeholder_has_the_same_vector_before(both_run: Run) -> None:
    """So one point may stand for all of them."""
    pads = both_run.inputs.input_ids[0] == both_run.engine.facts.image_token_id
    before = both_run.merged.token_embeds[0, pads]
    assert before.equal(before[:1].expand_as(before))


def test_components_by_hand() -> None:
    # Wide along the first axis, narrow along the second, nothing along the third.
    groups = (
        _group("text", (-3.0, 0.0, 1.0), (3.0, 0.0, 1.0)),
        _group("image", (0.0, 1.0, 1.0), (0.0, -1.0, 1.0)),
    )
    pca = project_groups(groups)
    np.testing.assert_allclose(pca.scores[0], [[-3, 0], [3, 0]], atol=1e-6)
    np.testing.assert_allclose(pca.scores[1], [[0, 1], [0, -1]], atol=1e-6)
    np.testing.assert_allclose(pca.variance, [0.9, 0.1])


@pytest.mark.parametrize("shape", [(9, 30), (30, 9)])
def test_components_agree_with_torch(shape: tuple[int, int]) -> None:
    vectors = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    whole = EmbedGroup("text", np.arange(shape[0]), vectors.numpy())
    pca = project_groups((whole,))
    centred = vectors - vectors.mean(0)
    left, singular, _ = torch.linalg.svd(centred, full_matrices=False)
    expected = (left[:, :2] * singular[:2]).abs().numpy()
    np.testing.assert_allclose(np.abs(pca.scores[0]), expected, atol=1e-4)
    share = singular.square()[:2] / singular.square().sum()
    np.testing.assert_allclose(pca.variance, share.numpy(), rtol=1e-4)


def test_one_vector_has_no_spread() -> None:
    pca = project_groups((_group("text", (1.0, 2.0)),))
    np.testing.assert_array_equal(pca.scores[0], [[0, 0]])
    assert pca.variance == (0, 0)


def test_thinned_groups_keep_both_ends() -> None:
    long = EmbedGroup("image", np.arange(100, 200), np.zeros((100, 2), np.float32))
    (thin,) = thin_groups((long,), 7)
    assert len(thin.indices) == len(thin.vectors) == 7
    assert thin.indices[[0, -1]].tolist() == [100, 199]


def test_directions_have_length_one_and_nothing_stays_nothing() -> None:
    (unit,) = unit_groups((_group("text", (3.0, 4.0), (0.0, 0.0)),))
    np.testing.assert_allclose(unit.vectors, [[0.6, 0.8], [0, 0]], rtol=1e-6)


def test_cosines_by_hand() -> None:
    numbers = compare_groups(
        (
            _group("text", (1.0, 0.0), (0.0, 2.0)),
            _group("image placeholder", (0.0, 1.0)),
            _group("image", (3.0, 4.0), (-3.0, 4.0), (0.0, 5.0)),
        )
    )
    assert numbers.counts == (2, 1, 3)
    np.testing.assert_allclose(numbers.norms, [1.5, 1, 5])
    assert numbers.cosines[0, 0] == 0
    assert np.isnan(numbers.cosines[1, 1]), "a single vector has no other one to compare with"
    np.testing.assert_allclose(numbers.cosines[0, 1], 0.5)
    np.testing.assert_allclose(numbers.cosines[1, 2], (0.8 + 0.8 + 1) / 3, rtol=1e-6)
    # Pairs of different features: 0.28, 0.8 and 0.8.
    np.testing.assert_allclose(numbers.cosines[2, 2], (0.28 + 0.8 + 0.8) / 3, rtol=1e-6)
    np.testing.assert_allclose(numbers.cosines, numbers.cosines.T)


def test_mean_cosines_agree_with_torch(both_run: Run) -> None:
    groups = embed_groups(both_run.inputs, both_run.merged)
    numbers = compare_groups(groups)
    units = [
        torch.nn.functional.normalize(torch.from_numpy(each.vectors), dim=-1) for each in groups
    ]
    text, image = numbers.names.index("text"), numbers.names.index("image")
    between = (units[text] @ units[image].T).mean()
    np.testing.assert_allclose(numbers.cosines[text, image], between, atol=1e-5)
    within = units[image] @ units[image].T
    apart = ~torch.eye(len(within), dtype=torch.bool)
    np.testing.assert_allclose(numbers.cosines[image, image], within[apart].mean(), atol=1e-5)
