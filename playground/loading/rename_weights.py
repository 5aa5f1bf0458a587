"""Rewrite a checkpoint whose tensors have names that transformers does not read.

``python -m playground.loading.rename_weights FOLDER NEW_FOLDER`` writes a copy with the names of
transformers. ``python -m playground.loading.rename_weights FOLDER`` writes the index that shards
need, and copies nothing. Weights pass through byte by byte, whatever their dtype.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from playground.errors import CheckpointError, PlaygroundError
from playground.language import say
from playground.loading.local_folders import find_checkpoint_folder
from playground.loading.weight_headers import TensorHeader, read_weight_headers
from playground.loading.weight_names import is_channels_last, is_read_as, name_in_transformers

INDEX = "model.safetensors.index.json"
CHUNK_BYTES = 16_000_000
CHANNELS_FIRST = (0, 4, 1, 2, 3)  # of (out, frames, height, width, channels)


def rename_weights(folder: Path, target: Path) -> int:
    """Write a copy of a checkpoint with the names of transformers.

    Args:
        folder: with ``*.safetensors``; other files of it are copied too.
        target: a new or an empty folder.

    Returns:
        Number of renamed tensors.

    Raises:
        CheckpointError: no weights, two tensors of one name, or a target that is in use.
    """
    headers = _read_all(folder)
    if target.exists() and any(target.iterdir()):
        raise CheckpointError(
            say("{folder!r} is not empty.", folder=str(target)), remedy=say("Name a new folder.")
        )
    target.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.is_file() and path.suffix != ".safetensors" and path.name != INDEX:
            shutil.copy(path, target / path.name)
    files = sorted({header.file for header in headers})
    names = {old: f"model-{n:05}-of-{len(files):05}.safetensors" for n, old in enumerate(files, 1)}
    if len(files) == 1:
        names = {files[0]: "model.safetensors"}
    for old, new in names.items():
        _copy_renamed(folder / old, target / new)
    if len(files) > 1:
        _write_index(target, _read_all(target))
    return sum(not is_read_as(h.name, name_in_transformers(h.name)) for h in headers)


def write_index(folder: Path) -> int:
    """Write the index of a folder with shards; returns the number of tensors.

    Raises:
        CheckpointError: no weights, or names that transformers does not read.
    """
    headers = _read_all(folder)
    for header in headers:
        if not is_read_as(header.name, name_in_transformers(header.name)):
            raise CheckpointError(
                say("{name} must be renamed too.", name=header.name),
                remedy=say("Name a second, new folder for the copy."),
            )
    _write_index(folder, headers)
    return len(headers)


def _read_all(folder: Path) -> list[TensorHeader]:
    headers: list[TensorHeader] = []
    for path in sorted(folder.glob("*.safetensors")):
        headers += read_weight_headers(path, folder.name)
    counts = Counter(name_in_transformers(header.name) for header in headers)
    twice = next((name for name, count in counts.items() if count > 1), "")
    if twice or not headers:
        found = say("{name} twice", name=twice) if twice else say("no weights")
        raise CheckpointError(
            say("{folder!r} holds {found}.", folder=folder.name, found=found),
            remedy=say("Give a folder with the *.safetensors files of one model."),
        )
    return headers


def _write_index(folder: Path, headers: Sequence[TensorHeader]) -> None:
    total_bytes = sum(path.stat().st_size for path in folder.glob("*.safetensors"))
    index = {
        "metadata": {"total_size": total_bytes},
        "weight_map": {header.name: header.file for header in headers},
    }
    (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def _copy_renamed(path: Path, target: Path) -> None:
    """Write one file again under other names, the patch embedding with its channels first."""

    def is_last(name: str, tensor: dict[str, Any]) -> bool:
        return is_channels_last(TensorHeader(path.name, name, "", tuple(tensor["shape"]), 0))

    with path.open("rb") as source, target.open("xb") as copy:
        header_bytes = int.from_bytes(source.read(8), "little")
        header: dict[str, Any] = json.loads(source.read(header_bytes))
        start = 8 + header_bytes
        metadata = header.pop("__metadata__", {}) | {"format": "pt"}
        renamed: dict[str, Any] = {"__metadata__": metadata}
        for name, tensor in header.items():
            shape = tensor["shape"]
            if is_last(name, tensor):
                shape = [shape[axis] for axis in CHANNELS_FIRST]
            renamed[name_in_transformers(name)] = tensor | {"shape": shape}
        words = json.dumps(renamed).encode()
        words += b" " * (-len(words) % 8)
        copy.write(len(words).to_bytes(8, "little") + words)
        for name, tensor in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
            first, end = tensor["data_offsets"]
            source.seek(start + first)
            if is_last(name, tensor):
                copy.write(_channels_first(source.read(end - first), tensor["shape"]))
            else:
                _copy_bytes(source, copy, end - first)


def _channels_first(data: bytes, shape: list[int]) -> bytes:
    """``(out, frames, height, width, channels)`` → ``(out, channels, frames, height, width)``."""
    item_bytes = len(data) // math.prod(shape)
    items = np.frombuffer(data, np.dtype((np.void, item_bytes))).reshape(shape)
    return np.ascontiguousarray(items.transpose(CHANNELS_FIRST)).tobytes()


def _copy_bytes(source: BinaryIO, copy: BinaryIO, num_bytes: int) -> None:
    while num_bytes > 0:
        chunk = source.read(min(num_bytes, CHUNK_BYTES))
        copy.write(chunk)
        num_bytes -= len(chunk)


def main(arguments: Sequence[str] | None = None) -> None:
    """Rename the tensors of a folder, or write the index of its shards."""
    parser = argparse.ArgumentParser(prog="rename_weights", description=main.__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("target", type=Path, nargs="?", help="new folder for the renamed copy")
    options = parser.parse_args(arguments)
    try:
        folder = find_checkpoint_folder(options.folder, str(options.folder))
        if options.target is None:
            print(f"{write_index(folder):,} tensors are in {folder / INDEX}.")
        else:
            print(
                f"{rename_weights(folder, options.target):,} tensors renamed in {options.target}."
            )
    except (PlaygroundError, OSError) as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    main()
