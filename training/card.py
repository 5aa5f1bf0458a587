"""The model card: `card.md` with the checkpoint's own numbers filled in."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import safe_open


def count_parameters(weights: Path) -> tuple[int, int]:
    """Parameters of the vision tower and of the decoder."""
    vision = text = 0
    with safe_open(weights, "pt") as tensors:
        for name in tensors.keys():  # noqa: SIM118 - not a dict
            size = 1
            for side in tensors.get_slice(name).get_shape():
                size *= side
            vision, text = (vision + size, text) if ".visual." in name else (vision, text + size)
    return vision, text


def render_card(folder: Path) -> str:
    """The card of the checkpoint in `folder`, without the evaluation figures."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    text, vision = config["text_config"], config["vision_config"]
    image = json.loads((folder / "preprocessor_config.json").read_text(encoding="utf-8"))
    vision_parameters, text_parameters = count_parameters(folder / "model.safetensors")
    taps = vision["deepstack_visual_indexes"]
    template = Path(__file__).with_name("card.md").read_text(encoding="utf-8")
    return template.format(
        parameters=f"{(vision_parameters + text_parameters) / 1e6:.2f} million",
        vision_depth=vision["depth"],
        vision_hidden=vision["hidden_size"],
        vision_mlp=vision["intermediate_size"],
        vision_heads=vision["num_heads"],
        grid=round(vision["num_position_embeddings"] ** 0.5),
        taps=", ".join(str(tap) for tap in taps),
        last_fed=len(taps) - 1,
        vision_parameters=f"{vision_parameters:,}",
        text_layers=text["num_hidden_layers"],
        text_hidden=text["hidden_size"],
        text_mlp=text["intermediate_size"],
        text_heads=text["num_attention_heads"],
        text_kv=text["num_key_value_heads"],
        head_dim=text["head_dim"],
        mrope=text["rope_parameters"]["mrope_section"],
        theta=text["rope_parameters"]["rope_theta"],
        text_parameters=f"{text_parameters:,}",
        vocab=text["vocab_size"],
        min_pixels=f"{image['size']['shortest_edge']:,}",
        max_pixels=f"{image['size']['longest_edge']:,}",
    )
