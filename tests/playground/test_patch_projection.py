"""The patch embedding as a matrix product: the same numbers, names and weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForImageTextToText

from playground.engine import Engine
from playground.loading import SHIPPED
from playground.patch_projection import PatchProjection, project_by_matmul
from playground.pipeline import Run
from playground.preprocess import model_kwargs
from tests.playground.prompt_samples import PROMPTS


def load_plain(folder: Path) -> Any:
    return AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()


def test_loading_changes_this_model_and_no_other(shipped_engine: Engine) -> None:
    ours: Any = shipped_engine.model
    assert type(ours.model.visual.patch_embed.proj) is PatchProjection
    plain = load_plain(SHIPPED)
    assert type(plain.model.visual.patch_embed.proj) is nn.Conv3d
    assert list(ours.state_dict()) == list(plain.state_dict())


def test_patches_are_those_of_the_convolution() -> None:
    torch.manual_seed(0)
    convolution = nn.Conv3d(3, 32, (2, 4, 4), stride=(2, 4, 4))
    patches = torch.randn(50, 3, 2, 4, 4)
    projection = PatchProjection(3, 32, (2, 4, 4), stride=(2, 4, 4))
    projection.load_state_dict(convolution.state_dict())
    projected = projection(patches)
    assert projected.shape == (50, 32, 1, 1, 1)
    torch.testing.assert_close(projected, convolution(patches), rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_the_logits_are_those_of_plain_transformers(shipped_engine: Engine) -> None:
    run = Run(shipped_engine, PROMPTS["two_images"])
    plain = load_plain(SHIPPED)(**model_kwargs(run.inputs), logits_to_keep=1).logits[0, -1]
    assert (run.decoded.logits - plain).abs().max().item() <= 1e-4
    assert run.parity.max_abs_diff == 0.0  # against a forward of the same loaded model


def test_a_convolution_with_overlap_is_left_alone() -> None:
    proj = nn.Conv3d(3, 8, (2, 4, 4), stride=(2, 2, 2))
    model: Any = nn.Module()
    model.model = nn.Module()
    model.model.visual = nn.Module()
    model.model.visual.patch_embed = nn.Module()
    model.model.visual.patch_embed.proj = proj
    project_by_matmul(model)
    assert type(proj) is nn.Conv3d
