"""Stage 4 from one layer on: earlier layers, which a change does not affect, are reused.

``Qwen3VLTextModel.forward`` itself runs, on a copy of the decoder that has only the later layers.
The copy shares every layer and weight with the model, so that hooks on the layers still work. The
model itself, which other users run, always keeps all of its layers.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from playground.cache import fork_cache
from playground.decoder.stage import run_layers
from playground.engine import Engine
from playground.module_copies import replace_module
from playground.records import DecoderOutput, ExpertRoutes, MergedInputs, Progress


def run_later_layers(
    engine: Engine,
    merged: MergedInputs,
    attention_mask: torch.Tensor,
    original: DecoderOutput,
    start: int,
    *,
    progress: Progress | None = None,
) -> DecoderOutput:
    """The record of ``run_layers`` if nothing before layer ``start`` has changed.

    Args:
        engine: the loaded checkpoint, with its edits if it has any.
        merged: the changed input of the layers, with all DeepStack taps.
        attention_mask: (1, seq) int64.
        original: the record whose states up to the input of layer ``start``, and whose keys and
            values before it, are shared, not copied.
        start: the first layer to run; the number of layers for the final norm alone.
        progress: called before every layer that runs.

    Raises:
        ModelError: the logits hold NaN or infinity.
    """
    if start == 0:
        return run_layers(engine, merged, attention_mask, progress=progress)
    taps = merged.deepstack_visual_embeds
    later = run_layers(
        replace(engine, model=_model_from(engine.model, start)),
        replace(
            merged,
            inputs_embeds=original.hidden_states[start][None],
            deepstack_visual_embeds=None if taps is None else taps[start:],
        ),
        attention_mask,
        progress=progress,
    )
    cache = later.cache
    cache.layers[:start] = fork_cache(original.cache).layers[:start]
    return replace(
        later,
        hidden_states=(*original.hidden_states[:start], *later.hidden_states),
        attention_norms=torch.cat([original.attention_norms[:start], later.attention_norms]),
        mlp_norms=torch.cat([original.mlp_norms[:start], later.mlp_norms]),
        num_deepstack=original.num_deepstack,
        experts=_join_experts(original.experts, later.experts, start),
    )


def _model_from(model: Any, start: int) -> Any:
    """The model with only the decoder layers from ``start`` on, over the same modules."""
    layers = model.model.language_model.layers[start:]
    return replace_module(model, "model.language_model.layers", layers)


def _join_experts(
    original: ExpertRoutes | None, later: ExpertRoutes | None, start: int
) -> ExpertRoutes | None:
    if original is None:
        return None
    kept = sum(layer < start for layer in original.layers)
    first = ExpertRoutes(original.layers[:kept], original.ids[:kept], original.weights[:kept])
    if later is None:
        return first
    return ExpertRoutes(
        layers=(*first.layers, *(start + layer for layer in later.layers)),
        ids=torch.cat([first.ids, later.ids]),
        weights=torch.cat([first.weights, later.weights]),
    )
