"""The patch embedding as a matrix product: the same numbers, names and weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoModelForImageTextToText

from playground.engine import Engine
from playground.loading.load import SHIPPED, load_engine
from playground.loading.patch_projection import PatchProjection, project_by_matmul
from playground.pipeline import Run
from playground.preprocess.stage import model_kwargs
from tests.playground.prompt_samples import PROMPTS


def load_plain(folder: Path, dtype: torch.dtype) -> Any:
    return AutoModelForImageTextToText.from_pretrained(folder, dtype=dtype).eval()


@pytest.fixture(scope="module")
def half() -> Engine:
    return load_engine("tiny", device="cpu", dtype="bfloat16")


def test_loading_changes_this_model_and_no_other(half: Engine) -> None:
    ours: Any = half.model
    assert type(ours.model.visual.patch_embed.proj) is PatchProjection
    plain = load_plain(SHIPPED, torch.bfloat16)
    assert type(plain.model.visual.patch_embed.proj) is nn.Conv3d
    assert list(ours.state_dict()) == list(plain.state_dict())


def test_float32_keeps_the_convolution_and_every_bit(shipped_engine: Engine) -> None:
    run = Run(shipped_engine, PROMPTS["two_images"])
    assert type(shipped_engine.model.model.visual.patch_embed.proj) is nn.Conv3d
    plain = load_plain(SHIPPED, torch.float32)
    with torch.no_grad():
        logits = plain(**model_kwargs(run.inputs), logits_to_keep=1).logits[0, -1]
    assert torch.equal(run.decoded.logits, logits)


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
def test_half_precision_stays_near_plain_transformers(half: Engine) -> None:
    """A step of bfloat16 between 16 and 32 is 0.125."""
    run = Run(half, PROMPTS["two_images"])
    plain = load_plain(SHIPPED, torch.bfloat16)
    logits = plain(**model_kwargs(run.inputs), logits_to_keep=1).logits[0, -1]
    assert (run.decoded.logits - logits.float()).abs().max().item() <= 0.25
    assert run.parity.max_abs_diff == 0.0  # against a forward of the same loaded model


def test_a_convolution_with_overlap_is_left_alone() -> None:
    proj = nn.Conv3d(3, 8, (2, 4, 4), stride=(2, 2, 2)).bfloat16()
    model: Any = nn.Module()
    model.model = nn.Module()
    model.model.visual = nn.Module()
    model.model.visual.patch_embed = nn.Module()
    model.model.visual.patch_embed.proj = proj
    project_by_matmul(model)
    assert type(proj) is nn.Conv3d
