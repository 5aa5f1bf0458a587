"""Which tokens would complete an n-gram that the text already has."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray


def completing_ids(ids: torch.Tensor, size: int) -> NDArray[np.int64]:
    """The tokens that would repeat an n-gram, as ``no_repeat_ngram_size`` removes them.

    Source: ``NoRepeatNGramLogitsProcessor``, transformers 5.24.

    Args:
        ids: (seq,) int64, prompt and generated tokens.
        size: n; 1 gives every token of the text.

    Returns:
        (tokens,) int64, ascending, each once; empty if the text is shorter than an n-gram.
    """
    text: NDArray[np.int64] = ids.numpy()
    before = size - 1  # tokens of the n-gram that the text ends with
    if len(text) <= before:
        return text[:0]
    followers = text[before:]
    if before:
        earlier = np.lib.stride_tricks.sliding_window_view(text[:-1], before)
        followers = followers[(earlier == text[-before:]).all(axis=1)]
    return np.unique(followers)
