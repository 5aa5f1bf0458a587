"""A prefill continued by more tokens: only these run, on a fork of its KV cache."""

from __future__ import annotations

from dataclasses import replace

import torch

from playground.cache import crop_cache
from playground.decoder.stage import run_layers
from playground.engine import Engine
from playground.records import DecoderOutput, ExpertRoutes, MergedInputs, Progress


def extend_output(
    engine: Engine,
    merged: MergedInputs,
    attention_mask: torch.Tensor,
    earlier: DecoderOutput,
    *,
    progress: Progress | None = None,
) -> DecoderOutput:
    """The record of ``run_layers`` for a sequence whose first tokens have already run.

    Args:
        engine: the loaded checkpoint.
        merged: the input of the layers, for the whole sequence.
        attention_mask: (1, seq) int64.
        earlier: the record of the first tokens; its states are copied, its cache is forked.
        progress: called before every layer.

    Raises:
        ModelError: the logits hold NaN or infinity.
    """
    later = run_layers(engine, merged, attention_mask, past=earlier.cache, progress=progress)
    return replace(
        later,
        hidden_states=tuple(
            torch.cat(pair) for pair in zip(earlier.hidden_states, later.hidden_states, strict=True)
        ),
        last_hidden_state=torch.cat([earlier.last_hidden_state, later.last_hidden_state]),
        position_ids=merged.position_ids,
        attention_norms=torch.cat([earlier.attention_norms, later.attention_norms], dim=1),
        mlp_norms=torch.cat([earlier.mlp_norms, later.mlp_norms], dim=1),
        experts=_join_experts(earlier.experts, later.experts),
    )


def _join_experts(earlier: ExpertRoutes | None, later: ExpertRoutes | None) -> ExpertRoutes | None:
    if earlier is None or later is None:
        return None
    return ExpertRoutes(
        layers=earlier.layers,
        ids=torch.cat([earlier.ids, later.ids], dim=1),
        weights=torch.cat([earlier.weights, later.weights], dim=1),
    )


def share_states(earlier: DecoderOutput, longer: DecoderOutput) -> DecoderOutput:
    """The same record, with views of a continued one's states, keys and values.

    Both records then take little more memory than the longer one.

    Args:
        earlier: the record of the first tokens.
        longer: from ``extend_output`` for it.
    """
    length = earlier.num_tokens
    return replace(
        earlier,
        hidden_states=tuple(state[:length] for state in longer.hidden_states),
        last_hidden_state=longer.last_hidden_state[:length],
        cache=crop_cache(longer.cache, length),
    )
