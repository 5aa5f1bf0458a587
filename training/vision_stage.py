"""First stage: train only the vision tower, to recognise what each cell shows.

Linear heads (discarded afterwards) on the merger's output and on every DeepStack tap classify the
colour, kind, size and position of the shape in each 32-pixel cell, and predict its centre.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.draw import CharBox, render_with_boxes
from training.forward import run_vision
from training.patches import CELL, PATCH, patchify
from training.scenes import (
    COLORS,
    DIGITS,
    KINDS,
    LETTERS,
    POSITIONS,
    SIZES,
    Scene,
    sample_canvas,
    sample_scene,
    sample_small_canvas,
    sample_writing_scene,
)

IGNORE = -100
GLYPHS = DIGITS + LETTERS
# Class 0 of "color" and "kind" is the empty background.
NUM_CLASSES = {
    "color": 1 + len(COLORS),
    "kind": 1 + len(KINDS) + len(GLYPHS),
    "size": len(SIZES),
    "position": len(POSITIONS),
    "center": 2,
}
WEIGHTS = {"color": 1.0, "kind": 1.5, "size": 0.3, "position": 0.3, "center": 0.5}


def label_cells(scene: Scene, boxes: list[CharBox]) -> dict[str, Tensor]:
    """Class of each cell in row-major order, (rows * columns,) per name; IGNORE without a class."""
    rows, columns = scene.height // CELL, scene.width // CELL
    labels = {name: np.full((rows, columns), IGNORE) for name in NUM_CLASSES}
    for name in ("color", "kind", "center"):
        labels[name][:] = 0
    y = (np.arange(rows)[:, None] + 0.5) * CELL
    x = (np.arange(columns)[None, :] + 0.5) * CELL
    nearest = np.full((rows, columns), np.inf)
    short = min(scene.width, scene.height)
    for shape in scene.shapes:
        radius = shape.radius * short
        distance = np.hypot(x - shape.x * scene.width, y - shape.y * scene.height)
        own = (distance < 0.95 * radius + 7) & (distance / radius < nearest)
        nearest[own] = (distance / radius)[own]
        labels["color"][own] = 1 + COLORS.index(shape.color)
        labels["kind"][own] = 1 + KINDS.index(shape.kind)
        labels["size"][own] = SIZES.index(shape.size)
        labels["position"][own] = shape.cell
    for shape in scene.shapes:
        _mark_center(labels, scene, shape.x, shape.y)
    for char, box in zip(scene.writing.text if scene.writing else "", boxes, strict=True):
        distance = np.maximum(
            abs(x / scene.width - box.x) / box.half_width,
            abs(y / scene.height - box.y) / box.half_height,
        )
        own = (distance < 1) & (distance < nearest)
        nearest[own] = distance[own]
        _mark_center(labels, scene, box.x, box.y)
        row, column = _cell_of(scene, box.x, box.y)
        own[row, column] = True
        labels["color"][own] = 1 + COLORS.index(scene.writing.color)
        labels["kind"][own] = 1 + len(KINDS) + GLYPHS.index(char)
    return {name: torch.from_numpy(grid.reshape(-1)) for name, grid in labels.items()}


def _cell_of(scene: Scene, x: float, y: float) -> tuple[int, int]:
    row = min(int(y * scene.height) // CELL, scene.height // CELL - 1)
    return row, min(int(x * scene.width) // CELL, scene.width // CELL - 1)


def _mark_center(labels: dict[str, np.ndarray], scene: Scene, x: float, y: float) -> None:
    labels["center"][_cell_of(scene, x, y)] = 1


@dataclass(frozen=True, slots=True)
class VisionBatch:
    """Images of one grid with their cells' classes."""

    pixels: Tensor  # (images, patches, 1536)
    grid: tuple[int, int]  # patches
    window: Tensor  # (images, 4), see forward.position_embeddings
    labels: dict[str, Tensor]  # each (images, cells)

    def to(self, device: torch.device) -> VisionBatch:
        labels = {name: label.to(device) for name, label in self.labels.items()}
        return VisionBatch(self.pixels.to(device), self.grid, self.window.to(device), labels)


def sample_windows(rng: np.random.Generator, count: int, share: float) -> Tensor:
    """(count, 4) windows on the position table; a `share` of them shifted and shrunk.

    The patches of a shifted image keep their relative positions but not their position in the
    image, so the decoder has to get that from M-RoPE.
    """
    windows = np.tile([0.0, 1.0, 0.0, 1.0], (count, 1))
    for window in windows:
        if rng.random() < share:
            for axis in (0, 2):
                span = rng.uniform(0.45, 0.85)
                window[axis], window[axis + 1] = rng.uniform(0, 1 - span), span
    return torch.from_numpy(windows.astype(np.float32))


def build_vision_batch(seed: int, size: int, step: int, rank: int, progress: float) -> VisionBatch:
    """A batch determined by (seed, step, rank); scenes get more shapes with progress."""
    rng = np.random.default_rng([seed, 1, step, rank])
    # Shapes are learned equally well on small canvases, which cost less.
    canvas = (sample_canvas if rng.random() < 0.2 else sample_small_canvas)(rng)
    pixels, labels = [], []
    for _ in range(size):
        if rng.random() < 0.25:
            scene = sample_writing_scene(rng, canvas)
        else:
            most = 2 if progress < 0.15 else 4
            scene = sample_scene(rng, int(rng.integers(1, most + 1)), canvas, ambiguous=0.06)
        image, boxes = render_with_boxes(scene)
        pixels.append(patchify(image))
        labels.append(label_cells(scene, boxes))
    window = sample_windows(rng, size, 0.3)
    stacked = {name: torch.stack([label[name] for label in labels]) for name in NUM_CLASSES}
    stacked["position"][window[:, 1] < 1] = IGNORE
    return VisionBatch(
        torch.stack(pixels), (canvas[1] // PATCH, canvas[0] // PATCH), window, stacked
    )


class CellHeads(nn.Module):
    """Linear classifiers on the merger's output and on each tap."""

    def __init__(self, hidden: int, num_taps: int) -> None:
        super().__init__()
        total = sum(NUM_CLASSES.values())
        self.heads = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(hidden), nn.Linear(hidden, total))
            for _ in range(1 + num_taps)
        )

    def forward(self, features: list[Tensor]) -> list[dict[str, Tensor]]:
        """features: one (images, cells, hidden) per head -> logits by name per head."""
        outputs = []
        for head, feature in zip(self.heads, features, strict=True):
            parts = head(feature).split(list(NUM_CLASSES.values()), dim=-1)
            outputs.append(dict(zip(NUM_CLASSES, parts, strict=True)))
        return outputs


def cell_loss(
    outputs: list[dict[str, Tensor]], labels: dict[str, Tensor]
) -> tuple[Tensor, dict[str, float]]:
    """Weighted cross-entropy over heads and names, and accuracies of the merger's head."""
    shown = labels["kind"] > 0
    centers = labels["center"] == 1
    weight = torch.where(shown, 1.0, 0.15) + 2.0 * centers
    total = weight.new_zeros(())
    for index, logits in enumerate(outputs):
        depth_weight = 1.0 if index == 0 else 0.25
        for name, label in labels.items():
            losses = F.cross_entropy(
                logits[name].flatten(0, 1), label.flatten(), ignore_index=IGNORE, reduction="none"
            )
            counted = weight.flatten() * (label.flatten() != IGNORE)
            mean = (losses * counted).sum() / counted.sum().clamp(min=1)
            total = total + depth_weight * WEIGHTS[name] * mean
    metrics = {}
    with torch.no_grad():
        for name in ("color", "kind", "size", "position"):
            right = outputs[0][name].argmax(-1) == labels[name]
            counted = centers & (labels[name] != IGNORE)
            if counted.any():
                metrics[name] = right[counted].float().mean().item()
    return total, metrics


def run_vision_batch(
    visual: nn.Module, heads: CellHeads, batch: VisionBatch
) -> tuple[Tensor, dict[str, float]]:
    merged, taps = run_vision(visual, batch.pixels, batch.grid, batch.window)
    return cell_loss(heads([merged, *taps]), batch.labels)
