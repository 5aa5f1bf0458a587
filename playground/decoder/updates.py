"""What attention, MLP and DeepStack each add to the residual stream, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from playground.records import DecoderOutput, MergedInputs


@dataclass(frozen=True, slots=True, eq=False)
class LayerUpdates:
    """Euclidean norms of the additions at one position; DeepStack is added after its layer."""

    residual: np.ndarray  # (layers,) float32: of the layer's input
    attention: np.ndarray  # (layers,) float32
    mlp: np.ndarray  # (layers,) float32
    deepstack: np.ndarray  # (layers,) float32; 0 where nothing is added


def layer_updates(output: DecoderOutput, merged: MergedInputs, position: int) -> LayerUpdates:
    """The norms that each module adds at one position.

    Args:
        output: the record of ``run_decoder``.
        merged: the decoder's input in that run.
        position: sequence index.
    """
    states = output.hidden_states[:-1]
    return LayerUpdates(
        residual=np.array([state[position].float().norm() for state in states], np.float32),
        attention=output.attention_norms[:, position].numpy(),
        mlp=output.mlp_norms[:, position].numpy(),
        deepstack=deepstack_norms(output, merged)[:, position],
    )


def deepstack_norms(output: DecoderOutput, merged: MergedInputs) -> np.ndarray:
    """``(layers, seq)`` float32: norm of the tap that is added after each layer."""
    norms = np.zeros((output.num_layers, output.num_tokens), np.float32)
    if merged.visual_pos_masks is not None:
        visual = merged.visual_pos_masks[0].numpy()
        for layer, tap in enumerate(merged.deepstack_visual_embeds or ()):
            norms[layer, visual] = tap.float().norm(dim=-1).numpy()
    return norms
