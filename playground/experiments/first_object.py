"""The tokens of the first object of an image, found from its pixels without a model.

An object is a connected region whose colour differs from that of the image's edge. This needs a
plain background, so that no object is found in a photo.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from playground.preprocess.stage import unpatchify
from playground.records import ModelInputs, VisualSpan

EDGE_PIXELS = 4  # along each side; their median is the background colour
DIFFERENT = 32  # of 255, in any channel: differs from the background
CELLS_PER_PATCH = (4, 2, 1)  # along each side; the finest with at most MAX_CELLS is used
MAX_CELLS = 20_000  # of an image
MAX_SHARE = 0.5  # of the image: if more differs, the background is not plain


def find_first_object(inputs: ModelInputs, span: VisualSpan) -> tuple[int, ...]:
    """Sequence indices of the topmost object's tokens; of two at the same height, the left one's.

    Args:
        inputs: the record of ``run_preprocess``.
        span: the image, or the pair of frames of a video; only its first frame is used.

    Returns:
        Ascending; empty if there is no object on a plain background.
    """
    # A patch of 14 pixels does not divide into four cells.
    whole = [n for n in CELLS_PER_PATCH if inputs.patch_size % n == 0]
    fits = (n for n in whole if n * n * span.num_patches <= MAX_CELLS)
    per_patch = next(fits, CELLS_PER_PATCH[-1])
    cells = _object_cells(unpatchify(inputs, span)[0], inputs.patch_size // per_patch)
    if cells.mean() > MAX_SHARE:
        return ()
    for region in connected_regions(cells):
        if len(region) >= per_patch**2:  # smaller regions are noise
            rows, columns = (region // (per_patch * span.merge_size)).T
            return tuple(np.unique(span.start + rows * span.merged_w + columns).tolist())
    return ()


def _object_cells(image: np.ndarray, size: int) -> np.ndarray:
    """(rows, columns) bool: cells that mostly differ from the background.

    Args:
        image: (height, width, 3) uint8.
        size: pixels along each side of a cell.
    """
    height, width, _ = image.shape
    edge, inside = np.ones((height, width), bool), slice(EDGE_PIXELS, -EDGE_PIXELS)
    edge[inside, inside] = False
    background = np.median(image[edge], axis=0)
    differs = (np.abs(image - background) > DIFFERENT).any(-1)
    cells = differs.reshape(height // size, size, width // size, size)
    return np.asarray(cells.mean((1, 3)) > 0.5)


def connected_regions(cells: np.ndarray) -> Iterator[np.ndarray]:
    """Regions of cells that share a side, in reading order of their first cells.

    Args:
        cells: (rows, columns) bool.

    Yields:
        (cells, 2) int: row and column of each cell.
    """
    left = set(map(tuple, np.argwhere(cells).tolist()))
    for start in sorted(left):
        if start not in left:
            continue
        left.remove(start)
        region, todo = [start], [start]
        while todo:
            row, column = todo.pop()
            around = {(row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)}
            near = around & left
            left -= near
            region += near
            todo += near
        yield np.array(region)
