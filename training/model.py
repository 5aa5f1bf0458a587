"""Configuration and initial weights of the shipped model, a small Qwen3-VL."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn
from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

from training.draw import render_scene
from training.patches import patchify
from training.scenes import sample_scene, sample_writing_scene

VISION = {
    "depth": 5,
    "hidden_size": 128,
    "intermediate_size": 384,
    "num_heads": 4,
    "in_channels": 3,
    "patch_size": 16,
    "spatial_merge_size": 2,
    "temporal_patch_size": 2,
    "num_position_embeddings": 256,  # 16 x 16
    "deepstack_visual_indexes": [0, 1, 3],
    "rope_parameters": {"rope_type": "axial", "rope_theta": 10000.0},
}
# Images have at most 7 x 7 merged tokens here, so a small theta spreads the few rows and columns
# over angles that attention can distinguish.
TEXT = {
    "hidden_size": 192,
    "intermediate_size": 512,
    "num_hidden_layers": 6,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 4096,
    "rope_parameters": {
        "rope_type": "default",
        "rope_theta": 200.0,
        "mrope_section": [6, 5, 5],
        "mrope_interleaved": True,
    },
}


def build_config(vocab_size: int, token_ids: dict[str, int]) -> Qwen3VLConfig:
    """The configuration; `token_ids` maps special tokens to ids."""
    config = Qwen3VLConfig(
        vision_config={**VISION, "out_hidden_size": TEXT["hidden_size"]},
        text_config={
            **TEXT,
            "vocab_size": vocab_size,
            "bos_token_id": token_ids["<|endoftext|>"],
            "eos_token_id": token_ids["<|im_end|>"],
            "pad_token_id": None,
        },
        image_token_id=token_ids["<|image_pad|>"],
        video_token_id=token_ids["<|video_pad|>"],
        vision_start_token_id=token_ids["<|vision_start|>"],
        vision_end_token_id=token_ids["<|vision_end|>"],
        tie_word_embeddings=True,
    )
    config.architectures = ["Qwen3VLForConditionalGeneration"]
    config.dtype = torch.float32
    return config


def build_model(config: Qwen3VLConfig, seed: int) -> Qwen3VLForConditionalGeneration:
    """A model with fresh weights whose scales suit its small size."""
    torch.manual_seed(seed)
    model = Qwen3VLForConditionalGeneration(config)
    model.float()
    _scale_linear_layers(model)
    visual = model.model.visual
    with torch.no_grad():
        visual.pos_embed.weight.copy_(smooth_position_table(16, config.vision_config.hidden_size))
        weight = visual.patch_embed.proj.weight
        weight.copy_(whitening_patch_weights(weight.shape[0], seed).view_as(weight))
        visual.patch_embed.proj.bias.zero_()
    return model


def _scale_linear_layers(model: nn.Module) -> None:
    """Std 1/sqrt(fan_in) instead of 0.02, which suits layers ten times as wide."""
    with torch.no_grad():
        for name, module in model.named_modules():
            if isinstance(module, nn.Linear) and name != "lm_head":
                last = name.endswith(("o_proj", "down_proj", "attn.proj", "mlp.linear_fc2"))
                std = (0.5 if last else 1.0) / math.sqrt(module.in_features)
                module.weight.normal_(0.0, std)


def smooth_position_table(side: int, dim: int) -> Tensor:
    """(side * side, dim): sines and cosines of row and column, standard deviation 0.5.

    Neighbouring positions start out similar, so what is learned at one transfers to the next.
    """
    num_waves = dim // 4
    waves = math.pi / side * torch.logspace(0, math.log10(side / 2), num_waves)
    angles = torch.arange(side)[:, None] * waves
    axis = torch.cat([angles.sin(), angles.cos()], dim=1) * (0.5 / math.sqrt(0.5))
    rows = axis[:, None, :].expand(side, side, -1)
    columns = axis[None, :, :].expand(side, side, -1)
    return torch.cat([rows, columns], dim=-1).reshape(side * side, dim)


@cache
def whitening_patch_weights(num_filters: int, seed: int, num_scenes: int = 160) -> Tensor:
    """(num_filters, 3 * 2 * 16 * 16): principal components of scene patches, whitened.

    Flat colour makes up nearly all of a patch's variance; after whitening, edges and corners start
    with the same weight. One filter in eight is the difference of a patch's two frames (motion).
    """
    rng = np.random.default_rng([seed, 77])
    patches = []
    for index in range(num_scenes):
        scene = sample_writing_scene(rng) if index % 4 == 0 else sample_scene(rng, 1 + index % 3)
        patches.append(patchify(render_scene(scene)))
    rows = torch.cat(patches).view(-1, 3, 2, 256)[:, :, 0].reshape(-1, 768)
    rows = rows - rows.mean(0)
    values, vectors = torch.linalg.eigh(rows.T @ rows / len(rows))
    values, vectors = values.flip(0), vectors.flip(1)
    num_motion = num_filters // 8
    num_static = num_filters - num_motion
    gain = 0.5 / (values[:num_static] + 0.05 * values[3]).sqrt()
    static = (vectors[:, :num_static] * gain).T.reshape(num_static, 3, 1, 256)
    motion = static[:num_motion]
    static = static.expand(-1, -1, 2, -1) / 2
    motion = torch.cat([motion, -motion], dim=2) / 2
    return torch.cat([static, motion]).reshape(num_filters, 3 * 2 * 256)
