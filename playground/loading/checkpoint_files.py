"""Check a checkpoint folder before any weight is read.

Only JSON files and the headers of the safetensors files are opened, so that a partial or
unsupported folder is refused within milliseconds, with a message that says what was found and what
is needed.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from playground.errors import CheckpointError

SUPPORTED = ("qwen3_vl", "qwen3_vl_moe")

NEEDED = (
    "Needed is a folder with a Qwen3-VL's config.json (model_type qwen3_vl or qwen3_vl_moe), its "
    "model*.safetensors, tokenizer and preprocessor_config.json."
)

# model_type → readable name; any other type is named as it is.
FOREIGN = {
    "qwen": "the first Qwen, a text-only model",
    "qwen2": "a text-only Qwen2",
    "qwen2_moe": "a text-only Qwen2 mixture of experts",
    "qwen2_vl": "a Qwen2-VL: another vision tower, no DeepStack",
    "qwen2_5_vl": "a Qwen2.5-VL: another vision tower, no DeepStack",
    "qwen3": "a text-only Qwen3: no vision tower",
    "qwen3_moe": "a text-only Qwen3 mixture of experts: no vision tower",
    "qwen3_vl_text": "only the text part of a Qwen3-VL",
    "qwen3_vl_moe_text": "only the text part of a Qwen3-VL mixture of experts",
    "qwen3_vl_vision": "only the vision tower of a Qwen3-VL",
}

# The dtype names of the safetensors header; others (quantised integers) are omitted.
FLOAT_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "BF16": torch.bfloat16,
    "F16": torch.float16,
}

MAX_HEADER_BYTES = 100_000_000  # the safetensors library's own limit
LFS_POINTER = b"version https://git-lfs"


@dataclass(frozen=True, slots=True)
class CheckpointFiles:
    """Facts from the headers."""

    folder: Path
    model_type: str
    num_parameters: int  # in all safetensors files
    stored_dtype: torch.dtype  # dtype of most weights


def check_checkpoint(folder: Path, source: str) -> CheckpointFiles:
    """Check a local folder's files without reading weights.

    Args:
        folder: where the files are.
        source: the user's name for it; messages show no other path.

    Raises:
        CheckpointError: the folder is missing, partial or not a Qwen3-VL.
    """
    if not folder.exists():
        raise CheckpointError(f"There is no folder {source!r}.", limit=NEEDED)
    if not folder.is_dir():
        raise CheckpointError(
            f"{source!r} is a file, not a folder.", remedy="Give the folder that holds it."
        )
    model_type = check_config(folder, source)
    _check_processor_files(folder, source)
    sizes: dict[torch.dtype, int] = {}
    total = 0
    for path in _find_weight_files(folder, source):
        for dtype, numel in _read_safetensors_header(path, source):
            total += numel
            if dtype in FLOAT_DTYPES:
                sizes[FLOAT_DTYPES[dtype]] = sizes.get(FLOAT_DTYPES[dtype], 0) + numel
    stored = max(sizes, key=lambda dtype: sizes[dtype]) if sizes else torch.float32
    return CheckpointFiles(folder, model_type, total, stored)


def read_json(path: Path, source: str) -> dict[str, Any]:
    """Read a JSON object, or raise an error that names the broken file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:  # includes UnicodeDecodeError and JSONDecodeError
        reason = error.strerror if isinstance(error, OSError) else "not valid JSON"
        raise CheckpointError(
            f"{path.name} of {source!r} cannot be read: {reason}.",
            remedy="Download or copy that file again.",
        ) from error
    if not isinstance(content, dict):
        raise CheckpointError(
            f"{path.name} of {source!r} holds a {type(content).__name__}, not an object.",
            limit=NEEDED,
        )
    return content


def check_config(folder: Path, source: str) -> str:
    """Read the model type from ``config.json`` and refuse any other than ``SUPPORTED``.

    Raises:
        CheckpointError: no readable ``config.json``, or one of another model.
    """
    path = folder / "config.json"
    if not path.is_file():
        found = "has no config.json" if any(folder.iterdir()) else "is an empty folder"
        raise CheckpointError(f"{source!r} {found}.", limit=NEEDED)
    config = read_json(path, source)
    model_type = config.get("model_type")
    if model_type not in SUPPORTED:
        name = FOREIGN.get(str(model_type), f"of model_type {model_type!r}")
        if model_type is None:
            name = "without a model_type"
        raise CheckpointError(f"The checkpoint {source!r} is {name}.", limit=NEEDED)
    missing = [part for part in ("text_config", "vision_config") if part not in config]
    if missing:
        raise CheckpointError(
            f"config.json of {source!r} has no {' and no '.join(missing)}.", limit=NEEDED
        )
    return str(model_type)


def _check_processor_files(folder: Path, source: str) -> None:
    def has(*names: str) -> bool:
        return all((folder / name).is_file() for name in names)

    if not has("tokenizer.json") and not has("vocab.json", "merges.txt"):
        raise CheckpointError(
            f"{source!r} has no tokenizer.",
            limit="Needed is tokenizer.json, or vocab.json with merges.txt.",
            remedy="Copy the tokenizer files of the same model into the folder.",
        )
    if not has("preprocessor_config.json") and not has("processor_config.json"):
        raise CheckpointError(
            f"{source!r} has no image processor settings.",
            limit="Needed is preprocessor_config.json or processor_config.json.",
            remedy="Copy them from the same model's repository into the folder.",
        )


def _find_weight_files(folder: Path, source: str) -> list[Path]:
    index = folder / "model.safetensors.index.json"
    if (folder / "model.safetensors").is_file():
        return [folder / "model.safetensors"]
    if not index.is_file():
        bins = any(folder.glob("*.bin")) or any(folder.glob("*.pt*"))
        raise CheckpointError(
            f"{source!r} has no weights"
            + (" in safetensors format, only pickled ones." if bins else "."),
            limit="Needed is model.safetensors, or the shards with model.safetensors.index.json.",
            remedy="Convert them with save_pretrained." if bins else "Finish the download.",
        )
    weight_map = read_json(index, source).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{index.name} of {source!r} has no weight_map.", limit=NEEDED)
    names = sorted({str(name) for name in weight_map.values()})
    if any(Path(name).name != name for name in names):
        raise CheckpointError(f"{index.name} of {source!r} names files outside the folder.")
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        shown = ", ".join(missing[:3]) + (" …" if len(missing) > 3 else "")
        raise CheckpointError(
            f"{source!r} lacks {len(missing)} of {len(names)} weight files: {shown}.",
            remedy="Finish the download.",
        )
    return [folder / name for name in names]


def _read_safetensors_header(path: Path, source: str) -> list[tuple[str, int]]:
    """``(dtype name, number of elements)`` of each tensor, after checking the file's length."""
    what = f"{path.name} of {source!r}"
    file_bytes = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(max(8, len(LFS_POINTER)))
        if start.startswith(LFS_POINTER):
            raise CheckpointError(
                f"{what} is a Git LFS pointer, not the weights.", remedy="Run `git lfs pull`."
            )
        header_bytes = int.from_bytes(start[:8], "little")
        if len(start) < 8 or header_bytes > min(file_bytes - 8, MAX_HEADER_BYTES):
            raise CheckpointError(
                f"{what} is truncated or no safetensors file ({file_bytes:,} bytes).",
                remedy="Download or copy that file again.",
            )
        file.seek(8)
        header = file.read(header_bytes)
    try:
        tensors = [v for k, v in json.loads(header).items() if k != "__metadata__"]
        ends = [int(tensor["data_offsets"][1]) for tensor in tensors]
        sizes = [(str(tensor["dtype"]), math.prod(tensor["shape"])) for tensor in tensors]
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise CheckpointError(
            f"{what} is no safetensors file.", remedy="Download or copy that file again."
        ) from error
    wanted = 8 + header_bytes + max(ends, default=0)
    if file_bytes < wanted:
        raise CheckpointError(
            f"{what} is truncated: {file_bytes:,} of {wanted:,} bytes.",
            remedy="Download or copy that file again.",
        )
    return sizes
