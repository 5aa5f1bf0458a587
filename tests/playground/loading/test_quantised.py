"""Quantised checkpoints that transformers reads: run as they are, or as plain matrices."""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from torch import nn
from transformers import AutoModelForImageTextToText, BitsAndBytesConfig

from playground.engine import Engine
from playground.errors import CheckpointError
from playground.loading import quantised
from playground.loading.checkpoint_files import check_checkpoint
from playground.loading.load import load_engine
from playground.loading.placement import count_weight_bytes, unify_dtype
from playground.loading.quantised import is_dequantised
from playground.model_facts import count_parameters, load_config, module_tree
from tests.components.runs import make_run
from tests.media_samples import make_image
from tests.playground.loading.edits import edit_config, edit_json, quantise_to_fp8

MLP = "model.language_model.layers.0.mlp.up_proj"
GROUP = 32  # columns that share a scale
TOP = {"int": {4: 7, 8: 127}, "float": {8: 448}}  # the largest number of a type
CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)
needs_bitsandbytes = pytest.mark.skipif(
    find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed"
)


def load(**options: Any) -> Engine:
    return load_engine("brought", device="cpu", **options)


def check_every_stage(engine: Engine) -> None:
    run = make_run(engine, "what is this", make_image(64, 64))
    run.ensure("decoder")
    assert run.check_parity().max_abs_diff == 0.0


# --------------------------------------------------------------------------- packages


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"quant_method": "bitsandbytes"}, r"by bitsandbytes, .*missing: bitsandbytes\. Install"),
        ({"load_in_4bit": True}, r"by bitsandbytes, .*pip install bitsandbytes"),
        ({"quant_method": "awq", "bits": 4}, r"by AWQ, .*pip install gptqmodel"),
        ({"quant_method": "gptq", "bits": 4}, r"by GPTQ, .*pip install gptqmodel optimum"),
        ({"quant_method": "compressed-tensors"}, r"pip install compressed-tensors \(requirements"),
    ],
)
def test_a_format_names_the_packages_that_it_needs(
    brought: Path, settings: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantised, "find_spec", lambda name: None)
    edit_config(brought, quantization_config=settings)
    with pytest.raises(CheckpointError, match=message):
        load()


# --------------------------------------------------------------------------- bitsandbytes


@needs_bitsandbytes
@pytest.mark.parametrize(("bits", "form"), [(4, "nf4"), (8, "int8")])
def test_bitsandbytes_stays_quantised_and_counts_its_weights(
    brought: Path, bits: int, form: str
) -> None:
    full = load()
    settings = BitsAndBytesConfig(
        load_in_4bit=bits == 4, load_in_8bit=bits == 8, bnb_4bit_quant_type="nf4"
    )
    plain: Any = AutoModelForImageTextToText.from_pretrained(
        "brought", quantization_config=settings, device_map="cpu", dtype=torch.bfloat16
    )
    plain.save_pretrained("brought")
    engine = load()
    check_every_stage(engine)
    quantisation = engine.origin.quantisation
    assert quantisation is not None
    assert (quantisation.form, quantisation.dequantised_to) == (form, "")
    assert {part.part: part.num_quantised for part in quantisation.parts} == {
        "merger": 8,
        "vision tower": 16,  # without the patch embedding and the position grid
        "token embeddings": 0,
        "decoder attention": 16,
        "decoder MLP": 12,
    }
    assert module_tree(engine.model)[0].num_parameters == full.model.num_parameters()
    assert count_parameters(engine.model) == full.model.num_parameters()
    # What the headers say is what the weights take, save for bitsandbytes' own scales.
    counted = check_checkpoint(brought, "brought").count_bytes(torch.bfloat16)
    taken = sum(weight.nbytes for weight in engine.model.parameters())
    assert taken <= counted <= taken * 1.2
    types = {type(module).__name__ for module in engine.model.modules()}
    assert {"Linear4bit" if bits == 4 else "Linear8bitLt"} <= types


@needs_bitsandbytes
@pytest.mark.filterwarnings("ignore")  # PEFT's own
def test_an_adapter_on_weights_that_stay_quantised_says_that_the_sum_is_rounded(
    brought: Path,
) -> None:
    settings = BitsAndBytesConfig(load_in_8bit=True)
    base: Any = AutoModelForImageTextToText.from_pretrained(
        "brought", quantization_config=settings, device_map="cpu", dtype=torch.bfloat16
    )
    base.save_pretrained("brought")
    lora = LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False)
    get_peft_model(base, lora).save_pretrained("adapter")
    edit_json(Path("adapter/adapter_config.json"), base_model_name_or_path="../brought")
    engine = load_engine("adapter", device="cpu")
    assert "the sum is rounded to their format" in engine.notices[0]
    check_every_stage(engine)


# --------------------------------------------------------------------------- compressed-tensors


def compress(folder: Path, *, form: str, kind: str, bits: int) -> torch.Tensor:
    """Quantise the decoder's projections; what ``MLP``'s weight is then, worked out by hand."""
    from compressed_tensors.compressors import ModelCompressor
    from compressed_tensors.quantization import (
        QuantizationArgs,
        QuantizationConfig,
        QuantizationScheme,
        apply_quantization_config,
    )

    model: Any = AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.bfloat16)
    grouped = {"strategy": "group", "group_size": GROUP} if bits == 4 else {"strategy": "channel"}
    weights = QuantizationArgs(num_bits=bits, type=kind, symmetric=True, **grouped)
    scheme = QuantizationScheme(targets=["Linear"], weights=weights, format=form)
    config = QuantizationConfig(
        config_groups={"group_0": scheme}, ignore=["lm_head", "re:.*visual.*"], format=form
    )
    apply_quantization_config(model, config)
    for module in model.modules():
        if getattr(module, "quantization_scheme", None) is not None:
            rows = module.weight.unflatten(1, (-1, GROUP if bits == 4 else module.in_features))
            scale = rows.abs().amax(-1) / TOP[kind][bits]
            module.weight_scale.data.copy_(scale)
    by_hand = _round(model.get_submodule(MLP), kind, bits)
    compressor = ModelCompressor(quantization_config=config)
    compressor.compress_model(model)
    model.save_pretrained(folder)
    compressor.update_config(str(folder))
    return by_hand


def _round(module: Any, kind: str, bits: int) -> torch.Tensor:
    top = TOP[kind][bits]
    width = GROUP if bits == 4 else module.in_features
    scale = module.weight_scale.repeat_interleave(width, 1)
    steps = module.weight / scale
    if kind == "float":
        return steps.to(torch.float8_e4m3fn).to(torch.bfloat16) * scale
    return steps.round().clamp(-top - 1, top) * scale


@pytest.mark.skipif(
    find_spec("compressed_tensors") is None, reason="compressed-tensors is not installed"
)
@pytest.mark.parametrize(
    ("form", "kind", "bits"),
    [("pack-quantized", "int", 4), ("int-quantized", "int", 8), ("float-quantized", "float", 8)],
)
def test_compressed_tensors_become_plain_matrices(
    brought: Path, form: str, kind: str, bits: int
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package's own
        by_hand = compress(brought, form=form, kind=kind, bits=bits)
    engine = load()
    got = engine.model.state_dict()[f"{MLP}.weight"]
    torch.testing.assert_close(got, by_hand)
    assert {weight.dtype for weight in engine.model.parameters()} == {torch.bfloat16}
    check_every_stage(engine)
    quantisation = engine.origin.quantisation
    assert quantisation is not None
    assert (quantisation.form, quantisation.dequantised_to) == (form, "bfloat16")
    assert [part.num_quantised for part in quantisation.parts] == [0, 0, 0, 16, 12]


# --------------------------------------------------------------------------- FP8 and memory


@pytest.mark.parametrize(
    ("device", "asked", "capability", "has_kernels", "want"),
    [
        (CPU, "auto", (0, 0), True, True),
        (CUDA, "auto", (9, 0), True, False),
        (CUDA, "bfloat16", (8, 9), True, False),
        (CUDA, "float32", (9, 0), True, True),
        (CUDA, "auto", (8, 0), True, True),
        (CUDA, "auto", (9, 0), False, True),
    ],
)
def test_fp8_is_kept_where_a_gpu_computes_in_it(
    device: torch.device,
    asked: str,
    capability: tuple[int, int],
    has_kernels: bool,
    want: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(quantised, "find_spec", lambda name: name if has_kernels else None)
    assert is_dequantised("fp8", device, asked) is want


def test_memory_is_counted_from_the_stored_bytes(brought: Path) -> None:
    plain = check_checkpoint(brought, "brought")
    num_weights = load().model.num_parameters()
    assert plain.count_bytes(torch.float32) == 4 * num_weights
    assert plain.count_bytes(torch.bfloat16) == 2 * num_weights
    quantise_to_fp8(brought)
    files = check_checkpoint(brought, "brought")
    stored = load_file(brought / "model.safetensors").values()
    one_byte = sum(weight.nbytes for weight in stored if weight.dtype == torch.float8_e4m3fn)
    others = sum(weight.numel() for weight in stored if weight.dtype != torch.float8_e4m3fn)
    assert one_byte > 0
    assert files.count_bytes(torch.bfloat16) == one_byte + 2 * others
    # Dequantised, its scales are no weights.
    config = load_config(brought)
    assert count_weight_bytes(files, config, torch.bfloat16) == 2 * num_weights


def test_a_dequantised_checkpoint_has_one_dtype() -> None:
    layers = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4, dtype=torch.bfloat16))
    unify_dtype(layers, torch.bfloat16)
    assert {weight.dtype for weight in layers.parameters()} == {torch.bfloat16}
