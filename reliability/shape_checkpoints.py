"""Random checkpoints of every shape that transformers runs, with the shipped tokenizer."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_model
from torch import nn
from transformers import AutoConfig, AutoModelForImageTextToText

from playground.loading.load import SHIPPED

PROCESSORS = ("preprocessor_config.json", "video_preprocessor_config.json", "processor_config.json")
OTHER_FILES = (
    "chat_template.jinja",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
)
TOKEN_IDS = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")
MISSING = None  # a key that the configuration does not have


@dataclass(frozen=True, slots=True)
class Shape:
    """What a checkpoint's configuration says; the defaults are those of a small Qwen3-VL."""

    layers: int = 2
    heads: int = 4
    kv_heads: int | None = 2
    head_dim: int | None = 16
    hidden: int = 32
    section: tuple[int, ...] | None = (4, 2, 2)
    interleaved: bool | None = True
    rope_key: str = "rope_parameters"  # rope_scaling is what the published checkpoints have
    experts: int = 0  # 0: a dense model
    experts_per_token: int = 1
    dense_layers: tuple[int, ...] = ()  # of a mixture of experts
    tied: bool = True
    attention_bias: bool = False
    blocks: int = 3
    taps: tuple[int, ...] | None = (0, 1)
    vision_heads: int = 2
    vision_head_dim: int = 16
    num_positions: int = 64
    patch: int = 16
    merge: int = 2
    temporal: int = 2

    def config(self) -> dict[str, Any]:
        """The content of ``config.json``."""
        shipped = json.loads((SHIPPED / "config.json").read_text())
        kind = "qwen3_vl_moe" if self.experts else "qwen3_vl"
        return {
            "architectures": [type_name(kind)],
            "dtype": "float32",
            "model_type": kind,
            "tie_word_embeddings": self.tied,
            **{name: shipped[name] for name in TOKEN_IDS},
            "text_config": _without_missing(self._text(shipped, kind)),
            "vision_config": _without_missing(self._vision(kind)),
        }

    def _text(self, shipped: dict[str, Any], kind: str) -> dict[str, Any]:
        rope: dict[str, Any] = {"rope_type": "default", "rope_theta": 10_000.0}
        if self.section is not MISSING:
            rope |= {"mrope_section": list(self.section)}
        if self.interleaved is not MISSING:
            rope |= {"mrope_interleaved": self.interleaved}
        text = {
            "model_type": f"{kind}_text",
            "vocab_size": shipped["text_config"]["vocab_size"],
            "hidden_size": self.hidden,
            "intermediate_size": 48,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "head_dim": self.head_dim,
            "attention_bias": self.attention_bias,
            "max_position_embeddings": 4096,
            "tie_word_embeddings": self.tied,
            "rope_theta": 10_000.0,
            "rope_scaling": None,
        }
        if self.experts:
            text |= {
                "num_experts": self.experts,
                "num_experts_per_tok": self.experts_per_token,
                "moe_intermediate_size": 16,
                "mlp_only_layers": list(self.dense_layers),
            }
        if self.rope_key == "none":
            return text | {"rope_scaling": "null"}
        return text | {self.rope_key: rope}

    def _vision(self, kind: str) -> dict[str, Any]:
        return {
            "model_type": f"{kind}_vision",
            "depth": self.blocks,
            "hidden_size": self.vision_heads * self.vision_head_dim,
            "intermediate_size": 32,
            "num_heads": self.vision_heads,
            "out_hidden_size": self.hidden,
            "num_position_embeddings": self.num_positions,
            "deepstack_visual_indexes": None if self.taps is None else list(self.taps),
            "patch_size": self.patch,
            "spatial_merge_size": self.merge,
            "temporal_patch_size": self.temporal,
        }


def type_name(kind: str) -> str:
    """The class of a model type, as ``architectures`` names it."""
    return {
        "qwen3_vl": "Qwen3VLForConditionalGeneration",
        "qwen3_vl_moe": "Qwen3VLMoeForConditionalGeneration",
    }[kind]


def _without_missing(config: dict[str, Any]) -> dict[str, Any]:
    """Leave out the missing keys; the text ``null`` stands for the JSON value."""
    kept = {key: value for key, value in config.items() if value is not MISSING}
    return {key: None if value == "null" else value for key, value in kept.items()}


def write_checkpoint(folder: Path, shape: Shape, *, seed: int = 0) -> Path:
    """Write a checkpoint that loads, with random weights.

    Args:
        folder: made if need be.
        shape: of the model; the processor gets its patch sizes.
        seed: of the weights.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in OTHER_FILES:
        shutil.copy(SHIPPED / name, folder / name)
    for name in PROCESSORS:
        settings = json.loads((SHIPPED / name).read_text())
        _resize_patches(settings, shape)
        (folder / name).write_text(json.dumps(settings))
    (folder / "config.json").write_text(json.dumps(shape.config()))
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    model: Any = AutoModelForImageTextToText.from_config(config, dtype=torch.float32)
    model.tie_weights()
    randomise(model, torch.Generator().manual_seed(seed))
    save_model(model, str(folder / "model.safetensors"), metadata={"format": "pt"})
    return folder


def _resize_patches(settings: Any, shape: Shape) -> None:
    """Fit the patches of all processors in a file, and limit an image to a few tokens."""
    for value in settings.values():
        if isinstance(value, dict):
            _resize_patches(value, shape)
    if "patch_size" in settings:
        area = (shape.patch * shape.merge) ** 2
        settings["patch_size"] = shape.patch
        settings["merge_size"] = shape.merge
        settings["temporal_patch_size"] = shape.temporal
        is_video = "Video" in str(settings.get("video_processor_type"))
        count = 8 * shape.temporal if is_video else 6
        settings["size"] = {"shortest_edge": area, "longest_edge": count * area}


@torch.no_grad()
def randomise(model: nn.Module, generator: torch.Generator) -> None:
    """Draw every weight at a scale at which each part of the model shows in the logits.

    The default initialisation leaves the position grid and the attention next to nothing.
    """
    for name, weight in model.named_parameters():
        noise = torch.randn(weight.shape, generator=generator)
        if weight.dim() == 1:
            scale, shift = 0.2, 1.0 if "norm" in name and name.endswith("weight") else 0.0
        elif "embed" in name and "patch" not in name:
            scale, shift = 0.5, 0.0
        else:
            fan_in = math.prod(weight.shape[1:]) if "expert" not in name else weight.shape[-1]
            scale, shift = 1.5 / math.sqrt(fan_in), 0.0
        weight.copy_(noise * scale + shift)
