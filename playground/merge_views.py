"""What one sees of the merge: each function turns its record into numbers for charts and tables."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from playground.records import MergedInputs, ModelInputs, VisualSpan


@dataclass(frozen=True, slots=True)
class PositionJump:
    """Where the positions go on after an image or a frame."""

    span: VisualSpan
    largest: int  # largest t, h or w up to the span's last token
    next_position: int  # position of the token that follows, in all three axes


def positions_thw(merged: MergedInputs) -> np.ndarray:
    """``(3, seq)`` int32: t, h and w of every token."""
    return merged.position_ids[:, 0].numpy().astype(np.int32)


def position_jumps(inputs: ModelInputs, merged: MergedInputs) -> tuple[PositionJump, ...]:
    """The jump after each visual span: the next text position is the largest one plus 1."""
    positions = positions_thw(merged)
    return tuple(
        PositionJump(span, int(positions[:, : span.end].max()), int(positions[0, span.end]))
        for span in inputs.spans
        if span.end < inputs.num_tokens
    )


def embed_norms(merged: MergedInputs) -> np.ndarray:
    """``(2, seq)`` float32: Euclidean norm of each embedding before and after masked_scatter."""
    return np.stack(
        [
            embeds[0].float().norm(dim=-1).numpy()
            for embeds in (merged.token_embeds, merged.inputs_embeds)
        ]
    )


def spread_indices(num_tokens: int, limit: int) -> np.ndarray:
    """At most ``limit`` indices, evenly spread, the first and the last among them."""
    if num_tokens <= limit:
        return np.arange(num_tokens)
    return np.unique(np.linspace(0, num_tokens - 1, limit).round().astype(np.int64))


def corner_indices(positions: np.ndarray, limit: int) -> np.ndarray:
    """The indices between which all of t, h and w run straight, so that lines lose nothing.

    Args:
        positions: (3, seq).
        limit: a sequence of up to so many tokens keeps every index; one with more corners than
            this is thinned out evenly.
    """
    num_tokens = positions.shape[1]
    if num_tokens <= limit:
        return np.arange(num_tokens)
    bends = (np.diff(positions, n=2, axis=1) != 0).any(axis=0)
    corners = np.concatenate([[0], np.flatnonzero(bends) + 1, [num_tokens - 1]])
    return np.asarray(corners[spread_indices(len(corners), limit)])
