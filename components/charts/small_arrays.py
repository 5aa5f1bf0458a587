"""Arrays of charts in as few bytes as they need, since each goes to the page in full."""

from __future__ import annotations

import numpy as np


def compact_integers(values: np.ndarray) -> np.ndarray:
    """The same whole numbers as int16 where they fit, as int32 otherwise."""
    fits = values.size == 0 or (values.min() >= -(2**15) and values.max() < 2**15)
    return np.asarray(values, np.int16 if fits else np.int32)
