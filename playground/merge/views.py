"""Views of the merge: positions and DeepStack routes for charts and tables."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from playground.records import MergedInputs, ModelInputs, VisualSpan


@dataclass(frozen=True, slots=True)
class PositionJump:
    """How the positions continue after an image or a frame."""

    span: VisualSpan
    largest: int  # largest t, h or w up to the span's last token
    next_position: int  # position of the next token, in all three axes


@dataclass(frozen=True, slots=True)
class SequencePart:
    """An image or frame, or the text between two of them, with its positions."""

    start: int
    end: int  # one past the last
    span: VisualSpan | None  # None for text
    ranges: tuple[tuple[int, int], ...]  # smallest and largest t, h and w
    advance: int  # position of the next token minus that of the first

    @property
    def num_tokens(self) -> int:
        """Tokens of this part, which is also its advance with 1-D positions."""
        return self.end - self.start


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


def sequence_parts(inputs: ModelInputs, merged: MergedInputs) -> tuple[SequencePart, ...]:
    """The sequence split at its images and frames.

    The parts' ``advance`` minus their number of tokens sums to ``rope_deltas``.
    """
    positions = positions_thw(merged)
    parts, start = [], 0
    for span in inputs.spans:
        if start < span.start:
            parts.append(_describe_part(positions, start, span.start, None))
        parts.append(_describe_part(positions, span.start, span.end, span))
        start = span.end
    if start < inputs.num_tokens:
        parts.append(_describe_part(positions, start, inputs.num_tokens, None))
    return tuple(parts)


def _describe_part(
    positions: np.ndarray, start: int, end: int, span: VisualSpan | None
) -> SequencePart:
    chosen = positions[:, start:end]
    ranges = tuple((int(axis.min()), int(axis.max())) for axis in chosen)
    return SequencePart(start, end, span, ranges, int(chosen.max() - chosen.min()) + 1)


def spread_indices(num_tokens: int, limit: int) -> np.ndarray:
    """At most ``limit`` evenly spaced indices, including the first and the last."""
    if num_tokens <= limit:
        return np.arange(num_tokens)
    return np.unique(np.linspace(0, num_tokens - 1, limit).round().astype(np.int64))


def corner_indices(positions: np.ndarray, limit: int) -> np.ndarray:
    """The indices where the slope of t, h or w changes; lines through them are exact.

    Args:
        positions: (3, seq).
        limit: a sequence of up to this many tokens keeps every index; more corners than this
            are subsampled evenly.
    """
    num_tokens = positions.shape[1]
    if num_tokens <= limit:
        return np.arange(num_tokens)
    bends = (np.diff(positions, n=2, axis=1) != 0).any(axis=0)
    corners = np.concatenate([[0], np.flatnonzero(bends) + 1, [num_tokens - 1]])
    return np.asarray(corners[spread_indices(len(corners), limit)])


# ------------------------------------------------------------------------------------ DeepStack


def visual_mask(merged: MergedInputs) -> np.ndarray:
    """``(seq,)`` bool: the positions with a vision feature."""
    if merged.visual_pos_masks is None:
        return np.zeros(merged.inputs_embeds.shape[1], bool)
    return np.asarray(merged.visual_pos_masks[0].numpy(), bool)


def tap_row(merged: MergedInputs, index: int) -> int | None:
    """The row of every DeepStack tensor that is added at a position; ``None`` for other tokens.

    ``_deepstack_process`` takes the rows in the order of the sequence.
    """
    mask = visual_mask(merged)
    return int(mask[:index].sum()) if mask[index] else None


def mean_feature_norms(merged: MergedInputs) -> np.ndarray:
    """Mean Euclidean norm of the merger's features, then of each DeepStack tap's.

    Returns:
        ``(1 + taps,)`` float32; empty without an image.
    """
    if merged.deepstack_visual_embeds is None:
        return np.zeros(0, np.float32)
    features = merged.inputs_embeds[0].float().norm(dim=-1).numpy()[visual_mask(merged)]
    taps = [tap.float().norm(dim=-1).numpy() for tap in merged.deepstack_visual_embeds]
    return np.array([norms.mean() for norms in (features, *taps)], np.float32)
