"""What attention, MLP and DeepStack each add to the residual stream, layer by layer.

Source: ``Qwen3VLTextDecoderLayer.forward`` and ``Qwen3VLTextModel._deepstack_process``,
transformers 5.23.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers.masking_utils import create_causal_mask

from playground.engine import Engine
from playground.records import DecoderOutput, MergedInputs, Progress


@dataclass(frozen=True, slots=True, eq=False)
class LayerUpdates:
    """Euclidean norms of what each layer adds; the DeepStack add follows its layer."""

    residual: np.ndarray  # (layers, seq) float32: norm of the layer's input
    attention: np.ndarray  # (layers, seq) float32
    mlp: np.ndarray  # (layers, seq) float32
    deepstack: np.ndarray  # (layers, seq) float32; 0 where nothing is added


def layer_updates(
    engine: Engine,
    output: DecoderOutput,
    merged: MergedInputs,
    *,
    progress: Progress | None = None,
) -> LayerUpdates:
    """Run each layer's two halves again on its recorded input.

    Args:
        engine: the loaded checkpoint.
        output: the record of ``run_decoder``.
        merged: the decoder's input in that run.
        progress: called before every layer.
    """
    rows: dict[str, list[torch.Tensor]] = {"residual": [], "attention": [], "mlp": []}
    for layer in range(output.num_layers):
        if progress is not None:
            progress("decoder layer", layer, output.num_layers)
        hidden, attended, added = _run_halves(engine, output, layer)
        for name, tensor in (("residual", hidden), ("attention", attended), ("mlp", added)):
            rows[name].append(tensor.float().norm(dim=-1).cpu())
    return LayerUpdates(
        **{name: torch.stack(norms).numpy() for name, norms in rows.items()},
        deepstack=deepstack_norms(output, merged),
    )


def _run_halves(
    engine: Engine, output: DecoderOutput, layer: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The layer's input, and what its attention and its MLP add: (seq, hidden) each."""
    language_model: Any = engine.model.model.language_model
    module = language_model.layers[layer]
    with engine.exclusive():
        hidden = output.hidden_states[layer][None].to(engine.device)
        mask = create_causal_mask(
            config=language_model.config,
            inputs_embeds=hidden,
            attention_mask=None,
            past_key_values=None,
            position_ids=None,
        )
        attended, _ = module.self_attn(
            hidden_states=module.input_layernorm(hidden),
            attention_mask=mask,
            position_embeddings=language_model.rotary_emb(
                hidden, output.position_ids.to(engine.device)
            ),
        )
        added = module.mlp(module.post_attention_layernorm(hidden + attended))
        if isinstance(added, tuple):  # a mixture of experts may return its router's logits too
            added = added[0]
    return hidden[0], attended[0], added[0]


def deepstack_norms(output: DecoderOutput, merged: MergedInputs) -> np.ndarray:
    """``(layers, seq)`` float32: norm of the tap that is added after each layer."""
    norms = np.zeros((output.num_layers, output.num_tokens), np.float32)
    if merged.visual_pos_masks is not None:
        visual = merged.visual_pos_masks[0].numpy()
        for layer, tap in enumerate(merged.deepstack_visual_embeds or ()):
            norms[layer, visual] = tap.float().norm(dim=-1).numpy()
    return norms
