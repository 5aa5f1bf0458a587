"""Quantised weights: which formats are read, what each part of the model is stored as.

transformers reads these formats through the ``quantization_config`` of ``config.json``, most of
them with a package of the format's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import torch

from playground.errors import CheckpointError
from playground.language import mark, say
from playground.loading.weight_headers import TensorHeader
from playground.loading.weight_names import name_in_transformers
from playground.origin import PartWeights, Quantisation

# quant_method of config.json → its name, and the packages that transformers reads it with.
READ_METHODS: dict[str, tuple[str, tuple[str, ...]]] = {
    "fp8": ("FP8", ()),
    "bitsandbytes": ("bitsandbytes", ("bitsandbytes",)),
    "compressed-tensors": ("compressed-tensors", ("compressed_tensors",)),
    "gptq": ("GPTQ", ("gptqmodel", "optimum")),
    "awq": ("AWQ", ("gptqmodel",)),
}
FP8_CAPABILITY = (8, 9)  # CUDA's, from which a GPU multiplies FP8 matrices; as in transformers 5.24

# Parts of the model, by how the names of their matrices start or by what they contain.
PARTS = (
    (mark("merger"), ("model.visual.merger.", "model.visual.deepstack_merger_list.")),
    (mark("vision tower"), ("model.visual.",)),
    (mark("token embeddings"), ("model.language_model.embed_tokens.",)),
    (mark("decoder attention"), (".self_attn.",)),
    (mark("decoder MLP"), (".mlp.",)),
    (mark("lm_head"), ("lm_head.",)),
)
FLOATS = ("F64", "F32", "BF16", "F16")
# The last part of a matrix's name: plain, packed by GPTQ and AWQ, by compressed-tensors, and the
# experts of a mixture, which share one tensor.
MATRIX_NAMES = ("weight", "qweight", "weight_packed", "gate_up_proj", "down_proj")


def read_settings(config: dict[str, Any]) -> dict[str, Any]:
    """The ``quantization_config`` of a ``config.json``; empty if its weights are not quantised."""
    found = config.get("quantization_config")
    return found if isinstance(found, dict) else {}


def read_method(config: dict[str, Any]) -> str:
    """The ``quant_method`` of a ``config.json``; empty if its weights are not quantised."""
    settings = read_settings(config)
    if not settings.get("quant_method") and any(
        settings.get(f"load_in_{bits}bit") for bits in (4, 8)
    ):
        return "bitsandbytes"  # written before transformers named the method
    return str(settings.get("quant_method", "")).lower()


def check_packages(method: str, source: str) -> None:
    """Refuse a format whose packages are not installed.

    Raises:
        CheckpointError: names the format and the packages.
    """
    name, packages = READ_METHODS[method]
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        raise CheckpointError(
            say(
                "The weights of {source!r} are quantised by {method}, for which these packages are "
                "missing: {missing}.",
                source=source,
                method=name,
                missing=say(", ").join(missing),
            ),
            remedy=say(
                "Install them with: pip install {packages} (requirements-quantised.txt has the "
                "versions that were tried). Or give the unquantised checkpoint.",
                packages=" ".join(package.replace("_", "-") for package in missing),
            ),
        )


def is_dequantised(method: str, device: torch.device, asked: str) -> bool:
    """Whether the weights become plain matrices while they are loaded.

    compressed-tensors would do so in the first forward pass otherwise. FP8 needs a GPU that
    multiplies in FP8, the package kernels, and activations in bfloat16.

    Args:
        method: the ``quant_method``.
        device: where the model will run.
        asked: the dtype as the user gave it.
    """
    if method != "fp8":
        return method == "compressed-tensors"
    if device.type != "cuda" or asked not in ("auto", "bfloat16"):
        return True
    has_kernels = find_spec("kernels") is not None
    return not has_kernels or torch.cuda.get_device_capability(device) < FP8_CAPABILITY


def count_parts(tensors: Sequence[TensorHeader]) -> tuple[PartWeights, ...]:
    """How many matrices of each part are stored quantised, in the order of ``PARTS``."""
    found: dict[str, list[str]] = {name: [] for name, _ in PARTS}
    for tensor in tensors:
        part = _part_of(name_in_transformers(tensor.name))
        is_matrix = len(tensor.shape) > 1 and tensor.name.rpartition(".")[2] in MATRIX_NAMES
        if part and is_matrix:
            found[part].append(tensor.dtype)
    return tuple(
        PartWeights(part, len(dtypes), sum(dtype not in FLOATS for dtype in dtypes))
        for part, dtypes in found.items()
        if dtypes
    )


def _part_of(name: str) -> str:
    for part, marks in PARTS:
        if any(name.startswith(text) or (text[0] == "." and text in name) for text in marks):
            return part
    return ""


def describe_quantisation(
    config: dict[str, Any], parts: tuple[PartWeights, ...], model: Any
) -> Quantisation | None:
    """What a loaded checkpoint's weights are stored as, and run as.

    Args:
        config: the content of ``config.json``.
        parts: of ``count_parts``.
        model: the loaded model.
    """
    method = read_method(config)
    if not method:
        return None
    is_plain = all(
        tensor.is_floating_point() and tensor.itemsize > 1 for tensor in model.state_dict().values()
    )
    dtype = str(model.get_input_embeddings().weight.dtype).removeprefix("torch.")
    return Quantisation(
        method=READ_METHODS[method][0],
        form=_form(method, read_settings(config)),
        dequantised_to=dtype if is_plain else "",
        parts=parts,
    )


def _form(method: str, settings: dict[str, Any]) -> str:
    """The variant, in the format's own words: nf4, int8, pack-quantized, w4 …"""
    if method == "bitsandbytes":
        return str(settings.get("bnb_4bit_quant_type")) if is_4_bit(settings) else "int8"
    if method == "fp8":
        return str(settings.get("fmt") or "e4m3")
    if method == "compressed-tensors":
        return str(settings.get("format") or "")
    bits = settings.get("bits") or settings.get("w_bit")
    return f"int{bits}" if bits else ""


def is_4_bit(settings: dict[str, Any]) -> bool:
    """Whether bitsandbytes' settings say 4 bits."""
    return bool(settings.get("load_in_4bit") or settings.get("_load_in_4bit"))
