"""The vision tower's learned position grid, and how it is resampled to an image.

Source: ``Qwen3VLVisionModel.forward`` and ``get_vision_interpolation_indices_and_weights``,
transformers 5.24. The grid is square, with ``num_grid_per_side`` entries per side, and independent
of the image size: every patch takes a weighted sum of the four entries around its position.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import nn
from transformers.vision_utils import get_vision_interpolation_indices_and_weights

from playground.capture import capture_inputs
from playground.engine import Engine
from playground.language import say
from playground.pointer import patch_rows
from playground.records import ModelInputs, Progress, TowerOutput, VisionOutput, VisualSpan


@dataclass(frozen=True, slots=True, eq=False)
class GridSamples:
    """Which entries of the learned grid each patch of one image uses, and with which weights."""

    indices: np.ndarray  # (grid_h, grid_w, 4) int64: entries, in row-major order
    weights: np.ndarray  # (grid_h, grid_w, 4) float32, each four sum to 1
    side: int  # entries per side of the grid

    @property
    def positions(self) -> np.ndarray:
        """``(grid_h, grid_w, 2)`` float64: row and column on the grid, in entries."""
        corners = np.stack(np.divmod(self.indices, self.side), -1).astype(np.float64)
        # The four float32 weights sum to 1 only up to seven digits.
        weights = self.weights.astype(np.float64)[..., None]
        positions: np.ndarray = (corners * weights).sum(-2) / weights.sum(-2)
        return positions


@dataclass(frozen=True, slots=True, eq=False)
class BlendedPosition:
    """One patch's position embedding, recomputed from its four entries."""

    norms: np.ndarray  # (4,) float32: of the entries, before weighting
    norm: float  # of the weighted sum
    max_abs_diff: float  # between the sum and the row that the model added


@dataclass(frozen=True, slots=True, eq=False)
class GridColors:
    """Position embeddings as colours, by three principal components of the learned grid."""

    grid: np.ndarray  # (side, side, 3) uint8: the learned entries
    resampled: np.ndarray  # (grid_h, grid_w, 3) uint8: the image's position embeddings
    variance: float  # share of the grid's variance that the three components explain


def sample_grid(engine: Engine, span: VisualSpan) -> GridSamples:
    """The four entries and weights of every patch of an image, from transformers' own function."""
    visual = engine.model.model.visual
    grid_thw = torch.tensor([[1, span.grid_h, span.grid_w]], device=visual.pos_embed.weight.device)
    indices, weights = get_vision_interpolation_indices_and_weights(
        grid_thw,
        num_grid_per_side=visual.num_grid_per_side,
        mode=visual.interpolation_mode,
        align_corners=visual.interpolation_align_corners,
        spatial_merge_size=visual.config.spatial_merge_size,
    )
    rows = patch_rows(span) - span.patch_start
    return GridSamples(
        indices.cpu().numpy()[rows], weights.cpu().numpy()[rows], visual.num_grid_per_side
    )


def blend_position(
    engine: Engine,
    tower: TowerOutput,
    span: VisualSpan,
    samples: GridSamples,
    patch: tuple[int, int],
) -> BlendedPosition:
    """Compute the weighted sum of one patch's four entries, and compare it with the model's own.

    Args:
        engine: the loaded checkpoint.
        tower: the pass that the span belongs to.
        span: one image, or one temporal patch of a video.
        samples: ``sample_grid`` of the same span.
        patch: row and column.
    """
    table = engine.model.model.visual.pos_embed.weight
    with engine.exclusive():
        indices = torch.from_numpy(samples.indices[patch]).to(table.device)
        weights = torch.from_numpy(samples.weights[patch]).to(table.device)
        entries = table[indices]
        blended = (entries[None] * weights[None, :, None]).sum(1)[0].to(engine.dtype).cpu()
        norms = entries.float().norm(dim=-1).cpu().numpy()
    of_model = tower.pos_embeds[int(patch_rows(span)[patch])]
    return BlendedPosition(
        norms=norms,
        norm=float(blended.float().norm()),
        max_abs_diff=float((blended.float() - of_model.float()).abs().max()),
    )


def grid_colors(engine: Engine, tower: TowerOutput, span: VisualSpan) -> GridColors:
    """Colour the learned grid and the image's position embeddings with one basis.

    The basis consists of the three leading principal components of the learned entries, each
    signed so that its largest loading is positive, scaled from the smallest to the largest score.
    """
    side = engine.model.model.visual.num_grid_per_side
    basis = _grid_basis(engine, side**2)
    positions = tower.pos_embeds[torch.from_numpy(patch_rows(span))].float().flatten(0, 1)
    scores = (positions - basis.mean) @ basis.components
    return GridColors(
        grid=_colour(basis.scores, basis, (side, side)),
        resampled=_colour(scores, basis, (span.grid_h, span.grid_w)),
        variance=basis.variance,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _GridBasis:
    """The principal components of one checkpoint's grid."""

    mean: torch.Tensor  # (hidden,)
    components: torch.Tensor  # (hidden, 3)
    scores: torch.Tensor  # (entries, 3)
    variance: float


# Cached per embedding module: the weights of a loaded checkpoint do not change, and the
# decomposition is too slow to repeat at every click (1,024 x 1,024 in the 2B).
_BASES: WeakKeyDictionary[nn.Module, _GridBasis] = WeakKeyDictionary()


def _grid_basis(engine: Engine, num_entries: int) -> _GridBasis:
    embedding = engine.model.model.visual.pos_embed
    with engine.exclusive():
        if embedding not in _BASES:
            # A table whose length is no square has rows that the grid never uses.
            _BASES[embedding] = _fit_basis(embedding.weight[:num_entries].float().cpu())
        return _BASES[embedding]


def _fit_basis(entries: torch.Tensor) -> _GridBasis:
    mean = entries.mean(0)
    centred = entries - mean
    # The covariance is smaller than the table (1,024 dimensions, 2,304 entries in the 2B).
    power, directions = torch.linalg.eigh(centred.T @ centred)
    components = directions[:, -3:].flip(-1)
    largest = components.abs().argmax(0, keepdim=True)
    components = components * components.gather(0, largest).sign()
    variance = float(power[-3:].sum() / power.sum().clamp_min(1e-12))
    return _GridBasis(mean, components, centred @ components, variance)


def _colour(scores: torch.Tensor, basis: _GridBasis, shape: tuple[int, int]) -> np.ndarray:
    low, high = basis.scores.amin(0), basis.scores.amax(0)
    unit = ((scores - low) / (high - low).clamp_min(1e-12)).clamp(0, 1)
    rgb: np.ndarray = (unit * 255).round().to(torch.uint8).reshape(*shape, 3).numpy()
    return rgb


def position_similarity(tower: TowerOutput, span: VisualSpan, patch: tuple[int, int]) -> np.ndarray:
    """Cosine similarity of one patch's position embedding to that of every patch.

    Returns:
        ``(grid_h, grid_w)`` float32.
    """
    positions = tower.pos_embeds[torch.from_numpy(patch_rows(span))].float()
    unit = torch.nn.functional.normalize(positions, dim=-1)
    similarity: np.ndarray = (unit @ unit[patch]).numpy()
    return similarity


# ------------------------------------------------------ nearest entry or bilinear interpolation


def run_nearest(
    engine: Engine, inputs: ModelInputs, vision: VisionOutput, *, progress: Progress | None = None
) -> VisionOutput:
    """Run the tower again with only the nearest entry's position embedding for each patch.

    ``Qwen3VLVisionModel.forward`` accepts precomputed ``interp_indices`` and ``interp_weights``,
    so nothing on the shared model changes.

    Args:
        engine: the loaded checkpoint.
        inputs: the record of ``run_preprocess``.
        vision: the record of ``run_vision`` for the same inputs.
        progress: called before every block.
    """
    image, video = vision.image, vision.video
    if image is not None and inputs.pixel_values is not None:
        image = _rerun_tower(engine, image, inputs.pixel_values, progress)
    if video is not None and inputs.pixel_values_videos is not None:
        video = _rerun_tower(engine, video, inputs.pixel_values_videos, progress)
    return VisionOutput(image=image, video=video)


def nearest_weights(weights: torch.Tensor) -> torch.Tensor:
    """Put all the weight on the entry with the largest weight; in a tie, on the first.

    Args:
        weights: ``(patches, 4)``, from ``get_vision_interpolation_indices_and_weights``.
    """
    nearest = torch.zeros_like(weights)
    return nearest.scatter(-1, weights.argmax(-1, keepdim=True), 1.0)


def position_shift(vision: VisionOutput, changed: VisionOutput) -> float:
    """Mean change of the position embeddings over all patches, as a share of their norm."""
    pairs = [(vision.image, changed.image), (vision.video, changed.video)]
    shares = [
        (other.pos_embeds.float() - tower.pos_embeds.float()).norm(dim=-1)
        / tower.pos_embeds.float().norm(dim=-1).clamp_min(1e-12)
        for tower, other in pairs
        if tower is not None and other is not None
    ]
    return float(torch.cat(shares).mean()) if shares else 0.0


def _rerun_tower(
    engine: Engine, tower: TowerOutput, pixel_values: torch.Tensor, progress: Progress | None
) -> TowerOutput:
    visual = engine.model.model.visual
    grid_thw = tower.grid_thw.to(engine.device)
    indices, weights = get_vision_interpolation_indices_and_weights(
        grid_thw,
        num_grid_per_side=visual.num_grid_per_side,
        mode=visual.interpolation_mode,
        align_corners=visual.interpolation_align_corners,
        spatial_merge_size=visual.config.spatial_merge_size,
    )
    weights = nearest_weights(weights)
    with (
        engine.exclusive(),
        capture_inputs(visual.blocks, progress=progress, what=say("vision block")) as states,
    ):
        output = engine.model.model.get_image_features(
            pixel_values.to(engine.device),
            grid_thw,
            return_dict=True,
            interp_indices=indices,
            interp_weights=weights,
        )
        pos_embeds = (visual.pos_embed(indices) * weights[:, :, None]).sum(1).to(engine.dtype)
    return replace(
        tower,
        pos_embeds=pos_embeds.cpu(),
        hidden_states=tuple(state.cpu() for state in (*states, output.last_hidden_state)),
        pooler_output=torch.cat(output.pooler_output).cpu(),
        deepstack_features=tuple(torch.cat(taps).cpu() for taps in output.deepstack_features),
    )
