"""Where a patch, a merged token and a pixel belong to each other.

The rows of ``pixel_values`` do not run line by line: the four patches of a 2x2 block, which the
merger turns into one token, stand next to each other ("merge-block order").
"""

from __future__ import annotations

import numpy as np

from playground.records import VisualSpan


def patch_rows(span: VisualSpan) -> np.ndarray:
    """The row of ``pixel_values`` of each patch, by its place in the picture.

    Returns:
        ``(grid_h, grid_w)`` int64; subtract ``span.patch_start`` for the row within this span.
    """
    merge = span.merge_size
    rows = np.arange(span.num_patches, dtype=np.int64)
    blocks = rows.reshape(span.merged_h, span.merged_w, merge, merge)
    return span.patch_start + blocks.transpose(0, 2, 1, 3).reshape(span.grid_h, span.grid_w)


def patch_tokens(span: VisualSpan) -> np.ndarray:
    """The sequence index of the merged token of each patch, by its place in the picture.

    Returns:
        ``(grid_h, grid_w)`` int64.
    """
    tokens = span.start + np.arange(span.merged_h * span.merged_w, dtype=np.int64)
    by_block = tokens.reshape(span.merged_h, span.merged_w)
    return by_block.repeat(span.merge_size, axis=0).repeat(span.merge_size, axis=1)
