"""Views of the embeddings before and after masked_scatter: norms, regions, values."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from playground.merge.views import spread_indices
from playground.records import MergedInputs, ModelInputs

PLACEHOLDER = " placeholder"  # suffix of the name of a placeholder group


@dataclass(frozen=True, slots=True, eq=False)
class EmbedGroup:
    """Embeddings of one origin: text, special tokens, a placeholder, image or video features."""

    name: str  # a TokenKind, or "image" or "video" followed by PLACEHOLDER
    indices: np.ndarray  # (n,) int64: sequence index of each vector
    vectors: np.ndarray  # (n, hidden) float32


@dataclass(frozen=True, slots=True, eq=False)
class EmbedPca:
    """Embeddings of several groups on their first two principal components."""

    scores: tuple[np.ndarray, ...]  # (n, 2) float32 of each group
    variance: tuple[float, float]  # share of the variance along each component


@dataclass(frozen=True, slots=True, eq=False)
class GroupNumbers:
    """Mean norm of each group, and mean cosine similarity within and between groups."""

    names: tuple[str, ...]
    counts: tuple[int, ...]
    norms: np.ndarray  # (groups,) float32: mean Euclidean norm
    cosines: np.ndarray  # (groups, groups) float32: mean cosine of pairs of different vectors;
    #                      NaN for a group of one vector


def embed_norms(merged: MergedInputs) -> np.ndarray:
    """``(2, seq)`` float32: Euclidean norm of each embedding before and after masked_scatter."""
    return np.stack(
        [
            embeds[0].float().norm(dim=-1).numpy()
            for embeds in (merged.token_embeds, merged.inputs_embeds)
        ]
    )


def embed_values(merged: MergedInputs, num_values: int) -> np.ndarray:
    """The first dimensions of each embedding before and after masked_scatter.

    Returns:
        ``(2, num_values, seq)`` float32; fewer values where the model is narrower.
    """
    return np.stack(
        [
            embeds[0, :, :num_values].float().numpy().T
            for embeds in (merged.token_embeds, merged.inputs_embeds)
        ]
    )


def embed_groups(inputs: ModelInputs, merged: MergedInputs) -> tuple[EmbedGroup, ...]:
    """The decoder's input embeddings by kind of token, and the placeholders they replaced.

    A placeholder group has one vector, since all its tokens share a row of the embedding table.
    """
    before = merged.token_embeds[0].float().numpy()
    after = merged.inputs_embeds[0].float().numpy()
    kinds = np.array([token.kind for token in inputs.tokens])
    groups = []
    for kind in ("text", "special", "image", "video"):
        indices = np.flatnonzero(kinds == kind)
        if len(indices) == 0:
            continue
        if kind in ("image", "video"):
            groups.append(EmbedGroup(kind + PLACEHOLDER, indices[:1], before[indices[:1]]))
        groups.append(EmbedGroup(kind, indices, after[indices]))
    return tuple(groups)


def thin_groups(groups: tuple[EmbedGroup, ...], limit: int) -> tuple[EmbedGroup, ...]:
    """At most ``limit`` vectors of each group, evenly spread."""
    thinned = []
    for group in groups:
        kept = spread_indices(len(group.indices), limit)
        thinned.append(EmbedGroup(group.name, group.indices[kept], group.vectors[kept]))
    return tuple(thinned)


def unit_groups(groups: tuple[EmbedGroup, ...]) -> tuple[EmbedGroup, ...]:
    """Every vector scaled to length 1, so that only its direction counts."""
    return tuple(
        EmbedGroup(group.name, group.indices, _scale_to_unit(group.vectors)) for group in groups
    )


def _scale_to_unit(vectors: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-12))


def project_groups(groups: tuple[EmbedGroup, ...]) -> EmbedPca:
    """Principal components of all groups' vectors together.

    Each component is signed so that its largest loading is positive.
    """
    vectors = np.concatenate([group.vectors for group in groups]).astype(np.float64)
    centred = vectors - vectors.mean(axis=0)
    # Of the two matrices with the same eigenvalues, the smaller one.
    if centred.shape[0] <= centred.shape[1]:
        power, left = np.linalg.eigh(centred @ centred.T)
        components = left[:, -2:].T @ centred
    else:
        power, directions = np.linalg.eigh(centred.T @ centred)
        components = directions[:, -2:].T
    components = _orient(components[::-1])
    scores = (centred @ components.T).astype(np.float32)
    if scores.shape[1] < 2:  # a single vector
        scores = np.pad(scores, ((0, 0), (0, 2 - scores.shape[1])))
    shares = np.pad(power[::-1][:2], (0, 2))[:2] / max(power.sum(), 1e-12)
    ends = np.cumsum([len(group.indices) for group in groups])[:-1]
    return EmbedPca(tuple(np.split(scores, ends)), (float(shares[0]), float(shares[1])))


def _orient(components: np.ndarray) -> np.ndarray:
    components = _scale_to_unit(components)
    largest = np.abs(components).argmax(axis=1)
    signs = np.sign(components[np.arange(len(components)), largest])
    return np.asarray(components * signs[:, None])


def compare_groups(groups: tuple[EmbedGroup, ...]) -> GroupNumbers:
    """Mean norms, and mean cosines within and between the groups."""
    counts = np.array([len(group.indices) for group in groups])
    norms = [np.linalg.norm(group.vectors, axis=1).mean() for group in groups]
    # The sum of all pairs' cosines is the product of the summed unit vectors.
    units = [group.vectors.astype(np.float64) for group in unit_groups(groups)]
    sums = np.stack([unit.sum(axis=0) for unit in units])
    pairs = np.outer(counts, counts).astype(np.float64)
    totals = sums @ sums.T
    own = np.arange(len(groups))
    totals[own, own] -= counts
    pairs[own, own] -= counts
    cosines = np.divide(totals, pairs, out=np.full_like(totals, np.nan), where=pairs > 0)
    return GroupNumbers(
        tuple(group.name for group in groups),
        tuple(int(count) for count in counts),
        np.array(norms, np.float32),
        cosines.astype(np.float32),
    )
