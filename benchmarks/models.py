"""The three model shapes for the benchmarks; only the shipped checkpoint has trained weights.

Random weights cost the same as trained ones, and need no download.
"""

from __future__ import annotations

import json
from typing import Any

import torch
from transformers import AutoModelForImageTextToText, AutoProcessor, PreTrainedConfig

from playground.engine import Engine
from playground.loading.load import SHIPPED, load_engine
from playground.loading.one_row import multiply_one_row
from playground.loading.patch_projection import project_by_matmul
from playground.model_facts import describe_config, load_config

SHAPES = ("shipped", "mid", "2b")
TOKEN_IDS = ("image_token_id", "video_token_id", "vision_start_token_id", "vision_end_token_id")


def load_shape(
    shape: str, *, device: str = "auto", dtype: str | None = None, layers: int | None = None
) -> Engine:
    """An engine of this shape, with the shipped tokenizer and processor.

    Args:
        shape: "shipped"; "mid" (hidden 512, 8 layers, vision depth 8, vocabulary 151,936);
            "2b" (Qwen3-VL-2B's configuration).
        device: auto (cuda if there is one), cpu, cuda.
        dtype: float32 or bfloat16; by default float32, and bfloat16 for "2b".
        layers: number of decoder layers, instead of the shape's own; not for "shipped".
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if shape == "shipped":
        return load_engine("tiny", device=device, dtype=dtype or "float32")
    config: Any = _mid_config() if shape == "mid" else load_config()
    config.text_config.num_hidden_layers = layers or config.text_config.num_hidden_layers
    shipped = json.loads((SHIPPED / "config.json").read_text(encoding="utf-8"))
    for name in TOKEN_IDS:
        setattr(config, name, shipped[name])
    torch.manual_seed(0)
    chosen = getattr(torch, dtype or ("bfloat16" if shape == "2b" else "float32"))
    with torch.device(device):
        model: Any = AutoModelForImageTextToText.from_config(config, dtype=chosen).eval()
    generation = json.loads((SHIPPED / "generation_config.json").read_text(encoding="utf-8"))
    model.generation_config.eos_token_id = generation["eos_token_id"]
    model.generation_config.pad_token_id = generation["pad_token_id"]
    project_by_matmul(model)
    multiply_one_row(model)
    return Engine(
        model=model,
        processor=AutoProcessor.from_pretrained(SHIPPED),
        facts=describe_config(model.config),
        source=shape,
        revision="random",
        attn="sdpa",
    )


def _mid_config() -> PreTrainedConfig:
    """The 2B configuration at a quarter of its width and about a third of its depth."""
    config = load_config()
    parts: Any = config  # transformers does not annotate its parts
    text, vision = parts.text_config, parts.vision_config
    text.hidden_size, text.intermediate_size, text.num_hidden_layers = 512, 1536, 8
    text.num_attention_heads, text.num_key_value_heads, text.head_dim = 8, 4, 64
    text.rope_parameters = {**text.rope_parameters, "mrope_section": [12, 10, 10]}
    vision.hidden_size, vision.intermediate_size, vision.depth, vision.num_heads = 512, 2048, 8, 8
    vision.out_hidden_size, vision.deepstack_visual_indexes = 512, [1, 3, 5]
    return config
