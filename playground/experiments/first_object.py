"""The tokens of the first object of a picture, as the pixels tell: no model looks at it.

An object is what differs from a plain ground: a connected region that is not of the colour of the
picture's edge. A photo has no plain ground, and so no object here.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from playground.preprocess.stage import unpatchify
from playground.records import ModelInputs, VisualSpan

EDGE_PIXELS = 4  # along each side, whose median is the ground's colour
DIFFERENT = 32  # of 255, in any channel: not the ground's colour
CELLS_PER_PATCH = (4, 2, 1)  # along each side: the finest that leaves few enough
MAX_CELLS = 20_000  # of a picture
MAX_SHARE = 0.5  # of the picture: where more differs there is no plain ground


def find_first_object(inputs: ModelInputs, span: VisualSpan) -> tuple[int, ...]:
    """Sequence indices of the tokens that the topmost object is in, the left one of two.

    Args:
        inputs: the record of ``run_preprocess``.
        span: the picture, or the pair of frames of a video, whose first frame is looked at.

    Returns:
        Ascending; none where nothing stands on a plain ground.
    """
    fits = (n for n in CELLS_PER_PATCH if n * n * span.num_patches <= MAX_CELLS)
    per_patch = next(fits, CELLS_PER_PATCH[-1])
    cells = _object_cells(unpatchify(inputs, span)[0], inputs.patch_size // per_patch)
    if cells.mean() > MAX_SHARE:
        return ()
    for region in connected_regions(cells):
        if len(region) >= per_patch**2:  # what is smaller than a patch is a speck
            rows, columns = (region // (per_patch * span.merge_size)).T
            return tuple(np.unique(span.start + rows * span.merged_w + columns).tolist())
    return ()


def _object_cells(picture: np.ndarray, size: int) -> np.ndarray:
    """(rows, columns) bool: cells most of which are not of the ground's colour.

    Args:
        picture: (height, width, 3) uint8.
        size: pixels along each side of a cell.
    """
    height, width, _ = picture.shape
    edge, inside = np.ones((height, width), bool), slice(EDGE_PIXELS, -EDGE_PIXELS)
    edge[inside, inside] = False
    ground = np.median(picture[edge], axis=0)
    differs = (np.abs(picture - ground) > DIFFERENT).any(-1)
    cells = differs.reshape(height // size, size, width // size, size)
    return np.asarray(cells.mean((1, 3)) > 0.5)


def connected_regions(cells: np.ndarray) -> Iterator[np.ndarray]:
    """Regions of cells that touch at a side, by their first cell in reading order.

    Args:
        cells: (rows, columns) bool.

    Yields:
        (cells, 2) int: row and column of each.
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
