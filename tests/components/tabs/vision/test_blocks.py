"""The vision tab's blocks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from components.tabs.vision import blocks
from components.tabs.vision.feature_images import OWN, SHARED, STATE, source_choices
from playground.errors import InputError
from playground.pipeline import Run
from playground.pointer import Selection, locate_patch, locate_token, patch_rows, patch_tokens
from tests.components.html_reader import read_html
from tests.components.views.test_images import decode


@torch.no_grad()
def _plain_states(run: Run) -> list[torch.Tensor]:
    """The tower's states from plain transformers with hooks."""
    visual: Any = run.engine.model.model.visual
    states: list[torch.Tensor] = []
    hooks = [
        block.register_forward_pre_hook(lambda _module, args: states.append(args[0]))
        for block in visual.blocks
    ]
    try:
        output = visual(run.inputs.pixel_values, grid_thw=run.inputs.image_grid_thw)
    finally:
        for hook in hooks:
            hook.remove()
    return [*states, output.last_hidden_state]


def _point(run: Run, span: int, row: int, column: int) -> Selection:
    return locate_patch(run.inputs, run.positions, span, row, column)


@pytest.mark.parametrize("state", [0, 2, 4])
def test_the_heat_map_holds_the_models_norms(image_run: Run, state: int) -> None:
    expected = _plain_states(image_run)[state].norm(dim=-1).numpy()
    span = image_run.inputs.spans[0]
    heat_map = blocks.norms(image_run, state, STATE, 0).data[0]
    np.testing.assert_allclose(heat_map.z, expected[patch_rows(span)], rtol=1e-6)
    np.testing.assert_array_equal(heat_map.customdata, patch_tokens(span))


def test_the_summary_follows_the_models_states(image_run: Run) -> None:
    norms = torch.stack(_plain_states(image_run)).norm(dim=-1)
    lines = {trace.name: trace.y for trace in blocks.summary(image_run, 0).data}
    np.testing.assert_allclose(lines["largest"], norms.amax(-1), rtol=1e-6)
    np.testing.assert_allclose(lines["smallest"], norms.amin(-1), rtol=1e-6)
    np.testing.assert_allclose(lines["median"], np.median(norms, axis=-1), rtol=1e-6)


def test_the_slider_fits_the_tower(image_run: Run) -> None:
    depth = image_run.engine.facts.vision_depth
    spec = blocks.PASSED.spec(image_run)
    assert spec is not None
    assert (spec["low"], spec["high"], spec["value"]) == (0, depth, min(4, depth))
    assert spec["play"] == ["▶ Play", "■ Stop"]
    with pytest.raises(InputError):
        blocks.PASSED.parse(depth + 1, image_run)
    title = blocks.norms(image_run, depth, STATE, 0).layout.title.text
    assert f"after {depth} of {depth} blocks" in title


def test_the_slider_is_about_the_patches(image_run: Run) -> None:
    """Moving it deselects a tap; the features are then the patches."""
    assert blocks.SOURCE.follows == (blocks.PASSED.id,)
    assert blocks.SOURCE.parse(None, image_run) == STATE
    with pytest.raises(InputError, match="not offered"):
        blocks.SOURCE.parse("tap 99", image_run)


def test_each_state_has_drawings_of_its_own(image_run: Run) -> None:
    pca = [blocks.pca(image_run, state, STATE, OWN, 0) for state in (1, 2)]
    assert pca[0] != pca[1]
    assert "after 1 of 4 blocks" in pca[0]
    similarity = [blocks.similarity(image_run, state, STATE, 0, None) for state in (1, 2)]
    assert similarity[0] != similarity[1]
    norms = [blocks.norms(image_run, state, STATE, 0).data[0].z for state in (1, 2)]
    assert not np.array_equal(*norms)
    assert "states[1]" in blocks.code(image_run, 1, 0)


def test_the_caption_says_how_much_the_colours_show(image_run: Run) -> None:
    rows = torch.from_numpy(patch_rows(image_run.inputs.spans[0]).ravel())
    features = _plain_states(image_run)[2][rows]
    variance = np.linalg.svd((features - features.mean(0)).numpy(), compute_uv=False) ** 2
    share = variance[:3].sum() / variance.sum()
    pca = blocks.pca(image_run, 2, STATE, OWN, 0)
    assert f"explain {share:.0%} of the variance" in pca
    assert "fitted to this map only" in pca


def test_one_basis_for_all_blocks_is_a_choice(image_run: Run) -> None:
    alone, shared = (blocks.pca(image_run, 2, STATE, basis, 0) for basis in (OWN, SHARED))
    assert alone != shared
    assert "fitted to all blocks" in shared
    # A tap's features are in a different space.
    assert "have a basis of their own" in blocks.pca(image_run, 2, "tap 1", SHARED, 0)


def test_the_similarity_map_is_that_of_the_pointed_patch(image_run: Run) -> None:
    span = image_run.inputs.spans[0]
    features = _plain_states(image_run)[3][torch.from_numpy(patch_rows(span))]
    cosines = torch.nn.functional.cosine_similarity(features, features[1, 2], dim=-1).numpy()
    html = blocks.similarity(image_run, 3, STATE, 0, _point(image_run, 0, 1, 2))
    assert "the patch at row 1, column 2" in html
    assert f"median cosine similarity is {np.median(cosines):.2f}" in html
    assert f"cosine {cosines.min():.2f}" in html
    pixels = decode(read_html(html).find("img")[0].attrs["src"])
    assert pixels.shape[:2] == (span.grid_h, span.grid_w)
    # The scale runs from dark blue to yellow, so red and green together grow with the cosine.
    brightness = pixels.astype(int) @ [1, 3, 0]
    order = np.argsort(cosines.ravel())
    assert (np.diff(brightness.ravel()[order]) >= -4).all()
    assert brightness[1, 2] == brightness.max()


def test_without_a_pointer_the_middle_patch_is_looked_at(image_run: Run) -> None:
    span = image_run.inputs.spans[0]
    middle = blocks.similarity(image_run, 4, STATE, 0, None)
    assert f"row {span.grid_h // 2}, column {span.grid_w // 2}" in middle
    assert "click" in middle
    token = locate_token(image_run.inputs, image_run.positions, span.start + 1)
    assert "row 0, column 2" in blocks.similarity(image_run, 4, STATE, 0, token)


def test_a_selection_in_another_image_is_ignored(pair_run: Run) -> None:
    selection = _point(pair_run, 1, 0, 0)
    assert "row 0, column 0" not in blocks.similarity(pair_run, 4, STATE, 0, selection)
    assert "row 0, column 0" in blocks.similarity(pair_run, 4, STATE, 1, selection)


@pytest.mark.parametrize("source", ["tap 1", "tap 3", "merger"])
def test_taps_and_merger_have_the_same_views(image_run: Run, source: str) -> None:
    tower, span = image_run.vision.image, image_run.inputs.spans[0]
    assert tower is not None
    stack = {"tap 1": tower.deepstack_features[0], "tap 3": tower.deepstack_features[2]}
    expected = stack.get(source, tower.pooler_output).norm(dim=-1)
    norms = blocks.norms(image_run, 2, source, 0)
    np.testing.assert_allclose(norms.data[0].z.ravel(), expected, rtol=1e-6)
    tokens = np.arange(span.start, span.end).reshape(span.merged_h, span.merged_w)
    np.testing.assert_array_equal(norms.data[0].customdata, tokens)
    similarity = blocks.similarity(image_run, 2, source, 0, None)
    for html in (blocks.pca(image_run, 2, source, OWN, 0), similarity):
        image = read_html(html).find("img")[0].attrs
        assert (image["width"], image["height"]) == (str(span.merged_w), str(span.merged_h))
    assert "the token of the patch" in similarity


def test_the_embedding_can_be_seen_before_its_position(image_run: Run) -> None:
    tower, span = image_run.vision.image, image_run.inputs.spans[0]
    assert tower is not None
    norms = blocks.norms(image_run, 2, "embedding", 0)
    plain = tower.patch_embeds.norm(dim=-1).numpy()[patch_rows(span)]
    np.testing.assert_allclose(norms.data[0].z, plain, rtol=1e-6)
    assert "before the position is added" in norms.layout.title.text


def test_every_source_can_be_chosen(image_run: Run) -> None:
    choices = source_choices(image_run.engine.facts)
    assert [value for _, value in choices] == [
        STATE, "embedding", "tap 1", "tap 2", "tap 3", "merger",
    ]  # fmt: skip
    assert blocks.SOURCE.parse("tap 2", image_run) == "tap 2"
    with pytest.raises(InputError, match="not offered"):  # one of a tower with more taps
        blocks.SOURCE.parse("tap 9", image_run)


def test_images_follow_the_selection(pair_run: Run) -> None:
    drawn = {
        "picture": blocks.picture(pair_run, 1),
        "pca": blocks.pca(pair_run, 4, STATE, OWN, 1),
        "similarity": blocks.similarity(pair_run, 4, STATE, 1, None),
    }
    for name, html in drawn.items():
        assert read_html(html).find("div", data_span="1"), name
    assert blocks.norms(pair_run, 4, STATE, 1).layout.meta["pointer"]["span"] == 1


def test_each_image_can_be_shown(pair_run: Run) -> None:
    grid = tuple(pair_run.inputs.image_grid_thw[1, 1:].tolist())
    assert blocks.norms(pair_run, 4, STATE, 1).data[0].z.shape == grid
    assert "image 2" in blocks.picture(pair_run, 1)
