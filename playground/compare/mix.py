"""One stage of a second checkpoint in the first: which stage carries a change.

The mixed model has new containers only: every module in it is one checkpoint's or the other's own,
with its weights, so it needs no memory, and neither checkpoint is modified.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, fields
from typing import Any, Literal

import torch

from playground.engine import Engine
from playground.language import say
from playground.module_copies import replace_module

StageName = Literal["vision", "embeddings", "layer", "head"]


@dataclass(frozen=True, slots=True)
class StageOfModel:
    """A part of the model that can come from either checkpoint."""

    name: StageName
    layer: int = -1  # of the decoder; only for "layer"

    @property
    def words(self) -> str:
        """Its name on the page, in the current language."""
        if self.name == "layer":
            return say("decoder layer {layer}", layer=self.layer)
        return {
            "vision": say("vision tower and mergers"),
            "embeddings": say("token embeddings"),
            "head": say("final norm and lm_head"),
        }[self.name]

    @property
    def paths(self) -> tuple[str, ...]:
        """The modules of the stage, as in ``named_modules()``."""
        return {
            "vision": ("model.visual",),
            "embeddings": ("model.language_model.embed_tokens",),
            "layer": (f"model.language_model.layers.{self.layer}",),
            "head": ("model.language_model.norm", "lm_head"),
        }[self.name]


def list_stages(engine: Engine) -> tuple[StageOfModel, ...]:
    """All stages, in the order of the forward pass; together they are the whole model."""
    layers = [StageOfModel("layer", layer) for layer in range(engine.facts.num_layers)]
    return StageOfModel("vision"), StageOfModel("embeddings"), *layers, StageOfModel("head")


@dataclass(frozen=True, slots=True, eq=False)
class MixedEngine(Engine):
    """An engine with modules of two checkpoints; it holds both locks for each step."""

    locks: tuple[Any, ...] = ()

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold both models for one native step."""
        with ExitStack() as stack:
            for lock in self.locks:
                stack.enter_context(lock)
            stack.enter_context(torch.no_grad())
            yield


def mix_engines(engine: Engine, other: Engine, stages: Sequence[StageOfModel]) -> Engine:
    """The first checkpoint with some stages of the second.

    Args:
        engine: the checkpoint whose tokenizer, processor and remaining stages are used.
        other: of the same architecture.
        stages: of ``list_stages``; none gives the first checkpoint.
    """
    model = engine.model
    for stage in stages:
        for path in stage.paths:
            model = replace_module(model, path, other.model.get_submodule(path))
    own = {field.name: getattr(engine, field.name) for field in fields(Engine)}
    # Always in the same order, so that two visitors cannot wait for each other.
    locks = tuple(sorted({engine.lock, other.lock}, key=id))
    return MixedEngine(**own | {"model": model, "locks": locks})
