"""Single rows in bfloat16 by the kernel for one row: the same numbers, names and weights."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from playground.engine import Engine
from playground.loading.load import SHIPPED, load_engine
from playground.loading.one_row import OneRowLinear
from playground.pipeline import Run
from playground.preprocess.stage import model_kwargs
from playground.sampling.columns import Sampler
from playground.sampling.paths import prompt_prefix
from playground.sampling.trace import SamplingSettings
from tests.playground.loading.test_patch_projection import load_plain
from tests.playground.prompt_samples import PROMPTS

STEPS = 12


@pytest.fixture(scope="module")
def half() -> Engine:
    return load_engine("tiny", device="cpu", dtype="bfloat16")


def test_loading_changes_the_decoder_and_the_head_of_this_model_alone(
    half: Engine, shipped_engine: Engine
) -> None:
    ours: Any = half.model
    layers = [each for each in ours.model.language_model.modules() if isinstance(each, nn.Linear)]
    assert len(layers) == 7 * len(ours.model.language_model.layers)
    assert {type(each) for each in (*layers, ours.lm_head)} == {OneRowLinear}
    assert not any(type(each) is OneRowLinear for each in ours.model.visual.modules())
    assert list(ours.state_dict()) == list(load_plain(SHIPPED, torch.bfloat16).state_dict())
    assert not any(type(each) is OneRowLinear for each in shipped_engine.model.modules())


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(1, 64), (1, 1, 64), (64,)])
def test_one_row_is_that_of_linear(bias: bool, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    usual = nn.Linear(64, 96, bias=bias).bfloat16()
    ours = OneRowLinear(64, 96, bias=bias).bfloat16()
    ours.load_state_dict(usual.state_dict())
    row = torch.randn(shape).bfloat16()
    assert ours(row).shape == usual(row).shape
    exact = nn.functional.linear(row.double(), *(each.double() for each in usual.parameters()))
    # Rounded once, at the end: half a step of bfloat16.
    torch.testing.assert_close(ours(row).double(), exact, rtol=2**-8, atol=1e-6)


def test_several_rows_go_the_usual_way() -> None:
    layer = OneRowLinear(8, 4).bfloat16()
    rows = torch.randn(1, 3, 8).bfloat16()
    assert torch.equal(layer(rows), nn.functional.linear(rows, layer.weight, layer.bias))


@torch.no_grad()
def test_decoding_stays_near_plain_transformers(half: Engine) -> None:
    """The logits after each token, read by plain transformers in one forward without a cache."""
    run = Run(half, PROMPTS["image"])
    prefix = prompt_prefix(run.inputs, run.merged, run.decoded)
    sampler = Sampler(
        half, prefix, [SamplingSettings(temperature=0.0)], max_new_tokens=STEPS, keep_paths=True
    )
    *_, written = sampler.stream()
    ids = torch.tensor([[step.id for step in written.traces[0].steps]])
    assert ids.shape[1] > 3
    kwargs = model_kwargs(run.inputs)
    whole = kwargs | {
        "input_ids": torch.cat([kwargs["input_ids"], ids], dim=1),
        "attention_mask": torch.ones((1, run.inputs.num_tokens + ids.shape[1]), dtype=torch.int64),
        "mm_token_type_ids": torch.cat([kwargs["mm_token_type_ids"], torch.zeros_like(ids)], dim=1),
    }
    plain = load_plain(SHIPPED, torch.bfloat16)
    expected = plain(**whole, logits_to_keep=ids.shape[1] + 1).logits[0]
    states = sampler.paths()[0].hidden_states
    logits = half.model.lm_head(states)
    assert (logits.float() - expected[: len(logits)].float()).abs().max().item() <= 0.25
