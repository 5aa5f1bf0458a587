"""Checkpoints of public reports, each the random one in that form. The threads are at each test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText, AutoProcessor

from playground.engine import Engine
from playground.errors import CheckpointError
from playground.loading.load import load_engine
from playground.preprocess.stage import model_kwargs, run_preprocess
from playground.prompt import Prompt, Turn
from tests.media_samples import make_image
from tests.playground.loading.edits import WEIGHTS, edit_config, edit_json, edit_weights

EMBEDDING = "model.language_model.embed_tokens.weight"
PICTURE = Prompt((Turn("user", "What is this?", (make_image(300, 300),)),))
SECTIONS = {"mrope_section": [4, 2, 2], "mrope_interleaved": True}


def load() -> Engine:
    return load_engine("brought", device="cpu")


def remove(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).unlink(missing_ok=True)


@torch.no_grad()
def assert_same_logits(engine: Engine) -> None:
    """The loaded model against one that plain transformers loads from the same folder."""
    plain: Any = AutoModelForImageTextToText.from_pretrained("brought", dtype=torch.float32)
    inputs = model_kwargs(run_preprocess(engine, PICTURE))
    assert torch.equal(engine.model(**inputs).logits, plain(**inputs).logits)


# --------------------------------------------------------------------------- weights


@pytest.mark.parametrize(
    "metadata",
    [
        None,  # ml-explore/mlx#743, hiyouga/LlamaFactory#1988, safetensors/safetensors#549
        {},  # foundation-model-stack/fastsafetensors#96
        {"format": "mlx"},
    ],
)
def test_weights_without_the_usual_metadata(brought: Path, metadata: dict[str, str] | None) -> None:
    save_file(load_file(brought / WEIGHTS), brought / WEIGHTS, metadata)
    assert_same_logits(load())


def add_rows(folder: Path, count: int) -> None:
    """Append rows to the embedding, as ``resize_token_embeddings`` does."""

    def grow(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        rows = weights[EMBEDDING]
        return weights | {EMBEDDING: torch.cat([rows, rows[:count]])}

    edit_weights(folder, grow)


def test_an_embedding_that_grew_without_its_config(brought: Path) -> None:
    """QwenLM/Qwen3-VL#1402: new tokens, and the old vocab_size."""
    add_rows(brought, 7)
    with pytest.raises(CheckpointError, match=r"embed_tokens\.weight \(1031, 64\) for \(1024, 64"):
        load()


@pytest.mark.parametrize(
    "changes",
    [
        {},  # ByteDance-Seed/Bagel#265: more rows than the tokenizer has tokens
        {"vocab_size": 1024},  # hiyouga/LlamaFactory#8823: the old number stays at the top level
    ],
)
def test_an_embedding_that_grew_with_its_config(brought: Path, changes: dict[str, Any]) -> None:
    add_rows(brought, 7)
    edit_config(brought, text_config__vocab_size=1031, **changes)
    engine = load()
    assert (engine.facts.vocab_size, len(engine.tokenizer)) == (1031, 1024)
    assert_same_logits(engine)


# --------------------------------------------------------------------------- RoPE


def scale(folder: Path, **scaling: Any) -> None:
    edit_config(folder, text_config__rope_parameters=None, text_config__rope_scaling=scaling)


@pytest.mark.parametrize("key", ["type", "rope_type"])
def test_qwen2_vls_rope_type_is_refused_by_key(brought: Path, key: str) -> None:
    """huggingface/transformers#33401: no type of RoPE in a Qwen3-VL's config."""
    scale(brought, **{key: "mrope"}, **SECTIONS)
    with pytest.raises(KeyError, match="mrope"):
        AutoModelForImageTextToText.from_pretrained("brought")
    with pytest.raises(
        CheckpointError, match=r"text_config\.rope_scaling\.rope_type = mrope\. Needed is default, "
    ):
        load()


@pytest.mark.parametrize(
    ("theta", "key"),
    [
        (5_000_000.0, "type"),  # NVIDIA-NeMo/Automodel#1398: YaRN under the older key
        (None, "rope_type"),  # sgl-project/sglang#22739: YaRN, and no rope_theta anywhere
    ],
)
def test_yarn_as_it_is_written(brought: Path, theta: float | None, key: str) -> None:
    scale(brought, **{key: "yarn"}, factor=4.0, original_max_position_embeddings=1024, **SECTIONS)
    edit_config(brought, text_config__rope_theta=theta)
    engine = load()
    assert engine.model.config.text_config.rope_parameters["rope_type"] == "yarn"
    assert_same_logits(engine)


# --------------------------------------------------------------------------- tokenizer, template


@pytest.mark.parametrize(
    "tokens",
    [
        ["<|im_start|>", "<|im_end|>", "<|vision_start|>"],  # ml-explore/mlx-lm#661
        {  # huggingface/transformers#44313
            "image_token": {
                "content": "<|image_pad|>",
                "special": True,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "single_word": False,
                "__type": "AddedToken",
            }
        },
    ],
)
def test_extra_special_tokens_in_either_form(brought: Path, tokens: Any) -> None:
    before = run_preprocess(load(), PICTURE).input_ids
    edit_json(brought / "tokenizer_config.json", extra_special_tokens=tokens)
    assert torch.equal(run_preprocess(load(), PICTURE).input_ids, before)


def test_a_tokenizer_without_vocab_and_merges(brought: Path) -> None:
    """hiyouga/LlamaFactory#10169: tokenizer.json holds both."""
    remove(brought, "vocab.json", "merges.txt")
    assert_same_logits(load())


def test_a_training_run_that_lost_its_template(brought: Path) -> None:
    """hiyouga/LlamaFactory#8399."""
    remove(brought, "chat_template.jinja")
    with pytest.raises(CheckpointError, match=r"has no chat template\. Needed"):
        load()


# --------------------------------------------------------------------------- the image processor


def set_pixels(folder: Path, **settings: Any) -> None:
    remove(folder, "processor_config.json")
    edit_json(folder / "preprocessor_config.json", **settings)


@pytest.mark.parametrize(
    ("settings", "grid"),
    [
        ({"max_pixels": 20_480, "min_pixels": 1024}, [1, 8, 8]),  # huggingface/transformers#41955
        # QwenLM/Qwen3-VL#1052: the same without a size
        ({"size": None, "max_pixels": 20_480, "min_pixels": 1024}, [1, 8, 8]),
        # QwenLM/Qwen3-VL#1836: a largest size beyond the published one
        ({"size": {"longest_edge": 25_165_824, "shortest_edge": 65_536}}, [1, 18, 18]),
    ],
)
def test_limits_of_pixels_in_every_form(
    brought: Path, settings: dict[str, Any], grid: list[int]
) -> None:
    set_pixels(brought, **settings)
    inputs = run_preprocess(load(), PICTURE)
    assert inputs.image_grid_thw is not None
    assert inputs.image_grid_thw.tolist() == [grid]


@pytest.mark.parametrize(
    "size",
    [
        {"min_pixels": 3136, "max_pixels": 12_845_056},  # bytedance/UI-TARS#165
        {"height": 64, "width": 64},
        {"shortest_edge": 3136},  # huggingface/transformers#37811
    ],
)
def test_a_size_without_both_limits_is_refused(brought: Path, size: dict[str, int]) -> None:
    set_pixels(brought, size=size)
    processor: Any = AutoProcessor.from_pretrained("brought")
    with pytest.raises(ValueError, match="shortest_edge"):
        processor.image_processor(images=[make_image(64, 64).pixels], return_tensors="pt")
    with pytest.raises(
        CheckpointError, match=r"preprocessor_config\.json of 'brought' has a size without"
    ):
        load()


def test_a_merged_adapter_without_its_processor(brought: Path) -> None:
    """QwenLM/Qwen3-VL#1715: only model and tokenizer were saved."""
    remove(brought, "preprocessor_config.json", "processor_config.json")
    with pytest.raises(CheckpointError, match=r"no image processor settings.*Copy them from"):
        load()
