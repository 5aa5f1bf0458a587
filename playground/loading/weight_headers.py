"""The headers of safetensors files: names, dtypes and shapes, without any weight."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playground.errors import CheckpointError
from playground.language import say
from playground.loading.small_files import HEAD_BYTES, refuse_stand_in

MAX_HEADER_BYTES = 100_000_000  # the safetensors library's own limit


@dataclass(frozen=True, slots=True)
class TensorHeader:
    """One stored tensor."""

    file: str  # name of its file
    name: str
    dtype: str  # safetensors' name: F32, BF16, F8_E4M3 …
    shape: tuple[int, ...]
    num_bytes: int

    @property
    def numel(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


def read_weight_headers(path: Path, source: str) -> list[TensorHeader]:
    """Read one file's header and check the file's length.

    Raises:
        CheckpointError: the file is truncated, broken, or stands in for the real one.
    """
    what = say("{file} of {source!r}", file=path.name, source=source)
    file_bytes = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(HEAD_BYTES)
        refuse_stand_in(start, path, source)
        header_bytes = int.from_bytes(start[:8], "little")
        if len(start) < 8 or header_bytes > min(file_bytes - 8, MAX_HEADER_BYTES):
            raise CheckpointError(
                say(
                    "{what} is truncated or no safetensors file ({file_bytes:,} bytes).",
                    what=what,
                    file_bytes=file_bytes,
                ),
                remedy=say("Download or copy that file again."),
            )
        file.seek(8)
        header = file.read(header_bytes)
    try:
        tensors = {k: v for k, v in json.loads(header).items() if k != "__metadata__"}
        found = [_read_tensor(path.name, name, tensor) for name, tensor in tensors.items()]
        ends = [int(tensor["data_offsets"][1]) for tensor in tensors.values()]
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise CheckpointError(
            say("{what} is no safetensors file.", what=what),
            remedy=say("Download or copy that file again."),
        ) from error
    wanted = 8 + header_bytes + max(ends, default=0)
    if file_bytes < wanted:
        raise CheckpointError(
            say(
                "{what} is truncated: {file_bytes:,} of {wanted:,} bytes.",
                what=what,
                file_bytes=file_bytes,
                wanted=wanted,
            ),
            remedy=say("Download or copy that file again."),
        )
    return found


def _read_tensor(file: str, name: str, tensor: dict[str, Any]) -> TensorHeader:
    start, end = map(int, tensor["data_offsets"])
    shape = tuple(map(int, tensor["shape"]))
    return TensorHeader(file, name, str(tensor["dtype"]), shape, end - start)
