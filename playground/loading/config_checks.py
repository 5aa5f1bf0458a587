"""Configurations that load and then fail in the first run: refused at loading, by key.

transformers (5.24) checks the types of the keys, not that they fit together.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from playground.errors import CheckpointError
from playground.language import say

CHANNELS = 3  # the processor makes RGB pixels only
NUM_SECTIONS = 3  # temporal, height, width
EXPERT_ROW_BYTES = 16  # torch.nn.functional.grouped_mm (2.14): rows of a multiple of 16 bytes
TURNED_TOGETHER = 4  # 2-D RoPE of the vision tower turns a pair by the row and a pair by the column

# Name in the processor's settings → name in vision_config.
SHARED_KEYS = {
    "patch_size": "patch_size",
    "temporal_patch_size": "temporal_patch_size",
    "merge_size": "spatial_merge_size",
}
SIZE_KEYS = ("shortest_edge", "longest_edge")  # numbers of pixels, despite their names
PROCESSOR_FILES = {
    "image_processor": "preprocessor_config.json",
    "video_processor": "video_preprocessor_config.json",
}


def check_config_fits(config: Any, written: dict[str, Any], source: str) -> None:
    """Refuse a configuration whose first forward pass would fail.

    Args:
        config: as transformers reads it, with its defaults.
        written: the content of ``config.json``.
        source: the user's name for the checkpoint.

    Raises:
        CheckpointError: names the key, what it says and what it must be.
    """
    text, vision = config.text_config, config.vision_config
    _check_rope_type(text, written, source)
    _check_sections(text, written, source)
    for part, key, found, fits, need in (
        ("vision_config", "in_channels", vision.in_channels, vision.in_channels == CHANNELS,
         say("3: images are RGB")),
        ("vision_config", "out_hidden_size", vision.out_hidden_size,
         vision.out_hidden_size == text.hidden_size,
         say("text_config.hidden_size ({size})", size=text.hidden_size)),
        ("vision_config", "num_heads", vision.num_heads,
         _divides(vision.num_heads, vision.hidden_size),
         say("a divisor of vision_config.hidden_size ({size})", size=vision.hidden_size)),
        ("text_config", "num_key_value_heads", text.num_key_value_heads,
         _divides(text.num_key_value_heads, text.num_attention_heads),
         say("a divisor of text_config.num_attention_heads ({size})",
             size=text.num_attention_heads)),
        ("text_config", "num_experts_per_tok", getattr(text, "num_experts_per_tok", 0),
         getattr(text, "num_experts_per_tok", 0) <= getattr(text, "num_experts", 0),
         say("at most text_config.num_experts ({size})", size=getattr(text, "num_experts", 0))),
    ):  # fmt: skip
        if not fits:
            is_missing = key not in (written.get(part) or {})
            raise _does_not_fit(f"{part}.{key}", found, need, source, is_missing=is_missing)
    _check_head_dims(text, vision, source)


def _check_head_dims(text: Any, vision: Any, source: str) -> None:
    """Refuse heads that RoPE cannot turn; transformers makes two numbers of a single one."""
    per_head = vision.hidden_size // vision.num_heads
    text_dim = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    for key, found, multiple, need in (
        ("vision_config.hidden_size / num_heads", per_head, TURNED_TOGETHER,
         say("a multiple of 4: 2-D RoPE turns pairs by row and by column")),
        ("text_config.head_dim", text_dim, 2, say("an even number: RoPE turns pairs")),
    ):  # fmt: skip
        if found == 0 or found % multiple:  # 0: fewer numbers than heads
            raise _does_not_fit(key, found, need, source, is_missing=False)


def check_expert_rows(config: Any, dtype: torch.dtype, source: str) -> None:
    """Refuse a mixture whose experts' matrices torch does not multiply as a group.

    Args:
        config: as transformers reads it.
        dtype: in which the model will run.
        source: the user's name for the checkpoint.

    Raises:
        CheckpointError: names the key, what it says and what it must be.
    """
    text = config.text_config
    if not getattr(text, "num_experts", 0):
        return
    multiple = EXPERT_ROW_BYTES // dtype.itemsize
    for key in ("hidden_size", "moe_intermediate_size"):
        found = getattr(text, key)
        if found % multiple:
            need = say(
                "a multiple of {multiple}: torch multiplies the experts' matrices in rows of whole "
                "{num_bytes} bytes",
                multiple=multiple,
                num_bytes=EXPERT_ROW_BYTES,
            )
            raise _does_not_fit(f"text_config.{key}", found, need, source, is_missing=False)


def _divides(part: int, whole: int) -> bool:
    return part > 0 and whole % part == 0


def _does_not_fit(
    key: str, found: object, need: str, source: str, *, is_missing: bool
) -> CheckpointError:
    if is_missing:
        what = say(
            "config.json of {source!r} has no {key}, so that transformers assumes {found}.",
            source=source,
            key=key,
            found=found,
        )
    else:
        what = say(
            "config.json of {source!r} has {key} = {found}.", source=source, key=key, found=found
        )
    return CheckpointError(
        what,
        limit=say("Needed is {need}.", need=need),
        remedy=say("Take the value from the config.json published with these weights."),
    )


def _check_rope_type(text: Any, written: dict[str, Any], source: str) -> None:
    """transformers computes ``default`` itself; Qwen2-VL's ``mrope`` is no type of its own here."""
    found = (text.rope_parameters or {}).get("rope_type", "default")
    if found == "default" or found in ROPE_INIT_FUNCTIONS:
        return
    table = "rope_parameters" if "rope_parameters" in written["text_config"] else "rope_scaling"
    raise _does_not_fit(
        f"text_config.{table}.rope_type",
        found,
        say(", ").join(("default", *ROPE_INIT_FUNCTIONS)),
        source,
        is_missing=False,
    )


def _check_sections(text: Any, written: dict[str, Any], source: str) -> None:
    rope = text.rope_parameters or {}
    if "mrope_section" not in rope:  # transformers has a default
        return
    section = rope["mrope_section"]
    is_list = isinstance(section, (list, tuple))
    if is_list and len(section) >= NUM_SECTIONS and all(isinstance(n, int) for n in section):
        return
    written_text = written.get("text_config") or {}
    table = "rope_parameters" if "rope_parameters" in written_text else "rope_scaling"
    raise _does_not_fit(
        f"text_config.{table}.mrope_section",
        section,
        say("three whole numbers: rotary frequencies for time, height and width"),
        source,
        is_missing=False,
    )


def check_processor_fits(processor: Any, config: Any, folder: Path, source: str) -> None:
    """Refuse an image or video processor that cuts other patches than the model embeds.

    Raises:
        CheckpointError: names both numbers and both files.
    """
    for part in PROCESSOR_FILES:
        _check_size(processor, part, folder, source)
        for key, model_key in SHARED_KEYS.items():
            found = getattr(getattr(processor, part, None), key, None)
            wanted = getattr(config.vision_config, model_key)
            if found is None or found == wanted:
                continue
            raise CheckpointError(
                say(
                    "Processor and model of {source!r} disagree: {key} is {found} in {file}, but "
                    "vision_config.{model_key} is {wanted} in config.json.",
                    source=source,
                    key=key,
                    found=found,
                    file=_file_with(folder, part, key),
                    model_key=model_key,
                    wanted=wanted,
                ),
                remedy=say("Use the processor files published with these weights."),
            )


def _check_size(processor: Any, part: str, folder: Path, source: str) -> None:
    """Refuse a size without the two limits on the number of pixels."""
    size = getattr(getattr(processor, part, None), "size", None)
    if size is None or all(getattr(size, key, None) for key in SIZE_KEYS):
        return
    raise CheckpointError(
        say(
            "{file} of {source!r} has a size without {keys}.",
            file=_file_with(folder, part, "size"),
            source=source,
            keys=say(", ").join(key for key in SIZE_KEYS if not getattr(size, key, None)),
        ),
        limit=say(
            "Needed are the smallest and the largest number of pixels: shortest_edge, longest_edge."
        ),
        remedy=say("Use the processor files published with these weights."),
    )


def _file_with(folder: Path, part: str, key: str) -> str:
    """The file that a processor is read from; transformers reads the first of these."""
    for name, table in (
        ("processor_config.json", part),
        (PROCESSOR_FILES[part], ""),
        ("preprocessor_config.json", ""),
    ):
        if (folder / name).is_file():
            content: Any = json.loads((folder / name).read_text(encoding="utf-8"))
            settings = content.get(table) if table else content
            if isinstance(settings, dict):
                return name if key in settings else say("{file} (by default)", file=name)
    return say("no file (by default)")
