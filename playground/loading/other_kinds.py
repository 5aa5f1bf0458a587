"""Checkpoints that are no plain weights: adapters and quantised formats, refused by kind.

The stages read weights and activations of every layer in full precision. Formats that transformers
turns back into such weights while loading (FP8 without a GPU), or that keep the model's modules
(bitsandbytes), are let through.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from playground.errors import CheckpointError
from playground.language import say

# quant_method of config.json → readable name. Not one of these can be drawn.
REFUSED_METHODS = {
    "gptq": "GPTQ",
    "awq": "AWQ",
    "auto-round": "AutoRound",
    "compressed-tensors": "compressed-tensors (llm-compressor)",
    "modelopt": "NVIDIA ModelOpt",
    "mxfp4": "MXFP4",
    "nvfp4": "NVFP4",
    "fbgemm_fp8": "FBGEMM FP8",
    "quark": "AMD Quark",
    "aqlm": "AQLM",
    "eetq": "EETQ",
    "higgs": "HIGGS",
    "hqq": "HQQ",
    "quanto": "Quanto",
    "spqr": "SpQR",
    "torchao": "torchao",
    "vptq": "VPTQ",
    "bitnet": "BitNet",
    "metal": "MLX affine quantisation",
}
READ_METHODS = ("fp8", "bitsandbytes")


def read_quantization(config: dict[str, Any]) -> str:
    """The ``quant_method`` of a ``config.json``; empty if its weights are not quantised."""
    quantization = _table(config, "quantization_config")
    if not quantization.get("quant_method") and any(
        quantization.get(f"load_in_{bits}bit") for bits in (4, 8)
    ):
        return "bitsandbytes"  # written before transformers named the method
    return str(quantization.get("quant_method", "")).lower()


def check_kind(folder: Path, config: dict[str, Any], source: str) -> None:
    """Refuse a quantised checkpoint that cannot be drawn, by the name of its format.

    Args:
        folder: where the files are.
        config: the content of ``config.json``.
        source: the user's name for the checkpoint.

    Raises:
        CheckpointError: names the format, the key and what to load instead.
    """
    if mlx := _table(config, "quantization"):
        raise _quantised("MLX", "quantization", mlx, source)
    quantization = _table(config, "quantization_config")
    method = read_quantization(config)
    if method == "bitsandbytes" and find_spec("bitsandbytes") is None:
        raise CheckpointError(
            say(
                "The weights of {source!r} are quantised by bitsandbytes, which is not installed.",
                source=source,
            ),
            remedy=say(
                "Install it with: pip install bitsandbytes. Or give the unquantised checkpoint."
            ),
        )
    if quantization and method not in READ_METHODS:
        name = REFUSED_METHODS.get(method, f"quant_method {method!r}")
        raise _quantised(name, "quantization_config", quantization, source)
    side_file = folder / "hf_quant_config.json"  # ModelOpt's, beside a plain config.json
    if not quantization and side_file.is_file():
        raise _quantised("NVIDIA ModelOpt", "hf_quant_config.json", {}, source)


def _table(config: dict[str, Any], key: str) -> dict[str, Any]:
    found = config.get(key)
    return found if isinstance(found, dict) else {}


def _quantised(name: str, where: str, settings: dict[str, Any], source: str) -> CheckpointError:
    bits = settings.get("bits") or settings.get("w_bit")
    return CheckpointError(
        say(
            "The weights of {source!r} are quantised in the format {name}{bits} ({where}), which "
            "cannot be drawn.",
            source=source,
            name=name,
            bits=say(", {bits} bits", bits=bits) if isinstance(bits, int) else "",
            where=where,
        ),
        remedy=say("Give the unquantised checkpoint that it was made from, or Qwen's FP8 release."),
    )
