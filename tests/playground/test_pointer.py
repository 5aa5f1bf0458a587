"""Pixel ↔ patch row ↔ token, by hand."""

from __future__ import annotations

import numpy as np

from playground.pointer import patch_rows, patch_tokens
from playground.records import VisualSpan

# 4 patches down, 6 across: 2 x 3 tokens that start at sequence index 10; the pixel rows of this
# picture start at 100.
SPAN = VisualSpan(
    "image", 1, 0, start=10, end=16, grid_h=4, grid_w=6, patch_start=100, merge_size=2
)


def test_rows_run_block_by_block() -> None:
    expected = [
        [0, 1, 4, 5, 8, 9],
        [2, 3, 6, 7, 10, 11],
        [12, 13, 16, 17, 20, 21],
        [14, 15, 18, 19, 22, 23],
    ]
    rows = patch_rows(SPAN)
    assert (rows - 100).tolist() == expected
    assert rows.dtype == np.int64


def test_four_patches_share_a_token() -> None:
    expected = [
        [10, 10, 11, 11, 12, 12],
        [10, 10, 11, 11, 12, 12],
        [13, 13, 14, 14, 15, 15],
        [13, 13, 14, 14, 15, 15],
    ]
    assert patch_tokens(SPAN).tolist() == expected


def test_rows_and_tokens_agree() -> None:
    """The merger turns rows 4 k to 4 k + 3 into token k."""
    rows, tokens = patch_rows(SPAN) - 100, patch_tokens(SPAN) - 10
    np.testing.assert_array_equal(rows // 4, tokens)
    assert sorted(rows.ravel().tolist()) == list(range(24))


def test_sizes_of_a_span() -> None:
    assert (SPAN.merged_h, SPAN.merged_w, SPAN.num_patches) == (2, 3, 24)
