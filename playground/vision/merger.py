"""The mergers step by step: four patches become one token, at the end and at each DeepStack tap.

DeepStack (Meng et al. 2024) adds features of earlier vision blocks to the decoder's first layers.

Source: ``Qwen3VLVisionPatchMerger.forward``, transformers 5.24. The final merger normalises each
patch and then joins the four; those of DeepStack join first and normalise the long vector
(``use_postshuffle_norm``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from playground.engine import Engine
from playground.records import TowerOutput, VisualSpan


@dataclass(frozen=True, slots=True, eq=False)
class MergerStep:
    """One vector, or four, after one step of a merger."""

    name: str  # name of the step, as in the source
    values: np.ndarray  # (vectors, dimensions) float32

    @property
    def norm(self) -> float:
        """Euclidean norm of all values together."""
        return float(np.linalg.norm(self.values))


@dataclass(frozen=True, slots=True, eq=False)
class MergedToken:
    """How one merger computes one token."""

    steps: tuple[MergerStep, ...]  # patches, then norm and concat in the merger's order, fc1, …
    norm_after_concat: bool  # use_postshuffle_norm
    similarity: np.ndarray  # (4, 4) float32: cosine similarity of the four input patches
    max_abs_diff: float  # between the last step and the model's own token


@dataclass(frozen=True, slots=True, eq=False)
class TapSimilarity:
    """A DeepStack tap's tokens of one image, compared with the final merger's."""

    tap: int  # the vision block that it follows, counted from 0
    norms: np.ndarray  # (merged_h, merged_w) float32
    cosine: np.ndarray  # (merged_h, merged_w) float32: to the final tokens


def merge_token(
    engine: Engine, tower: TowerOutput, span: VisualSpan, token: int, tap: int | None = None
) -> MergedToken:
    """Run one merger's steps on the four patches of one token.

    Args:
        engine: the loaded checkpoint.
        tower: the pass that the span belongs to.
        span: one image, or one temporal patch of a video.
        token: which token of the span, from 0.
        tap: number of the DeepStack tap; ``None`` for the final merger.
    """
    visual = engine.model.model.visual
    merger = visual.merger
    if tap is not None:
        merger = visual.deepstack_merger_list[engine.facts.tap_mergers[tap]]
    count = span.merge_size**2
    row = span.patch_start // count + token
    # The state after block b is the input of the next one.
    state = tower.hidden_states[-1 if tap is None else tower.deepstack_layers[tap] + 1]
    patches = state[row * count : (row + 1) * count]
    with engine.exclusive():
        steps = _merge_steps(merger, patches.to(engine.device))
    results = tower.pooler_output if tap is None else tower.deepstack_features[tap]
    unit = torch.nn.functional.normalize(patches.float(), dim=-1)
    return MergedToken(
        steps=tuple(MergerStep(name, values.float().cpu().numpy()) for name, values in steps),
        norm_after_concat=bool(merger.use_postshuffle_norm),
        similarity=(unit @ unit.T).numpy(),
        max_abs_diff=float((steps[-1][1][0].cpu().float() - results[row].float()).abs().max()),
    )


def _merge_steps(merger: Any, patches: torch.Tensor) -> list[tuple[str, torch.Tensor]]:
    """``Qwen3VLVisionPatchMerger.forward``, keeping every intermediate result."""
    steps = [("patches", patches)]
    if merger.use_postshuffle_norm:
        joined = patches.reshape(1, merger.hidden_size)
        steps += [("concat", joined), ("norm", merger.norm(joined))]
    else:
        normed = merger.norm(patches)
        steps += [("norm", normed), ("concat", normed.reshape(1, merger.hidden_size))]
    inner = merger.linear_fc1(steps[-1][1])
    active = merger.act_fn(inner)
    return [
        *steps,
        ("linear_fc1", inner),
        ("act_fn", active),
        ("linear_fc2", merger.linear_fc2(active)),
    ]


def tap_similarities(tower: TowerOutput, span: VisualSpan) -> tuple[TapSimilarity, ...]:
    """Norm of every tap's tokens, and their cosine similarity to the final tokens."""
    first = span.patch_start // span.merge_size**2
    rows = slice(first, first + span.merged_h * span.merged_w)
    final = tower.pooler_output[rows].float()
    shape = (span.merged_h, span.merged_w)
    taps = []
    for block, features in zip(tower.deepstack_layers, tower.deepstack_features, strict=True):
        tokens = features[rows].float()
        cosine = torch.nn.functional.cosine_similarity(tokens, final, dim=-1)
        taps.append(
            TapSimilarity(
                block, tokens.norm(dim=-1).reshape(shape).numpy(), cosine.reshape(shape).numpy()
            )
        )
    return tuple(taps)
