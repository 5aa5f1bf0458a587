"""Configurations that load and would fail in the first run of plain transformers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

from playground.errors import CheckpointError
from playground.loading.load import load_engine
from tests.media_samples import make_image
from tests.playground.loading.edits import copy_checkpoint, edit_config, edit_json

SECTION = "text_config__rope_parameters__mrope_section"


def load(source: str = "brought") -> Any:
    return load_engine(source, device="cpu")


def plain_run(folder: Path) -> None:
    """One pass of plain transformers over an image, with random weights of the config's shape."""
    config = AutoConfig.from_pretrained(folder)
    model: Any = AutoModelForImageTextToText.from_config(config)
    processor: Any = AutoProcessor.from_pretrained(folder)
    text = "<|vision_start|><|image_pad|><|vision_end|>a"
    inputs = processor(
        text=[text], images=[Image.fromarray(make_image(64, 64).pixels)], return_tensors="pt"
    )
    with torch.no_grad():
        model(**inputs)


def randomise_weights(folder: Path) -> None:
    """Write weights of the config's shape."""
    model: Any = AutoModelForImageTextToText.from_config(AutoConfig.from_pretrained(folder))
    config = (folder / "config.json").read_text()
    model.save_pretrained(folder)
    (folder / "config.json").write_text(config)


CONFIGS: list[tuple[dict[str, Any], str]] = [
    (
        {SECTION: [4, 4]},
        r"text_config\.rope_parameters\.mrope_section = \[4, 4\]\. Needed is three",
    ),
    ({SECTION: [8]}, r"mrope_section = \[8\]"),
    ({SECTION: []}, r"mrope_section = \[\]"),
    ({SECTION: 8}, r"mrope_section = 8"),
    ({"vision_config__in_channels": 1}, r"vision_config\.in_channels = 1\. Needed is 3: images"),
    ({"vision_config__in_channels": 4}, r"vision_config\.in_channels = 4"),
    (
        {"vision_config__out_hidden_size": 32},
        r"vision_config\.out_hidden_size = 32\. Needed is text_config\.hidden_size \(64\)",
    ),
    (
        {"vision_config__num_heads": 3},
        r"vision_config\.num_heads = 3\. Needed is a divisor of vision_config\.hidden_size \(32\)",
    ),
    (
        {"text_config__num_key_value_heads": None},
        r"has no text_config\.num_key_value_heads, so that transformers assumes 32\. "
        r"Needed is a divisor of text_config\.num_attention_heads \(4\)",
    ),
    ({"text_config__num_key_value_heads": 3}, r"text_config\.num_key_value_heads = 3"),
    *(
        (
            {"vision_config__num_heads": num_heads, "vision_config__hidden_size": size},
            rf"vision_config\.hidden_size / num_heads = {size // num_heads}\. "
            r"Needed is a multiple of 4: 2-D RoPE",
        )
        for size, num_heads in ((32, 16), (12, 4), (10, 2), (12, 2), (28, 2))
    ),
    ({"text_config__head_dim": 3}, r"text_config\.head_dim = 3\. Needed is an even number"),
]


@pytest.mark.parametrize(("changes", "message"), CONFIGS)
def test_a_config_that_cannot_run_is_refused_by_key(
    brought: Path, changes: dict[str, Any], message: str
) -> None:
    edit_config(brought, **changes)
    with pytest.raises((RuntimeError, ValueError, IndexError, TypeError)):
        plain_run(brought)
    with pytest.raises(CheckpointError, match=message):
        load()


def test_experts_that_are_not_there(
    tiny_random_moe_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = copy_checkpoint(tiny_random_moe_folder, Path("moe"))
    edit_config(folder, text_config__num_experts_per_tok=9)
    with pytest.raises(RuntimeError):
        plain_run(folder)
    with pytest.raises(
        CheckpointError, match=r"num_experts_per_tok = 9\. Needed is at most .*num_experts \(4\)"
    ):
        load("moe")


@pytest.mark.parametrize(
    "changes",
    [
        {"text_config__hidden_size": 30, "vision_config__out_hidden_size": 30},
        {"text_config__moe_intermediate_size": 30},
    ],
)
def test_experts_that_torch_does_not_multiply_as_a_group(
    tiny_random_moe_folder: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    """Rows of 16 bytes: 4 numbers of float32, 8 of bfloat16."""
    folder = copy_checkpoint(tiny_random_moe_folder, tmp_path / "moe")
    edit_config(folder, **changes)
    with pytest.raises(RuntimeError, match="multiple of 16 bytes"):
        plain_run(folder)
    for dtype, multiple in (("float32", 4), ("bfloat16", 8)):
        message = rf"_size = 30\. Needed is a multiple of {multiple}: torch"
        with pytest.raises(CheckpointError, match=message):
            load_engine(folder, device="cpu", dtype=dtype)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"text_config__head_dim": 1}, r"text_config\.head_dim = 1"),
        ({"vision_config__num_heads": 32, "vision_config__hidden_size": 32}, "num_heads = 1"),
    ],
)
def test_heads_of_one_number_are_refused(brought: Path, changes: dict[str, Any], key: str) -> None:
    """transformers broadcasts them to two numbers in the keys, and not in the values."""
    edit_config(brought, **changes)
    with pytest.raises(CheckpointError, match=key):
        load()


@pytest.mark.parametrize(
    "changes",
    [
        {SECTION: [4, 2, 2, 0]},  # transformers reads the first three
        {SECTION: None},  # transformers has a default
        {"vision_config__in_channels": None},
        {"vision_config__num_heads": 8},  # heads of 4 numbers
        {"text_config__head_dim": 2},
        {"text_config__head_dim": 6},
    ],
)
def test_a_config_that_plain_transformers_runs_is_not_refused(
    brought: Path, changes: dict[str, Any]
) -> None:
    edit_config(brought, **changes)
    randomise_weights(brought)
    plain_run(brought)
    assert load().facts.num_layers == 4


def test_the_older_key_of_rope_is_named_as_written(brought: Path) -> None:
    scaling = {"rope_type": "default", "mrope_section": [4, 4], "mrope_interleaved": True}
    edit_config(brought, text_config__rope_parameters=None, text_config__rope_scaling=scaling)
    with pytest.raises(CheckpointError, match=r"text_config\.rope_scaling\.mrope_section = \[4, 4"):
        load()


# --------------------------------------------------------------------------- the processor


@pytest.mark.parametrize(
    ("key", "model_key", "found", "wanted"),
    [
        ("patch_size", "patch_size", 14, 16),
        ("merge_size", "spatial_merge_size", 4, 2),
        ("temporal_patch_size", "temporal_patch_size", 1, 2),
    ],
)
@pytest.mark.parametrize("file", ["preprocessor_config.json", "video_preprocessor_config.json"])
def test_processor_and_model_disagree(
    brought: Path, file: str, key: str, model_key: str, found: int, wanted: int
) -> None:
    (brought / "processor_config.json").unlink()
    edit_json(brought / file, **{key: found})
    with pytest.raises(
        CheckpointError,
        match=rf"disagree: {key} is {found} in {file}, but vision_config\.{model_key} is {wanted} "
        r"in config\.json\. Use the processor files published with these weights",
    ):
        load()


@pytest.mark.parametrize("part", ["image_processor", "video_processor"])
def test_the_newer_processor_file_wins(brought: Path, part: str) -> None:
    """As in plain transformers: what the older files say is then not read."""
    old = {"image_processor": "preprocessor", "video_processor": "video_preprocessor"}[part]
    settings = json.loads((brought / f"{old}_config.json").read_text())
    edit_json(brought / "processor_config.json", **{part: settings})
    edit_json(brought / f"{old}_config.json", patch_size=14)
    assert load().facts.patch_size == 16
    edit_json(brought / "processor_config.json", **{part: settings | {"patch_size": 14}})
    processor: Any = AutoProcessor.from_pretrained("brought")
    assert getattr(processor, part).patch_size == 14
    with pytest.raises(CheckpointError, match=r"patch_size is 14 in processor_config\.json, but"):
        load()


def test_a_key_that_no_file_sets(brought: Path) -> None:
    """The Qwen3-VL video processor has patches of 16 pixels by default."""
    edit_config(brought, vision_config__patch_size=14)
    for name in ("preprocessor_config.json", "processor_config.json"):
        edit_json(brought / name, patch_size=14)
    (brought / "processor_config.json").unlink()
    edit_json(brought / "video_preprocessor_config.json", patch_size=None)
    with pytest.raises(
        CheckpointError, match=r"16 in video_preprocessor_config\.json \(by default\)"
    ):
        load()


def test_the_attention_that_the_config_names_need_not_be_installed(brought: Path) -> None:
    """Some trainers save the one that they ran with."""
    randomise_weights(brought)
    edit_config(brought, _attn_implementation="flash_attention_2")
    assert load().model.config.text_config._attn_implementation == "sdpa"
