"""Quantised formats that are not read, refused by kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from playground.errors import CheckpointError
from playground.language import say
from playground.loading.quantised import (
    READ_METHODS,
    check_packages,
    read_method,
    read_settings,
)

# quant_method of config.json → readable name. None of these was tried.
REFUSED_METHODS = {
    "auto-round": "AutoRound",
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


def check_kind(folder: Path, config: dict[str, Any], source: str) -> None:
    """Refuse a quantised checkpoint that is not read, by the name of its format.

    Args:
        folder: where the files are.
        config: the content of ``config.json``.
        source: the user's name for the checkpoint.

    Raises:
        CheckpointError: names the format, the key and what to load instead.
    """
    mlx = config.get("quantization")
    if mlx and isinstance(mlx, dict):
        raise _quantised("MLX", "quantization", mlx, source)
    settings, method = read_settings(config), read_method(config)
    if method in READ_METHODS:
        check_packages(method, source)
    elif settings:
        name = REFUSED_METHODS.get(method, f"quant_method {method!r}")
        raise _quantised(name, "quantization_config", settings, source)
    side_file = folder / "hf_quant_config.json"  # ModelOpt's, beside a plain config.json
    if not settings and side_file.is_file():
        raise _quantised("NVIDIA ModelOpt", "hf_quant_config.json", {}, source)


def _quantised(name: str, where: str, settings: dict[str, Any], source: str) -> CheckpointError:
    bits = settings.get("bits") or settings.get("w_bit")
    return CheckpointError(
        say(
            "The weights of {source!r} are quantised in the format {name}{bits} ({where}), which "
            "is not read here.",
            source=source,
            name=name,
            bits=say(", {bits} bits", bits=bits) if isinstance(bits, int) else "",
            where=where,
        ),
        remedy=say(
            "Give the unquantised checkpoint that it was made from, or one in FP8, bitsandbytes, "
            "compressed-tensors, GPTQ or AWQ."
        ),
    )
