"""Interleaved M-RoPE: the axis (time, height or width) and the angle of each rotary frequency.

Rotary position embedding rotates pairs of dimensions of every query and key: pair ``i`` by the
position times ``inv_freq[i]``. M-RoPE (Qwen2-VL, Wang et al. 2024,
https://arxiv.org/abs/2409.12191) assigns one of the three positions to each pair. Source:
``Qwen3VLTextRotaryEmbedding``, transformers 5.24 (``recomposition_frequencies`` picks the axes).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from playground.engine import Engine

AXES = ("t", "h", "w")


@dataclass(frozen=True, slots=True, eq=False)
class MropeFrequencies:
    """The rotary frequencies of one attention head; there are ``head_dim / 2``."""

    inv_freq: np.ndarray  # (head_dim / 2,) float32: radians per position
    axes: np.ndarray  # (head_dim / 2,) int64: index into AXES of each frequency

    @property
    def counts(self) -> tuple[int, int, int]:
        """How many frequencies rotate with t, with h and with w."""
        t, h, w = np.bincount(self.axes, minlength=len(AXES)).tolist()
        return t, h, w

    @property
    def wavelengths(self) -> np.ndarray:
        """``(head_dim / 2,)`` float32: positions per full rotation."""
        return np.asarray(2 * math.pi / self.inv_freq, np.float32)


def frequency_axes(section: tuple[int, int, int], count: int) -> np.ndarray:
    """The axis of each frequency: t h w t h w …, then t once h and w are used up.

    Every frequency that h and w do not take belongs to t, so ``section[0]`` has no effect, and the
    sections need not sum to ``count`` (``recomposition_frequencies``).

    Args:
        section: number of frequencies of t, h and w (``mrope_section``).
        count: number of frequencies, ``head_dim / 2``.

    Returns:
        ``(count,)`` int64, indices into ``AXES``.
    """
    axes = np.zeros(count, np.int64)
    for axis in (1, 2):
        axes[axis : section[axis] * 3 : 3] = axis
    return axes


def read_frequencies(engine: Engine) -> MropeFrequencies:
    """The decoder's own frequencies, after any RoPE scaling of the checkpoint."""
    rotary = engine.model.model.language_model.rotary_emb
    inv_freq = rotary.inv_freq.float().cpu().numpy()
    return MropeFrequencies(
        inv_freq, frequency_axes(engine.facts.mrope_section, count=len(inv_freq))
    )


def rotary_angles(frequencies: MropeFrequencies, positions: np.ndarray) -> np.ndarray:
    """The angle by which each frequency rotates each token's queries and keys.

    Args:
        frequencies: of the decoder.
        positions: ``(3, seq)``: t, h, w.

    Returns:
        ``(seq, head_dim / 2)`` float32, radians, not wrapped.
    """
    chosen = positions[frequencies.axes].T.astype(np.float32)
    return np.asarray(chosen * frequencies.inv_freq, np.float32)


def flat_positions(num_tokens: int) -> np.ndarray:
    """``(3, seq)`` int64: plain 1-D positions, the sequence index in all three axes."""
    return np.tile(np.arange(num_tokens, dtype=np.int64), (3, 1))


def position_distances(positions: np.ndarray, index: int) -> np.ndarray:
    """Distance of every token to a reference token: the largest difference in t, h or w.

    Args:
        positions: ``(3, seq)``: t, h, w.
        index: sequence index of the reference token.

    Returns:
        ``(seq,)`` int64.
    """
    steps = np.abs(positions - positions[:, index : index + 1])
    return np.asarray(steps.max(axis=0), np.int64)


def rotation_similarity(
    frequencies: MropeFrequencies, positions: np.ndarray, index: int
) -> np.ndarray:
    """Similarity of every token's rotation to a reference token's: the mean cosine of the angles.

    1 for equal positions. It is the attention score, relative to distance 0, of a query and a key
    that are equal and equally strong in every frequency.

    Args:
        frequencies: of the decoder.
        positions: ``(3, seq)``: t, h, w.
        index: sequence index of the reference token.

    Returns:
        ``(seq,)`` float32 in [-1, 1].
    """
    steps = positions - positions[:, index : index + 1]
    return np.asarray(np.cos(rotary_angles(frequencies, steps)).mean(axis=1), np.float32)
