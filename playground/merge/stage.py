"""Stage 3: image features replace the placeholder tokens, and positions become 3-D.

Source: ``forward``, ``get_placeholder_mask`` and ``get_rope_index`` of ``Qwen3VLModel``,
transformers 5.24.
"""

from __future__ import annotations

from typing import Any

import torch

from playground.engine import Engine
from playground.records import MergedInputs, ModelInputs, TowerOutput, VisionOutput


def run_merge(engine: Engine, inputs: ModelInputs, vision: VisionOutput) -> MergedInputs:
    """Build the decoder's input from the token embeddings and the tower's output.

    Args:
        engine: the loaded checkpoint.
        inputs: the record of ``run_preprocess``.
        vision: the record of ``run_vision`` for the same inputs.
    """
    model = engine.model.model
    with engine.exclusive():
        input_ids = inputs.input_ids.to(engine.device)
        token_embeds = model.get_input_embeddings()(input_ids)
        inputs_embeds, image_mask = _scatter(model, input_ids, token_embeds, vision.image, "image")
        inputs_embeds, video_mask = _scatter(model, input_ids, inputs_embeds, vision.video, "video")
        position_ids, rope_deltas = get_positions(engine, inputs)
    visual_pos_masks, taps = _join_deepstack(vision, image_mask, video_mask)
    return MergedInputs(
        token_embeds=token_embeds.cpu(),
        inputs_embeds=inputs_embeds.cpu(),
        visual_pos_masks=visual_pos_masks,
        # The decoder adds one per layer and ignores any further ones.
        deepstack_visual_embeds=None if taps is None else taps[: engine.facts.num_layers],
        position_ids=position_ids,
        rope_deltas=rope_deltas,
    )


def get_positions(engine: Engine, inputs: ModelInputs) -> tuple[torch.Tensor, torch.Tensor]:
    """3-D M-RoPE positions; without images, all three axes count up together.

    Returns:
        ``position_ids`` (3, 1, seq) and ``rope_deltas`` (1, 1), both int64 on the CPU.
    """
    model = engine.model.model
    if inputs.image_grid_thw is None and inputs.video_grid_thw is None:
        positions = torch.arange(inputs.num_tokens).expand(3, 1, -1).contiguous()
        return positions, torch.zeros(1, 1, dtype=torch.int64)
    position_ids, rope_deltas = model.get_rope_index(
        inputs.input_ids,
        inputs.mm_token_type_ids,
        image_grid_thw=inputs.image_grid_thw,
        video_grid_thw=inputs.video_grid_thw,
        attention_mask=inputs.attention_mask,
    )
    return position_ids, rope_deltas


def _scatter(
    model: Any,
    input_ids: torch.Tensor,
    inputs_embeds: torch.Tensor,
    tower: TowerOutput | None,
    kind: str,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Replace one kind's placeholders; returns the embeddings and the (1, seq) mask."""
    if tower is None:
        return inputs_embeds, None
    features = tower.pooler_output.to(inputs_embeds.device, inputs_embeds.dtype)
    masks = model.get_placeholder_mask(
        input_ids, inputs_embeds=inputs_embeds, **{f"{kind}_features": features}
    )
    mask = masks[0] if kind == "image" else masks[1]
    return inputs_embeds.masked_scatter(mask, features), mask[..., 0].cpu()


def _join_deepstack(
    vision: VisionOutput, image_mask: torch.Tensor | None, video_mask: torch.Tensor | None
) -> tuple[torch.Tensor | None, tuple[torch.Tensor, ...] | None]:
    """One DeepStack tensor per tap, its rows in the order of the sequence."""
    if image_mask is None and video_mask is None:
        return None, None
    if vision.video is None or video_mask is None:
        assert vision.image is not None
        return image_mask, vision.image.deepstack_features
    if vision.image is None or image_mask is None:
        return video_mask, vision.video.deepstack_features
    both = image_mask | video_mask
    joined = []
    for image_tap, video_tap in zip(
        vision.image.deepstack_features, vision.video.deepstack_features, strict=True
    ):
        rows = image_tap.new_zeros(int(both.sum()), image_tap.shape[-1])
        rows[image_mask[both]] = image_tap
        rows[video_mask[both]] = video_tap
        joined.append(rows)
    return both, tuple(joined)
