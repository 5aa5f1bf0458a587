"""Magnitudes of a cached layer's keys or values, by position and channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from transformers import DynamicCache

from playground.errors import InputError
from playground.language import say

MAX_CELLS = 40_000  # of one heat map: 160 kB in float32

Part = Literal["keys", "values"]


@dataclass(frozen=True, slots=True, eq=False)
class ChannelNorms:
    """Magnitudes of one layer and head."""

    norms: np.ndarray  # (head_dim, columns) float32: root mean square over a column's positions
    positions: np.ndarray  # (columns,) int32: first sequence index of each column
    positions_per_column: int  # 1 unless there are too many positions to draw


def channel_norms(
    cache: DynamicCache, layer: int, part: Part, head: int, *, max_cells: int = MAX_CELLS
) -> ChannelNorms:
    """Magnitudes of a layer's keys or values by position and channel.

    Args:
        cache: of one request; not changed.
        layer: decoder layer.
        part: ``keys`` (as cached: after their norm and M-RoPE) or ``values``.
        head: key-value head.
        max_cells: longer sequences get several positions per column.

    Raises:
        InputError: there is no such layer, part or head.
    """
    layers: list[Any] = cache.layers
    if not 0 <= layer < len(layers) or part not in ("keys", "values"):
        raise InputError(
            say("There are no {part} in layer {layer}.", part=say(part), layer=layer),
            limit=say("There are {count} layers.", count=len(layers)),
        )
    tensor: torch.Tensor = getattr(layers[layer], part)
    if not 0 <= head < tensor.shape[1]:
        raise InputError(
            say("There is no head {head}.", head=head),
            limit=say("There are {count} key-value heads.", count=tensor.shape[1]),
        )
    values = tensor[0, head].float().cpu().numpy()  # (seq, head_dim)
    seq, channels = values.shape
    per_column = -(-seq * channels // max_cells)
    starts = np.arange(0, seq, per_column, dtype=np.int32)
    counts = np.diff(np.append(starts, seq))
    means = np.add.reduceat(values**2, starts, axis=0) / counts[:, None]
    return ChannelNorms(np.sqrt(means).T.astype(np.float32), starts, int(per_column))
