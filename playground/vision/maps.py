"""Maps of the vision tower's features over an image: norms, cosine similarity and PCA colours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from playground.errors import InputError
from playground.language import mark, say
from playground.pointer import patch_rows
from playground.records import TowerOutput, VisualSpan

MAX_FIT_PATCHES = 512  # of each state: enough to fit a basis of three directions
SUBSPACE = 16  # directions iterated to find three: more directions need fewer iterations
MAX_ITERATIONS = 60  # reached if the third and later directions explain equal variance
PRECISION = 1e-5  # of an eigenvector, relative to the largest eigenvalue

# The name of each kind of ``FeatureSource`` in messages.
SOURCE_NAMES = {
    "embedding": mark("patch embedding"),
    "state": mark("hidden state"),
    "tap": mark("DeepStack tap"),
    "merger": mark("merger output"),
}


@dataclass(frozen=True, slots=True)
class FeatureSource:
    """Which of the tower's features to show."""

    kind: Literal["embedding", "state", "tap", "merger"]
    index: int = 0  # blocks applied for a state; number of the tap, from 0

    @property
    def merged(self) -> bool:
        """True for one vector per merged token, False for one per patch."""
        return self.kind in ("tap", "merger")


@dataclass(frozen=True, slots=True, eq=False)
class PcaBasis:
    """Three directions in feature space and the range of scores that the colours span."""

    directions: torch.Tensor  # (3, width) float32, orthonormal
    low: torch.Tensor  # (3,) float32: the score shown as 0
    high: torch.Tensor  # (3,) float32: the score shown as 255


@dataclass(frozen=True, slots=True, eq=False)
class PcaMap:
    """The three leading principal components of features, as colours."""

    rgb: np.ndarray  # (rows, columns, 3) uint8
    variance: tuple[float, ...]  # share of the variance that each component explains


def grid_features(tower: TowerOutput, span: VisualSpan, source: FeatureSource) -> torch.Tensor:
    """The features of one image or frame, arranged on its grid.

    Args:
        tower: the pass that the span belongs to.
        span: one image, or one temporal patch of a video.
        source: ``embedding`` is the output of ``patch_embed`` alone; state 0 has the position
            added to it, state ``depth`` is the tower's output.

    Returns:
        ``(grid_h, grid_w, hidden)`` float32 for patches, ``(merged_h, merged_w, out_hidden)`` for
        a DeepStack tap or the merger.

    Raises:
        InputError: there is no such state or tap.
    """
    stacks = {
        "embedding": (tower.patch_embeds,),
        "state": tower.hidden_states,
        "tap": tower.deepstack_features,
        "merger": (tower.pooler_output,),
    }
    stack = stacks[source.kind]
    if not 0 <= source.index < len(stack):
        raise InputError(
            say(
                "The vision tower has no {kind} {index}.",
                kind=say(SOURCE_NAMES[source.kind]),
                index=source.index,
            ),
            limit=say("There are {count}, counted from 0.", count=len(stack)),
        )
    features = stack[source.index]
    if source.merged:
        # The merger turns each group of consecutive rows into one token.
        first = span.patch_start // span.merge_size**2
        tokens = features[first : first + span.merged_h * span.merged_w]
        return tokens.float().reshape(span.merged_h, span.merged_w, -1)
    return features[torch.from_numpy(patch_rows(span))].float()


def feature_norms(features: torch.Tensor) -> np.ndarray:
    """Euclidean norm of each feature vector: ``(rows, columns)`` float32."""
    norms: np.ndarray = features.norm(dim=-1).numpy()
    return norms


def feature_similarity(features: torch.Tensor, row: int, column: int) -> np.ndarray:
    """Cosine similarity of one vector to all others: ``(rows, columns)`` float32, -1 to 1."""
    directions = torch.nn.functional.normalize(features, dim=-1)
    cosines: np.ndarray = (directions @ directions[row, column]).clamp(-1, 1).numpy()
    return cosines


def feature_pca(features: torch.Tensor, basis: PcaBasis | None = None) -> PcaMap:
    """Colour each cell by three principal components; similar colours mean similar features.

    Args:
        features: (rows, columns, width) float32.
        basis: the result of ``fit_shared_basis``; the features are then normalised as in the fit.
            By default, the components of these features only, scaled from the 1st to the 99th
            percentile so that a single outlier does not flatten the colours.
    """
    rows, columns, _ = features.shape
    if basis is None:
        centred = features.flatten(0, 1)
        centred = centred - centred.mean(0)
        directions = _leading_directions(centred.T @ centred, min(3, len(centred)))
        scores = centred @ directions.T
        low, high = torch.quantile(scores, torch.tensor([0.01, 0.99]), dim=0)
    else:
        centred = _normalise(features.flatten(0, 1))
        scores = centred @ basis.directions.T
        low, high = basis.low, basis.high
    colours = ((scores - low) / (high - low).clamp_min(1e-12)).clamp(0, 1)
    if colours.shape[-1] < 3:  # features with fewer than three dimensions
        colours = torch.nn.functional.pad(colours, (0, 3 - colours.shape[-1]), value=0.5)
    share = scores.square().sum(0) / centred.square().sum().clamp_min(1e-12)
    return PcaMap(
        rgb=(colours * 255).round().to(torch.uint8).reshape(rows, columns, 3).numpy(),
        variance=tuple(share.tolist()),
    )


def fit_shared_basis(tower: TowerOutput, span: VisualSpan) -> PcaBasis:
    """One basis for all states of a span, so that colours can be compared between blocks.

    Hidden states and their mean grow many times larger through the tower, which would dominate
    the components. Each vector is therefore layer-normalised, as ``norm1`` of the next block does
    before its scale and shift, and each state is centred on its mean patch. At most
    ``MAX_FIT_PATCHES`` evenly spaced patches of each state are used.
    """
    rows = torch.from_numpy(patch_rows(span).ravel())
    rows = rows[torch.linspace(0, len(rows) - 1, min(len(rows), MAX_FIT_PATCHES)).round().long()]
    states = [_normalise(state[rows].float()) for state in tower.hidden_states]
    width = states[0].shape[-1]
    scatter = torch.zeros(width, width)
    for state in states:
        scatter.addmm_(state.T, state)
    directions = _leading_directions(scatter, 3)
    scores = torch.cat([state @ directions.T for state in states])
    low, high = torch.quantile(scores, torch.tensor([0.01, 0.99]), dim=0)
    return PcaBasis(directions, low, high)


def patch_norms(tower: TowerOutput, span: VisualSpan, state: int) -> np.ndarray:
    """Euclidean norm of each patch's hidden state: ``(grid_h, grid_w)`` float32.

    Args:
        tower: the pass that the span belongs to.
        span: one image, or one temporal patch of a video.
        state: index into ``tower.hidden_states``: the input of that block; the last one is the
            tower's output.
    """
    return feature_norms(grid_features(tower, span, FeatureSource("state", state)))


def patch_pca(tower: TowerOutput, span: VisualSpan, state: int) -> PcaMap:
    """``feature_pca`` of one state's patches."""
    return feature_pca(grid_features(tower, span, FeatureSource("state", state)))


def norm_summary(tower: TowerOutput, span: VisualSpan) -> np.ndarray:
    """Smallest, median and largest patch norm of every state.

    Returns:
        ``(depth + 1, 3)`` float32.
    """
    rows = slice(span.patch_start, span.patch_start + span.num_patches)
    norms = np.stack([state[rows].float().norm(dim=-1).numpy() for state in tower.hidden_states])
    quantiles = np.quantile(norms, [0.0, 0.5, 1.0], axis=1)
    return np.asarray(quantiles.T, np.float32)


def _leading_directions(scatter: torch.Tensor, count: int) -> torch.Tensor:
    """The leading eigenvectors, each signed so that its largest loading is positive.

    Uses subspace iteration: the full decomposition of a 1,024-wide matrix takes 20 times as long,
    too long for an image that follows a slider.

    Args:
        scatter: (width, width), the centred features' X^T X.
        count: at most three; fewer if there are fewer than three features.

    Returns:
        ``(count, width)`` float32, orthonormal.
    """
    width = len(scatter)
    start = torch.randn(width, min(width, SUBSPACE), generator=torch.Generator().manual_seed(0))
    basis, _ = torch.linalg.qr(start)
    count = min(count, width)
    for _ in range(MAX_ITERATIONS):
        image = scatter @ basis
        values, rotation = torch.linalg.eigh(basis.T @ image)
        leading = basis @ rotation[:, -count:]
        error = image @ rotation[:, -count:] - leading * values[-count:]
        if error.norm() <= PRECISION * values[-1].abs():
            break
        basis, _ = torch.linalg.qr(image)
    directions: torch.Tensor = leading.T.flip(0)
    largest = directions.abs().argmax(-1, keepdim=True)
    signs: torch.Tensor = directions.gather(-1, largest).sign()
    return directions * signs


def _normalise(vectors: torch.Tensor) -> torch.Tensor:
    """Apply layer norm without scale and shift, then centre over the vectors."""
    normal = torch.nn.functional.layer_norm(vectors, vectors.shape[-1:])
    return normal - normal.mean(0)
