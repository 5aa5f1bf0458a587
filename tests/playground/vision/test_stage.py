"""Stage 2 compared with hooks on a plain forward, and the position grid by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from playground.engine import Engine
from playground.errors import PlaygroundError
from playground.pipeline import Run
from playground.pointer import patch_rows
from playground.preprocess.stage import model_kwargs, run_preprocess
from playground.prompt import Prompt, Turn
from playground.records import TowerOutput, VisualSpan
from playground.vision.maps import norm_summary, patch_norms, patch_pca
from playground.vision.stage import interpolate_position_grid, run_vision
from tests.playground.prompt_samples import PROMPTS

WITH_IMAGES = ("image", "two_images", "video", "image_and_video", "turns")


@torch.no_grad()
def plain_towers(run: Run) -> list[dict[str, Any]]:
    """What a plain forward's tower computes: one entry per pass."""
    model: Any = run.engine.model
    visual = model.model.visual
    passes: list[dict[str, Any]] = []
    handles = [
        visual.register_forward_pre_hook(lambda *_: passes.append({"inputs": [], "taps": []})),
        visual.patch_embed.register_forward_hook(
            lambda _m, _a, out: passes[-1].update(patch_embeds=out)
        ),
        visual.merger.register_forward_pre_hook(
            lambda _m, args: passes[-1].update(last_hidden_state=args[0])
        ),
        visual.merger.register_forward_hook(lambda _m, _a, out: passes[-1].update(merged=out)),
        *(
            block.register_forward_pre_hook(lambda _m, args: passes[-1]["inputs"].append(args[0]))
            for block in visual.blocks
        ),
        *(
            merger.register_forward_hook(lambda _m, _a, out: passes[-1]["taps"].append(out))
            for merger in visual.deepstack_merger_list
        ),
    ]
    try:
        model(**model_kwargs(run.inputs))
    finally:
        for handle in handles:
            handle.remove()
        model.model.rope_deltas = None
    return passes


@pytest.mark.parametrize("kind", WITH_IMAGES)
def test_every_state_is_that_of_a_plain_forward(engine: Engine, kind: str) -> None:
    run = Run(engine, PROMPTS[kind])
    towers = [tower for tower in (run.vision.image, run.vision.video) if tower is not None]
    passes = plain_towers(run)
    assert len(passes) == len(towers)
    for tower, found in zip(towers, passes, strict=True):
        assert torch.equal(tower.patch_embeds, found["patch_embeds"])
        assert torch.equal(tower.patch_embeds + tower.pos_embeds, tower.hidden_states[0])
        states = [*found["inputs"], found["last_hidden_state"]]
        assert len(tower.hidden_states) == engine.facts.vision_depth + 1
        for mine, theirs in zip(tower.hidden_states, states, strict=True):
            assert torch.equal(mine, theirs)
        assert torch.equal(tower.pooler_output, found["merged"])
        for mine, theirs in zip(tower.deepstack_features, found["taps"], strict=True):
            assert torch.equal(mine, theirs)
        assert tower.deepstack_layers == engine.facts.deepstack_visual_indexes


def test_shapes(tiny_random_engine: Engine) -> None:
    run = Run(tiny_random_engine, PROMPTS["two_images"])
    tower = run.vision.image
    assert tower is not None
    assert run.vision.tower("image") is tower
    assert run.vision.tower("video") is None
    patches = sum(span.num_patches for span in run.inputs.spans)
    assert tower.patch_embeds.shape == tower.pos_embeds.shape == (patches, 32)
    assert tower.pooler_output.shape == (patches // 4, 64)
    assert [tap.shape for tap in tower.deepstack_features] == [(patches // 4, 64)] * 3


def test_text_has_no_tower(tiny_random_engine: Engine) -> None:
    vision = run_vision(tiny_random_engine, run_preprocess(tiny_random_engine, PROMPTS["text"]))
    assert vision.image is None
    assert vision.video is None


def test_progress_counts_the_blocks(tiny_random_engine: Engine) -> None:
    inputs = run_preprocess(tiny_random_engine, PROMPTS["image_and_video"])
    steps: list[tuple[str, int, int]] = []
    run_vision(tiny_random_engine, inputs, progress=lambda *step: steps.append(step))
    assert steps == [("vision block", index, 4) for _ in range(2) for index in range(4)]


@torch.no_grad()
@pytest.mark.parametrize("grid", [(4, 6), (8, 8), (2, 12), (2, 2)])
def test_the_position_grid_by_hand(tiny_random_engine: Engine, grid: tuple[int, int]) -> None:
    """Bilinear over the 8 x 8 table, corners on corners, rows in merge-block order."""
    model: Any = tiny_random_engine.model
    table = model.model.visual.pos_embed.weight.numpy().astype(np.float64).reshape(8, 8, -1)
    height, width = grid
    expected = np.empty((height, width, table.shape[-1]))
    for row in range(height):
        for column in range(width):
            y, x = row * 7 / (height - 1), column * 7 / (width - 1)
            top, left = min(int(y), 6), min(int(x), 6)
            down, right = y - top, x - left
            expected[row, column] = (
                table[top, left] * (1 - down) * (1 - right)
                + table[top, left + 1] * (1 - down) * right
                + table[top + 1, left] * down * (1 - right)
                + table[top + 1, left + 1] * down * right
            )
    found = interpolate_position_grid(tiny_random_engine, torch.tensor([[1, height, width]]))
    span = VisualSpan("image", 0, 0, 0, height * width // 4, height, width, 0, 2)
    np.testing.assert_allclose(found.numpy()[patch_rows(span)], expected, atol=1e-5)


def _tower(state: torch.Tensor, grid: tuple[int, int, int]) -> TowerOutput:
    merged = torch.zeros(len(state) // 4, 3)
    grid_thw = torch.tensor([grid])
    return TowerOutput(grid_thw, state, state, (state,), merged, (), ())


def test_maps_put_each_row_in_its_place() -> None:
    """A 2 x 4 grid: rows 0 to 3 are the left block, rows 4 to 7 the right one."""
    state = torch.arange(8.0)[:, None] * torch.tensor([[3.0, 4.0]])
    tower = _tower(state, (1, 2, 4))
    span = VisualSpan("image", 0, 0, 0, 2, 2, 4, 0, 2)
    norms = patch_norms(tower, span, 0)
    np.testing.assert_array_equal(norms, [[0, 5, 20, 25], [10, 15, 30, 35]])
    assert norms.dtype == np.float32
    np.testing.assert_allclose(norm_summary(tower, span), [[0, 17.5, 35]])


def test_pca_colours_follow_the_leading_component() -> None:
    """Features on one line: red runs along it, and it explains everything."""
    state = torch.arange(8.0)[:, None] * torch.tensor([[3.0, 4.0, 0.0, 0.0]])
    span = VisualSpan("image", 0, 0, 0, 2, 2, 4, 0, 2)
    pca = patch_pca(_tower(state, (1, 2, 4)), span, 0)
    assert pca.rgb.shape == (2, 4, 3)
    assert pca.rgb.dtype == np.uint8
    order = np.argsort(pca.rgb[..., 0].ravel(), kind="stable").tolist()
    assert order == [0, 1, 4, 5, 2, 3, 6, 7]
    assert pca.rgb[0, 0, 0] == 0
    assert pca.rgb[1, 3, 0] == 255
    assert pca.variance[0] == pytest.approx(1)
    assert sum(pca.variance) <= 1 + 1e-6


def test_pca_of_equal_features_is_flat() -> None:
    span = VisualSpan("image", 0, 0, 0, 1, 2, 2, 0, 2)
    pca = patch_pca(_tower(torch.ones(4, 5), (1, 2, 2)), span, 0)
    assert (pca.rgb == pca.rgb[0, 0]).all()
    assert pca.variance == (0.0, 0.0, 0.0)


def test_a_wrong_shape_quotes_both(tiny_random_engine: Engine) -> None:
    prompt = Prompt((Turn("user", "a", PROMPTS["image"].images),))
    tower = Run(tiny_random_engine, prompt).vision.image
    assert tower is not None
    with pytest.raises(PlaygroundError, match=r"hidden_states\[0\]: expected .*\(80, 'any'\)"):
        TowerOutput(
            tower.grid_thw,
            tower.patch_embeds,
            tower.pos_embeds,
            (tower.hidden_states[0][1:],),
            tower.pooler_output,
            (),
            (),
        )
