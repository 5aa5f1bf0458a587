"""Turns the random checkpoint into one of those that people bring."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

WEIGHTS = "model.safetensors"
FP8_BLOCK = 32  # rows and columns that share a scale
FP8_MAX = 448.0  # of float8_e4m3fn


def copy_checkpoint(source: Path, folder: Path) -> Path:
    return Path(shutil.copytree(source, folder))


def edit_json(path: Path, **changes: Any) -> None:
    """Change keys of a JSON file, written ``part__key``; None removes a key."""
    content = json.loads(path.read_text()) if path.exists() else {}
    for key, value in changes.items():
        table = content
        *parts, last = key.split("__")
        for part in parts:
            table = table.setdefault(part, {})
        if value is None:
            table.pop(last, None)
        else:
            table[last] = value
    path.write_text(json.dumps(content))


def edit_config(folder: Path, **changes: Any) -> None:
    edit_json(folder / "config.json", **changes)


def edit_weights(
    folder: Path, edit: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]
) -> None:
    weights = edit(load_file(folder / WEIGHTS))
    save_file(weights, folder / WEIGHTS, {"format": "pt"})


def rename_tensors(folder: Path, rename: Callable[[str], str]) -> None:
    edit_weights(folder, lambda weights: {rename(name): each for name, each in weights.items()})


def shard(folder: Path, num_shards: int = 3) -> list[str]:
    """Distribute the weights over shards, without an index."""
    weights = list(load_file(folder / WEIGHTS).items())
    (folder / WEIGHTS).unlink()
    names = [f"model-{n:05}-of-{num_shards:05}.safetensors" for n in range(1, num_shards + 1)]
    for number, name in enumerate(names):
        save_file(dict(weights[number::num_shards]), folder / name, {"format": "pt"})
    return names


def quantise_to_fp8(folder: Path) -> None:
    """The form of Qwen's FP8 releases: the decoder's projections in FP8, the rest in bfloat16."""

    def quantise(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        stored: dict[str, torch.Tensor] = {}
        for name, weight in weights.items():
            if "language_model.layers" not in name or not name.endswith("proj.weight"):
                stored[name] = weight.bfloat16()
                continue
            rows, columns = (size // FP8_BLOCK for size in weight.shape)
            blocks = weight.reshape(rows, FP8_BLOCK, columns, FP8_BLOCK)
            scale = blocks.abs().amax((1, 3)) / FP8_MAX
            scaled = blocks / scale[:, None, :, None]
            stored[name] = scaled.reshape(weight.shape).to(torch.float8_e4m3fn)
            stored[f"{name}_scale_inv"] = scale
        return stored

    edit_weights(folder, quantise)
    quantization = {
        "quant_method": "fp8",
        "fmt": "e4m3",
        "activation_scheme": "dynamic",
        "weight_block_size": [FP8_BLOCK, FP8_BLOCK],
        "modules_to_not_convert": ["lm_head", "model.visual"],
    }
    edit_config(folder, quantization_config=quantization, dtype="bfloat16")
