"""What the image processor did to an image or video, step by step.

Source: ``smart_resize`` of ``image_processing_qwen2_vl`` (images) and of
``video_processing_qwen3_vl`` (videos), ``patchify`` of both, transformers 5.24.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from playground.engine import Engine
from playground.pointer import patch_rows, patch_tokens
from playground.preprocess.stage import no_media, size_argument
from playground.records import MediaFacts, ModelInputs, VisualSpan

HISTOGRAM_BINS = 64  # four of the 256 values each


@dataclass(frozen=True, slots=True)
class PixelBudget:
    """The limits of ``smart_resize``."""

    factor: int  # pixels: patch_size * merge_size, the side length of one token
    temporal_factor: int  # frames: temporal_patch_size; 1 for an image
    min_pixels: int  # of an image, or of all frames of a video together
    max_pixels: int


@dataclass(frozen=True, slots=True)
class ResizeSteps:
    """The steps of ``smart_resize`` from the original size to whole patches.

    Sizes are ``(width, height)``; an area counts the pixels of all frames.
    """

    budget: PixelBudget
    num_frames: int  # 1 for an image
    original: tuple[int, int]
    start: tuple[int, int]  # the original; a video smaller than the factor is enlarged to it first
    rounded: tuple[int, int]  # to the nearest multiples of the factor
    rounded_frames: int  # to the nearest multiple of the temporal factor
    outcome: Literal["fits", "shrunk", "enlarged"]
    beta: float | None  # each side is divided by it (shrunk) or multiplied by it (enlarged)
    resized: tuple[int, int]

    @property
    def rounded_area(self) -> int:
        """Pixels after rounding, which are compared with the limits."""
        return self.rounded[0] * self.rounded[1] * self.rounded_frames

    @property
    def resized_area(self) -> int:
        """Pixels after resizing."""
        return self.resized[0] * self.resized[1] * self.rounded_frames


def pixel_budget(
    engine: Engine, kind: Literal["image", "video"], max_pixels: int | None
) -> PixelBudget:
    """The limits for a prompt with this ``max_pixels`` (None: the processor's default)."""
    video = kind == "video"
    processor: Any = engine.processor.video_processor if video else engine.processor.image_processor
    size = size_argument(processor, max_pixels).get("size", processor.size)
    return PixelBudget(
        factor=engine.facts.token_pixels,
        temporal_factor=engine.facts.temporal_patch_size if video else 1,
        min_pixels=int(size["shortest_edge"]),
        max_pixels=int(size["longest_edge"]),
    )


def resize_steps(size: tuple[int, int], num_frames: int, budget: PixelBudget) -> ResizeSteps:
    """The arithmetic of ``smart_resize``, with all intermediate values.

    Args:
        size: ``(width, height)`` in pixels.
        num_frames: 1 for an image.
        budget: the limits.
    """
    factor, temporal = budget.factor, budget.temporal_factor
    start = size
    if temporal > 1 and min(size) < factor:
        scale = max(factor / size[1], factor / size[0])
        start = int(size[0] * scale), int(size[1] * scale)
    rounded = round(start[0] / factor) * factor, round(start[1] / factor) * factor
    rounded_frames = round(num_frames / temporal) * temporal
    area = rounded[0] * rounded[1] * rounded_frames
    outcome: Literal["fits", "shrunk", "enlarged"] = "fits"
    beta, resized = None, rounded
    if area > budget.max_pixels:
        outcome = "shrunk"
        beta = math.sqrt(num_frames * start[0] * start[1] / budget.max_pixels)
        resized = (
            max(factor, math.floor(start[0] / beta / factor) * factor),
            max(factor, math.floor(start[1] / beta / factor) * factor),
        )
    elif area < budget.min_pixels:
        outcome = "enlarged"
        beta = math.sqrt(budget.min_pixels / (num_frames * start[0] * start[1]))
        resized = (
            math.ceil(start[0] * beta / factor) * factor,
            math.ceil(start[1] * beta / factor) * factor,
        )
    return ResizeSteps(
        budget, num_frames, size, start, rounded, rounded_frames, outcome, beta, resized
    )


def explain_resize(engine: Engine, inputs: ModelInputs, facts: MediaFacts) -> ResizeSteps:
    """The resize steps of one image or video of a prompt."""
    budget = pixel_budget(engine, facts.kind, inputs.prompt.max_pixels)
    num_frames = 1
    if facts.kind == "video":
        videos = [media for media in inputs.media if media.kind == "video"]
        number = next(n for n, media in enumerate(videos) if media is facts)
        num_frames = len(inputs.prompt.videos[number].frames)
    return resize_steps(facts.original_size, num_frames, budget)


def span_facts(inputs: ModelInputs, span: VisualSpan) -> MediaFacts:
    """The image or video that a span belongs to."""
    of_kind = [facts for facts in inputs.media if facts.kind == span.kind]
    return of_kind[span.media_index]


def span_pixels(inputs: ModelInputs, span: VisualSpan) -> np.ndarray:
    """The rows of ``pixel_values`` (or ``pixel_values_videos``) of one span.

    Returns:
        ``(patches, 3, temporal_patch_size, patch_size, patch_size)`` float32, in the memory
        order of the 1,536 values of a row: channel, frame, line, column.
    """
    values = inputs.pixel_values if span.kind == "image" else inputs.pixel_values_videos
    if values is None:
        raise no_media(span.kind)
    rows = values[span.patch_start : span.patch_start + span.num_patches].float().numpy()
    size = inputs.patch_size
    patches: np.ndarray = rows.reshape(len(rows), 3, inputs.temporal_patch_size, size, size)
    return patches


@dataclass(frozen=True, slots=True, eq=False)
class Histograms:
    """Histograms of the values in the first frame of an image or video, per channel."""

    pixel_edges: np.ndarray  # (bins + 1,) float64: pixel values, 0 to 255
    value_edges: np.ndarray  # (3, bins + 1) float64: the same edges after rescaling and normalising
    pixel_counts: np.ndarray  # (3, bins) int64, of the resized image
    value_counts: np.ndarray  # (3, bins) int64, of pixel_values


def pixel_histograms(inputs: ModelInputs, span: VisualSpan, image: np.ndarray) -> Histograms:
    """The values before and after rescaling and normalising, in the same bins.

    Args:
        inputs: the record of ``run_preprocess``.
        span: the image or temporal patch.
        image: ``(height, width, 3)`` uint8: its first frame after resizing.
    """
    # Half a step below a value, so that no value falls on an edge.
    pixel_edges = np.linspace(-0.5, 255.5, HISTOGRAM_BINS + 1)
    scale = inputs.scale(span.kind)
    mean, std = (np.asarray(x, np.float64)[:, None] for x in (scale.mean, scale.std))
    value_edges = (pixel_edges[None] * scale.factor - mean) / std
    values = span_pixels(inputs, span)[:, :, 0]
    return Histograms(
        pixel_edges=pixel_edges,
        value_edges=value_edges,
        pixel_counts=np.stack([np.histogram(image[..., c], bins=pixel_edges)[0] for c in range(3)]),
        value_counts=np.stack(
            [np.histogram(values[:, c], bins=value_edges[c])[0] for c in range(3)]
        ),
    )


@dataclass(frozen=True, slots=True, eq=False)
class PatchRow:
    """One row of ``pixel_values`` and its position in the image."""

    row: int  # of pixel_values (or pixel_values_videos)
    position: tuple[int, int]  # (row, column) on the patch grid
    index: int  # sequence index of the token that it becomes part of
    values: np.ndarray  # (3, frames, patch_size, patch_size) float32


def read_patch(inputs: ModelInputs, span: VisualSpan, row: int, column: int) -> PatchRow:
    """The row of ``pixel_values`` with the patch at this position of the grid."""
    number = int(patch_rows(span)[row, column])
    return PatchRow(
        row=number,
        position=(row, column),
        index=int(patch_tokens(span)[row, column]),
        values=span_pixels(inputs, span)[number - span.patch_start],
    )


def row_positions(span: VisualSpan) -> np.ndarray:
    """The grid position of each row of a span, in row order.

    Returns:
        ``(patches, 2)`` int64: row and column. The inverse of ``pointer.patch_rows``.
    """
    order = np.argsort(patch_rows(span), axis=None)
    return np.stack(np.unravel_index(order, (span.grid_h, span.grid_w)), axis=1)


def row_colors(inputs: ModelInputs, span: VisualSpan, image: np.ndarray) -> np.ndarray:
    """Each row of ``pixel_values`` as its pixels side by side.

    Args:
        inputs: the record of ``run_preprocess``.
        span: the image or temporal patch.
        image: ``(height, width, 3)`` uint8: its first frame after resizing.

    Returns:
        ``(patches, patch_size ** 2, 3)`` uint8, in row order.
    """
    size = inputs.patch_size
    tiles = image.reshape(span.grid_h, size, span.grid_w, size, 3).transpose(0, 2, 1, 3, 4)
    positions = row_positions(span)
    rows: np.ndarray = tiles[positions[:, 0], positions[:, 1]].reshape(
        len(positions), size * size, 3
    )
    return rows


def frames_differ(inputs: ModelInputs, span: VisualSpan) -> int:
    """How many values differ between the first and the other frames of a span's patches."""
    values = span_pixels(inputs, span)
    return int((values[:, :, :1] != values[:, :, 1:]).sum())


TIMESTAMP = re.compile(r"<[\d.]+ seconds>(?=<\|vision_start\|>$)")


def timestamp_texts(inputs: ModelInputs) -> tuple[str, ...]:
    """The timestamp in the prompt before each temporal patch of a video."""
    texts = []
    for span in inputs.spans:
        if span.kind == "video":
            before = inputs.expanded_prompt[: inputs.tokens[span.start].char_start]
            match = TIMESTAMP.search(before[-64:])
            texts.append(match.group() if match else "")
    return tuple(texts)
