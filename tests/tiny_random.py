"""Tiny random Qwen3-VL checkpoints for the tests, with the shipped tokenizer and processor."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForImageTextToText

from playground.loading.load import SHIPPED
from reliability.shape_checkpoints import randomise

# Files of the shipped checkpoint that belong to its own weights.
OWN_FILES = ("config.json", "README.md")

TEXT = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 4096,
    "rope_parameters": {
        "rope_type": "default",
        "rope_theta": 10_000.0,
        "mrope_section": [4, 2, 2],
        "mrope_interleaved": True,
    },
}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
VISION = {
    "depth": 4,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_heads": 2,
    "out_hidden_size": 64,
    "num_position_embeddings": 64,
    "deepstack_visual_indexes": [0, 1, 2],
    "patch_size": 16,
    "temporal_patch_size": 2,
    "spatial_merge_size": 2,
}


def make_tiny_random_checkpoint(
    folder: str | Path, *, moe: bool = False, seed: int = 0, source: Path = SHIPPED
) -> Path:
    """Write a loadable checkpoint: random weights, the shipped tokenizer and processor.

    Args:
        folder: made if need be.
        moe: a mixture of experts with an ``lm_head`` of its own; otherwise dense and tied.
        seed: of the weights.
        source: the checkpoint whose tokenizer, processor and token ids are taken.

    Returns:
        The folder.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for path in source.iterdir():
        if path.is_file() and path.name not in OWN_FILES and "safetensors" not in path.name:
            shutil.copy(path, folder / path.name)
    config = _make_config(json.loads((source / "config.json").read_text()), moe=moe)
    model = AutoModelForImageTextToText.from_config(config, dtype=torch.float32)
    randomise(model, torch.Generator().manual_seed(seed))
    _mute_placeholders(model)
    model.save_pretrained(folder)
    shipped_generation = source / "generation_config.json"
    if shipped_generation.is_file():  # save_pretrained wrote one of its own
        shutil.copy(shipped_generation, folder / shipped_generation.name)
    return folder


def _make_config(shipped: dict[str, Any], *, moe: bool) -> Any:
    ids = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")
    text = TEXT | {"vocab_size": shipped["text_config"]["vocab_size"]} | (EXPERTS if moe else {})
    return AutoConfig.for_model(
        "qwen3_vl_moe" if moe else "qwen3_vl",
        text_config=text | {"tie_word_embeddings": not moe},
        vision_config=VISION,
        tie_word_embeddings=not moe,
        **{name: shipped[name] for name in ids},
    )


@torch.no_grad()
def _mute_placeholders(model: Any) -> None:
    """Keep a greedy run from choosing a placeholder, for which there would be no image."""
    ids = [model.config.image_token_id, model.config.video_token_id]
    model.get_output_embeddings().weight[ids] *= 0.01
