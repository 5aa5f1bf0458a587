"""The tokens of the first object of a picture, as the pixels tell: no model looks at it.

An object is what differs from a plain ground: a connected region of patches whose pixels are not
of the colour that the picture's edge has. A photo has no plain ground, and so no object here.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from playground.preprocess.stage import unpatchify
from playground.records import ModelInputs, VisualSpan

EDGE_PIXELS = 4  # along each side, whose median is the ground's colour
DIFFERENT = 32  # of 255, in any channel: not the ground's colour
PATCH_SHARE = 1 / 16  # of a patch's pixels that differ, where it belongs to an object
MAX_SHARE = 0.5  # of the picture's patches; a larger region is no object on a ground


def find_first_object(inputs: ModelInputs, span: VisualSpan) -> tuple[int, ...]:
    """Sequence indices of the tokens with the topmost object in them, the left one of two.

    Args:
        inputs: the record of ``run_preprocess``.
        span: the picture, or the pair of frames of a video, whose first frame is looked at.

    Returns:
        Ascending; none where nothing stands on a plain ground.
    """
    regions = connected_regions(_object_patches(inputs, span))
    first = next(regions, np.zeros((0, 2), int))
    if not 0 < len(first) <= MAX_SHARE * span.grid_h * span.grid_w:
        return ()
    rows, columns = (first // span.merge_size).T
    return tuple(np.unique(span.start + rows * span.merged_w + columns).tolist())


def _object_patches(inputs: ModelInputs, span: VisualSpan) -> np.ndarray:
    """(grid_h, grid_w) bool: patches that hold something else than the ground."""
    picture = unpatchify(inputs, span)[0].astype(np.int16)
    edge, middle = np.ones(picture.shape[:2], bool), slice(EDGE_PIXELS, -EDGE_PIXELS)
    edge[middle, middle] = False
    ground = np.median(picture[edge], axis=0)
    differs = (np.abs(picture - ground) > DIFFERENT).any(-1)
    patch = inputs.patch_size
    shares = differs.reshape(span.grid_h, patch, span.grid_w, patch).mean((1, 3))
    return np.asarray(shares >= PATCH_SHARE)


def connected_regions(cells: np.ndarray) -> Iterator[np.ndarray]:
    """Regions of cells that touch at a side or a corner, by their first cell in reading order.

    Args:
        cells: (rows, columns) bool.

    Yields:
        (cells, 2) int: row and column of each.
    """
    left = {(row, column) for row, column in np.argwhere(cells).tolist()}
    for start in sorted(left):
        if start not in left:
            continue
        left.remove(start)
        region, todo = [start], [start]
        while todo:
            row, column = todo.pop()
            near = {(row + down, column + right) for down in (-1, 0, 1) for right in (-1, 0, 1)}
            for cell in near & left:
                left.remove(cell)
                region.append(cell)
                todo.append(cell)
        yield np.array(region)
