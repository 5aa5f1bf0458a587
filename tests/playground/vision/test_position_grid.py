from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from playground.engine import Engine
from playground.pipeline import Run
from playground.pointer import patch_rows
from playground.prompt import PromptVideo
from playground.records import VisualSpan
from playground.vision.position_grid import (
    blend_position,
    grid_colors,
    nearest_weights,
    position_similarity,
    run_nearest,
    sample_grid,
)
from playground.vision.stage import run_vision
from tests.components.runs import make_run


@torch.no_grad()
def _pos_embeds(run: Run) -> torch.Tensor:
    """What the model adds to the patch embeddings, captured with hooks on a plain pass."""
    visual: Any = run.engine.model.model.visual
    seen: dict[str, torch.Tensor] = {}
    hooks = [
        visual.patch_embed.register_forward_hook(lambda _m, _a, out: seen.update(patches=out)),
        visual.blocks[0].register_forward_pre_hook(lambda _m, args: seen.update(state=args[0])),
    ]
    try:
        visual(run.inputs.pixel_values, grid_thw=run.inputs.image_grid_thw)
    finally:
        for hook in hooks:
            hook.remove()
    return seen["state"] - seen["patches"]


def test_four_entries_make_every_position_exactly(run: Run) -> None:
    tower = run.vision.image
    assert tower is not None
    of_model = _pos_embeds(run)
    for span in run.inputs.spans:
        samples = sample_grid(run.engine, span)
        table = run.engine.model.model.visual.pos_embed.weight.detach()
        entries = table[torch.from_numpy(samples.indices)]
        sums = (entries * torch.from_numpy(samples.weights)[..., None]).sum(-2)
        rows = patch_rows(span)
        assert torch.equal(sums, tower.pos_embeds[torch.from_numpy(rows)])
        # The sum of patch and position was rounded once before the patch was taken off again.
        torch.testing.assert_close(sums, of_model[torch.from_numpy(rows)], rtol=0, atol=1e-5)
        for patch in ((0, 0), (1, span.grid_w - 1), (span.grid_h // 2, span.grid_w // 2)):
            blended = blend_position(run.engine, tower, span, samples, patch)
            assert blended.max_abs_diff == 0.0
            assert blended.norm == pytest.approx(float(tower.pos_embeds[rows[patch]].norm()))
            expected = table[torch.from_numpy(samples.indices[patch])].norm(dim=-1)
            np.testing.assert_allclose(blended.norms, expected, rtol=1e-6)


def test_a_wrong_weight_shows_as_a_difference(run: Run) -> None:
    tower, span = run.vision.image, run.inputs.spans[0]
    assert tower is not None
    samples = sample_grid(run.engine, span)
    samples.weights[1, 2, 0] += 0.1
    assert blend_position(run.engine, tower, span, samples, (1, 2)).max_abs_diff > 1e-4


def test_the_samples_of_a_grid_by_hand(tiny_random_engine: Engine) -> None:
    # Eight entries per side, 4 x 6 patches: row 1 is at 7 / 3, column 2 at 14 / 5.
    span = VisualSpan("image", 0, 0, 0, 6, grid_h=4, grid_w=6, patch_start=0, merge_size=2)
    samples = sample_grid(tiny_random_engine, span)
    assert samples.side == 8
    assert samples.indices[1, 2].tolist() == [2 * 8 + 2, 2 * 8 + 3, 3 * 8 + 2, 3 * 8 + 3]
    np.testing.assert_allclose(
        samples.weights[1, 2], [2 / 3 * 0.2, 2 / 3 * 0.8, 1 / 3 * 0.2, 1 / 3 * 0.8], rtol=1e-5
    )
    np.testing.assert_allclose(samples.positions[1, 2], [7 / 3, 14 / 5], rtol=1e-6)
    # The image's corners fall on the grid's corners.
    np.testing.assert_allclose(samples.positions[3, 5], [7, 7], rtol=1e-6)
    assert samples.positions[0, 0].tolist() == [0, 0]


def test_colours_share_one_basis(run: Run) -> None:
    tower, span = run.vision.image, run.inputs.spans[0]
    assert tower is not None
    colors = grid_colors(run.engine, tower, span)
    table = run.engine.model.model.visual.pos_embed.weight.detach().numpy()
    power = np.linalg.svd(table - table.mean(0), compute_uv=False) ** 2
    assert colors.variance == pytest.approx(power[:3].sum() / power.sum(), rel=1e-4)
    assert colors.resampled.shape == (span.grid_h, span.grid_w, 3)
    # The image's corners take the grid's corner entries unchanged.
    np.testing.assert_array_equal(colors.resampled[0, 0], colors.grid[0, 0])
    np.testing.assert_array_equal(colors.resampled[-1, -1], colors.grid[-1, -1])
    # Each component reaches from the darkest to the brightest.
    assert colors.grid.reshape(-1, 3).min(0).tolist() == [0, 0, 0]
    assert colors.grid.reshape(-1, 3).max(0).tolist() == [255, 255, 255]


def test_similarity_is_the_cosine(run: Run) -> None:
    tower, span = run.vision.image, run.inputs.spans[1]
    assert tower is not None
    similarity = position_similarity(tower, span, (1, 3))
    rows = patch_rows(span)
    a, b = tower.pos_embeds[rows[1, 3]], tower.pos_embeds[rows[2, 0]]
    assert similarity.shape == rows.shape
    assert similarity[1, 3] == pytest.approx(1.0)
    assert similarity[2, 0] == pytest.approx(float(a @ b / (a.norm() * b.norm())), abs=1e-6)


# ------------------------------------------------------ nearest entry or bilinear interpolation


def test_nearest_keeps_the_heaviest_entry() -> None:
    weights = torch.tensor([[0.1, 0.2, 0.3, 0.4], [0.5, 0.5, 0.0, 0.0]])
    assert nearest_weights(weights).tolist() == [[0, 0, 0, 1], [1, 0, 0, 0]]


@torch.no_grad()
def test_nearest_equals_a_tower_with_rounded_positions(run: Run) -> None:
    before = [tap.clone() for tap in run.vision.image.deepstack_features]
    changed = run_nearest(run.engine, run.inputs, run.vision).image
    assert changed is not None
    visual: Any = run.engine.model.model.visual
    table, side = visual.pos_embed.weight, visual.num_grid_per_side
    positions = torch.empty(len(changed.pos_embeds), table.shape[1])
    for span in run.inputs.spans:
        # Rounded half down: of two equally near entries the first one counts.
        rows, columns = (
            np.ceil(np.arange(size, dtype=np.float32) * (side - 1) / (size - 1) - 0.5).astype(int)
            for size in (span.grid_h, span.grid_w)
        )
        entries = table[torch.from_numpy(rows[:, None] * side + columns)]
        positions[torch.from_numpy(patch_rows(span))] = entries
    torch.testing.assert_close(changed.pos_embeds, positions, rtol=0, atol=0)

    def add(_module: Any, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        patches = args[0] - run.vision.image.pos_embeds
        return (patches + positions, *args[1:])

    hook = visual.blocks[0].register_forward_pre_hook(add)
    try:
        expected = visual(run.inputs.pixel_values, grid_thw=run.inputs.image_grid_thw)
    finally:
        hook.remove()
    torch.testing.assert_close(changed.pooler_output, expected.pooler_output, rtol=0, atol=2e-4)
    for tap, other in zip(changed.deepstack_features, expected.deepstack_features, strict=True):
        torch.testing.assert_close(tap, other, rtol=0, atol=2e-4)
    # It changes the output but not the original run.
    assert (changed.pooler_output - run.vision.image.pooler_output).abs().max() > 1e-3
    assert all(map(torch.equal, before, run.vision.image.deepstack_features))


def test_the_shared_model_stays_as_it_was(run: Run) -> None:
    visual: Any = run.engine.model.model.visual
    hooks = [len(module._forward_pre_hooks) for module in visual.modules()]
    run_nearest(run.engine, run.inputs, run.vision)
    assert (visual.interpolation_mode, visual.interpolation_align_corners) == ("bilinear", True)
    assert [len(module._forward_pre_hooks) for module in visual.modules()] == hooks
    again = run_vision(run.engine, run.inputs).image
    assert torch.equal(again.pooler_output, run.vision.image.pooler_output)


def test_a_video_goes_through_the_same(tiny_random_engine: Engine, video: PromptVideo) -> None:
    run = make_run(tiny_random_engine, "Where does it go?", video=video)
    # Its 8 x 8 patches lie on the 8 x 8 entries: nothing to round.
    changed = run_nearest(tiny_random_engine, run.inputs, run.vision)
    assert changed.image is None
    assert changed.video is not None
    assert torch.equal(changed.video.pooler_output, run.vision.video.pooler_output)

    cut = replace(video, frames=video.frames[:, :64])
    run = make_run(tiny_random_engine, "Where does it go?", video=cut)
    tower = run_nearest(tiny_random_engine, run.inputs, run.vision).video
    assert tower is not None
    assert not torch.equal(tower.pooler_output, run.vision.video.pooler_output)
    # Both frame pairs have the same positions.
    first, second = tower.pos_embeds.chunk(2)
    assert torch.equal(first, second)
