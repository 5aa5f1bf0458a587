"""What one sees of a vision tower's pass: a function turns a record into a map on the picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from playground.pointer import patch_rows
from playground.records import TowerOutput, VisualSpan


@dataclass(frozen=True, slots=True, eq=False)
class PcaMap:
    """The three leading principal components of patch features, as colours."""

    rgb: np.ndarray  # (grid_h, grid_w, 3) uint8
    variance: tuple[float, ...]  # share of the variance that each component explains


def patch_norms(tower: TowerOutput, span: VisualSpan, state: int) -> np.ndarray:
    """Euclidean norm of each patch's hidden state.

    Args:
        tower: the pass that the span belongs to.
        span: one image, or one temporal patch of a video.
        state: index into ``tower.hidden_states``: the input of that block; the last one is the
            tower's output.

    Returns:
        ``(grid_h, grid_w)`` float32.
    """
    norms: np.ndarray = tower.hidden_states[state].float().norm(dim=-1).numpy()
    return norms.take(patch_rows(span))


def patch_pca(tower: TowerOutput, span: VisualSpan, state: int) -> PcaMap:
    """Colour each patch by the principal components of this state's features.

    The components are computed over the patches of this span alone. Each is signed so that its
    largest loading is positive and scaled from its 1st to its 99th percentile, so that a single
    outlying patch does not flatten the colours. Features of the same colour are alike.
    """
    features = tower.hidden_states[state].float()[torch.from_numpy(patch_rows(span))].flatten(0, 1)
    centred = features - features.mean(0)
    _, singular, directions = torch.linalg.svd(centred, full_matrices=False)
    components = directions[:3]
    largest = components.abs().argmax(-1, keepdim=True)
    components = components * components.gather(-1, largest).sign()
    scores = centred @ components.T
    low, high = torch.quantile(scores, torch.tensor([0.01, 0.99]), dim=0)
    colours = ((scores - low) / (high - low).clamp_min(1e-12)).clamp(0, 1)
    if colours.shape[-1] < 3:  # fewer than three patches
        colours = torch.nn.functional.pad(colours, (0, 3 - colours.shape[-1]), value=0.5)
    power = singular.square()
    share = power[:3] / power.sum().clamp_min(1e-12)
    return PcaMap(
        rgb=(colours * 255).round().to(torch.uint8).reshape(span.grid_h, span.grid_w, 3).numpy(),
        variance=tuple(share.tolist()),
    )


def norm_summary(tower: TowerOutput, span: VisualSpan) -> np.ndarray:
    """Smallest, median and largest patch norm of every state.

    Returns:
        ``(depth + 1, 3)`` float32.
    """
    rows = [patch_norms(tower, span, state).ravel() for state in range(len(tower.hidden_states))]
    quantiles = np.quantile(np.stack(rows), [0.0, 0.5, 1.0], axis=1)
    return np.asarray(quantiles.T, np.float32)
