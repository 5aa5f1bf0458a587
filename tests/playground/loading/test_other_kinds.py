"""Quantised checkpoints: refused by the name of their format, or loaded as what they hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForImageTextToText

from playground.engine import Engine
from playground.errors import CheckpointError
from playground.loading.load import load_engine
from playground.vision.rope import head_vectors
from tests.components.runs import make_run
from tests.media_samples import make_image
from tests.playground.loading.edits import (
    FP8_BLOCK,
    edit_config,
    edit_json,
    quantise_to_fp8,
)

PROJECTION = "model.language_model.layers.0.mlp.up_proj.weight"


def load(**options: Any) -> Engine:
    return load_engine("brought", device="cpu", **options)


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"quant_method": "auto-round", "bits": 4}, "AutoRound, 4 bits"),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, "NVIDIA ModelOpt"),
        ({"quant_method": "mxfp4"}, "MXFP4"),
        ({"quant_method": "hqq"}, "HQQ"),
        ({"quant_method": "torchao"}, "torchao"),
        ({"quant_method": "next-year"}, "quant_method 'next-year'"),
        ({"bits": 4}, "quant_method ''"),
    ],
)
def test_a_quantised_format_is_refused_by_name(
    brought: Path, settings: dict[str, Any], name: str
) -> None:
    edit_config(brought, quantization_config=settings)
    with pytest.raises(CheckpointError) as caught:
        load()
    words = str(caught.value)
    assert f"quantised in the format {name}" in words
    assert "(quantization_config), which is not read here. Give the unquantised" in words


def test_mlx_names_its_quantisation_in_a_key_of_its_own(brought: Path) -> None:
    edit_config(brought, quantization={"group_size": 64, "bits": 4})
    with pytest.raises(CheckpointError, match=r"format MLX, 4 bits \(quantization\), which"):
        load()


def test_modelopt_names_its_quantisation_in_a_file_of_its_own(brought: Path) -> None:
    edit_json(brought / "hf_quant_config.json", quantization={"quant_algo": "FP8"})
    with pytest.raises(CheckpointError, match=r"NVIDIA ModelOpt \(hf_quant_config\.json\)"):
        load()


# --------------------------------------------------------------------------- relatives


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Qwen3-VL-Embedding-2B", "is a Qwen3-VL-Embedding: its result is the last token's final"),
        ("qwen3_vl_reranker", "is a Qwen3-VL-Reranker: of its predictions only"),
    ],
)
def test_a_model_with_another_purpose_loads_and_says_so(
    brought: Path, name: str, words: str
) -> None:
    brought.rename(name)
    (notice,) = load_engine(name, device="cpu").notices
    assert words in notice


def test_an_embedding_model_without_a_head_says_what_it_is(brought: Path) -> None:
    brought.rename("Qwen3-VL-Embedding-8B")
    edit_config(Path("Qwen3-VL-Embedding-8B"), tie_word_embeddings=False)
    with pytest.raises(CheckpointError, match=r"Embedding: its result.*Give the Qwen3-VL-Instruct"):
        load_engine("Qwen3-VL-Embedding-8B", device="cpu")


@pytest.mark.parametrize("kind", ["qwen3_omni_moe", "qwen3_omni_moe_thinker"])
def test_a_qwen3_omni_is_named(brought: Path, kind: str) -> None:
    edit_config(brought, model_type=kind)
    with pytest.raises(CheckpointError, match=r"Qwen3-Omni.*Needed is a folder with a Qwen3-VL's"):
        load()


# --------------------------------------------------------------------------- packed weights


class PackedLinear(torch.nn.Linear):
    """A projection whose weight has another shape and dtype than its product, as when packed."""

    def __init__(self, linear: torch.nn.Linear) -> None:
        super().__init__(linear.in_features, linear.out_features)
        self.unpacked = linear.weight.detach().clone()
        self.weight = torch.nn.Parameter(torch.zeros(7, 1, dtype=torch.uint8), requires_grad=False)
        self.bias = linear.bias

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.linear(input, self.unpacked, self.bias)


def test_rope_of_a_packed_vision_tower_is_drawn(brought: Path) -> None:
    engine = load()
    run = make_run(engine, "what is this", make_image(96, 64))
    run.ensure("vision")
    span = run.inputs.spans[0]
    place: Any = {"block": 1, "head": 1, "patch": (1, 2)}
    tower = run.vision.tower("image")
    assert tower is not None
    want = head_vectors(engine, tower, span, **place)
    attention: Any = engine.model.model.visual.blocks[1].attn
    attention.qkv = PackedLinear(attention.qkv)
    got = head_vectors(engine, tower, span, **place)
    torch.testing.assert_close(got.query, want.query)
    torch.testing.assert_close(got.keys, want.keys)


# --------------------------------------------------------------------------- FP8


@pytest.mark.parametrize(
    ("asked", "want"),
    [
        ("auto", torch.bfloat16),
        ("bfloat16", torch.bfloat16),
        ("float32", torch.float32),
        ("float16", torch.float16),
    ],
)
def test_fp8_runs_on_a_cpu_in_every_dtype(brought: Path, asked: str, want: torch.dtype) -> None:
    quantise_to_fp8(brought)
    stored = load_file(brought / "model.safetensors")
    engine = load(dtype=asked)
    assert {weight.dtype for weight in engine.model.parameters()} == {want}
    # The format's own definition: each block's numbers times its scale.
    scale = stored[f"{PROJECTION}_scale_inv"]
    blocks = scale.repeat_interleave(FP8_BLOCK, 0).repeat_interleave(FP8_BLOCK, 1)
    expected = (stored[PROJECTION].float() * blocks).to(want)
    torch.testing.assert_close(engine.model.state_dict()[PROJECTION], expected)
    run = make_run(engine, "what is this", make_image(64, 64))
    assert run.decoded.logits.isfinite().all()
    quantisation = engine.origin.quantisation
    assert quantisation is not None
    assert (quantisation.method, quantisation.form) == ("FP8", "e4m3")
    assert quantisation.dequantised_to == str(want).removeprefix("torch.")
    counts = {part.part: (part.num_quantised, part.num_matrices) for part in quantisation.parts}
    assert counts == {
        "merger": (0, 8),
        "vision tower": (0, 18),
        "token embeddings": (0, 1),
        "decoder attention": (16, 16),
        "decoder MLP": (12, 12),
    }


def test_fp8_in_float32_has_the_logits_of_plain_transformers_in_float32(brought: Path) -> None:
    quantise_to_fp8(brought)
    plain: Any = AutoModelForImageTextToText.from_pretrained("brought", dtype=torch.float32)
    plain.eval()
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.no_grad():
        want = plain(input_ids=ids).logits
        got = load(dtype="float32").model(input_ids=ids).logits
    assert torch.equal(got, want)
