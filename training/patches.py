"""Pixels to `pixel_values` rows in the layout of the Qwen3-VL processor (no resizing)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

PATCH = 16  # pixels
MERGE = 2  # patches per side that become one token
CELL = PATCH * MERGE  # pixels per side of one token


def patchify(pixels: np.ndarray, second: np.ndarray | None = None) -> Tensor:
    """(height, width, 3) uint8 -> (patches, 1536) float32 in -1..1, merge-block order.

    An image fills both frames of a temporal patch; a video passes the second frame.
    """
    height, width = pixels.shape[:2]
    if height % CELL or width % CELL:
        raise ValueError(f"pixels: expected sides that are multiples of {CELL}, got {pixels.shape}")
    frames = np.stack([pixels, pixels if second is None else second])
    frames = torch.from_numpy(frames).permute(3, 0, 1, 2).float().sub_(127.5).div_(127.5)
    blocks = frames.view(3, 2, height // CELL, MERGE, PATCH, width // CELL, MERGE, PATCH)
    # (block row, block column, row in block, column in block, channel, frame, y, x)
    return blocks.permute(2, 5, 3, 6, 0, 1, 4, 7).reshape(-1, 3 * 2 * PATCH * PATCH)


def block_order(rows: int, columns: int) -> tuple[Tensor, Tensor]:
    """Row and column of each patch of a grid in merge-block order, each (rows * columns,)."""
    row = torch.arange(rows)[:, None].expand(rows, columns)
    column = torch.arange(columns)[None, :].expand(rows, columns)

    def reorder(grid: Tensor) -> Tensor:
        blocks = grid.reshape(rows // MERGE, MERGE, columns // MERGE, MERGE)
        return blocks.transpose(1, 2).reshape(-1)

    return reorder(row), reorder(column)
