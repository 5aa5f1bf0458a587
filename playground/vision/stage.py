"""Stage 2: the vision tower.

Source: ``Qwen3VLVisionModel.forward`` and ``Qwen3VLModel.get_image_features``, transformers 5.24.
"""

from __future__ import annotations

import torch
from transformers.vision_utils import get_vision_interpolation_indices_and_weights

from playground.capture import capture_inputs, capture_outputs
from playground.engine import Engine
from playground.language import say
from playground.records import ModelInputs, Progress, TowerOutput, VisionOutput


def run_vision(
    engine: Engine, inputs: ModelInputs, *, progress: Progress | None = None
) -> VisionOutput:
    """Run the tower over the images and, in a second pass as in ``forward``, over the videos.

    Args:
        engine: the loaded checkpoint.
        inputs: the record of ``run_preprocess``.
        progress: called before every block.
    """
    return VisionOutput(
        image=_run_tower(engine, inputs.pixel_values, inputs.image_grid_thw, progress),
        video=_run_tower(engine, inputs.pixel_values_videos, inputs.video_grid_thw, progress),
    )


def _run_tower(
    engine: Engine,
    pixel_values: torch.Tensor | None,
    grid_thw: torch.Tensor | None,
    progress: Progress | None,
) -> TowerOutput | None:
    if pixel_values is None or grid_thw is None:
        return None
    visual = engine.model.model.visual
    with (
        engine.exclusive(),
        capture_inputs(visual.blocks, progress=progress, what=say("vision block")) as states,
        capture_outputs([visual.patch_embed]) as patch_embeds,
    ):
        # get_video_features is the same call: transformers handles images and videos alike here.
        output = engine.model.model.get_image_features(
            pixel_values.to(engine.device), grid_thw.to(engine.device), return_dict=True
        )
        pos_embeds = interpolate_position_grid(engine, grid_thw)
    return TowerOutput(
        grid_thw=grid_thw.cpu(),
        patch_embeds=patch_embeds[0].cpu(),
        pos_embeds=pos_embeds.cpu(),
        hidden_states=tuple(state.cpu() for state in (*states, output.last_hidden_state)),
        pooler_output=torch.cat(output.pooler_output).cpu(),
        deepstack_features=tuple(torch.cat(taps).cpu() for taps in output.deepstack_features),
        deepstack_layers=engine.facts.taps,
    )


def interpolate_position_grid(engine: Engine, grid_thw: torch.Tensor) -> torch.Tensor:
    """Resample the learned position grid to the images' patch grids.

    Each patch takes a weighted sum of four entries of the square grid. Hold ``Engine.exclusive``.

    Returns:
        ``(patches, hidden)`` in merge-block order, as added to ``patch_embeds``.
    """
    visual = engine.model.model.visual
    table = visual.pos_embed.weight
    indices, weights = get_vision_interpolation_indices_and_weights(
        grid_thw.to(table.device),
        num_grid_per_side=visual.num_grid_per_side,
        mode=visual.interpolation_mode,
        align_corners=visual.interpolation_align_corners,
        spatial_merge_size=visual.config.spatial_merge_size,
    )
    pos_embeds: torch.Tensor = (visual.pos_embed(indices) * weights[:, :, None]).sum(1)
    return pos_embeds.to(engine.dtype)
