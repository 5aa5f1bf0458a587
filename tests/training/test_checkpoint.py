"""The checkpoint in the repository: complete, loadable, and right about held-out scenes."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open
from transformers import AutoProcessor

from training.evaluation import Answerer, Item, build_items, parse_description, score_slots
from training.make_examples import EXAMPLES, build_scenes, write_examples
from training.tokenizer import ADDED_TOKENS

FOLDER = Path(__file__).parents[2] / "playground" / "checkpoints" / "tiny"


@pytest.fixture(scope="module")
def answerer() -> Answerer:
    return Answerer(FOLDER)


def test_weights_are_float32_and_small() -> None:
    path = FOLDER / "model.safetensors"
    assert path.stat().st_size < 40e6
    assert stat.S_IMODE(path.stat().st_mode) & 0o444 == 0o444
    with safe_open(path, "pt") as weights:
        names = set(weights.keys())
        assert weights.get_slice("model.language_model.norm.weight").get_dtype() == "F32"
    assert "lm_head.weight" not in names  # tied to the embeddings
    assert "model.visual.deepstack_merger_list.2.linear_fc2.weight" in names


def test_configuration_has_every_part_of_qwen3_vl() -> None:
    config = json.loads((FOLDER / "config.json").read_text(encoding="utf-8"))
    text, vision = config["text_config"], config["vision_config"]
    assert config["architectures"] == ["Qwen3VLForConditionalGeneration"]
    assert text["rope_parameters"]["mrope_interleaved"]
    assert sum(text["rope_parameters"]["mrope_section"]) == text["head_dim"] // 2
    assert text["num_key_value_heads"] < text["num_attention_heads"]
    assert len(vision["deepstack_visual_indexes"]) >= 3
    assert vision["out_hidden_size"] == text["hidden_size"]


def test_token_ids_agree_between_files() -> None:
    tokenizer = AutoProcessor.from_pretrained(FOLDER).tokenizer
    config = json.loads((FOLDER / "config.json").read_text(encoding="utf-8"))
    for name in ("image", "video"):
        assert config[f"{name}_token_id"] == tokenizer.convert_tokens_to_ids(f"<|{name}_pad|>")
    for name in ("vision_start", "vision_end"):
        assert config[f"{name}_token_id"] == tokenizer.convert_tokens_to_ids(f"<|{name}|>")
    assert config["text_config"]["vocab_size"] == len(tokenizer)
    generation = json.loads((FOLDER / "generation_config.json").read_text(encoding="utf-8"))
    ends = [tokenizer.convert_tokens_to_ids(t) for t in ("<|im_end|>", "<|endoftext|>")]
    assert generation["eos_token_id"] == ends
    assert len(ADDED_TOKENS) == 26


def test_held_out_descriptions(answerer: Answerer) -> None:
    for language in ("en", "zh"):
        items = build_items("describe", language, 12)
        assert score_slots(items, answerer.answer(items))["all"] > 0.65


def test_first_example(answerer: Answerer) -> None:
    image = Image.open(FOLDER / "examples" / "circle_and_square.png").convert("RGB")
    (template,) = build_items("describe", "en", 1)
    turn = type(template.turn)("describe", "en", "Describe this image.", ("x" * 90,))
    (answer,) = answerer.answer([Item(turn, (np.asarray(image),))])
    named = [(s["color"], s["kind"]) for s in parse_description(answer, "en")]
    assert named == [("red", "circle"), ("blue", "square")]


def test_examples_are_listed_and_small(tmp_path: Path) -> None:
    folder = FOLDER / "examples"
    listed = json.loads((folder / "examples.json").read_text(encoding="utf-8"))
    assert [example["name"] for example in listed] == [example[0] for example in EXAMPLES]
    assert listed[0]["images"] == ["circle_and_square.png"]
    for example in listed:
        files = [*example["images"], *([example["video"]] if example["video"] else [])]
        assert all((folder / file).exists() for file in files)
        assert example["language"] in ("en", "zh")
    assert sum(path.stat().st_size for path in folder.iterdir()) < 300_000
    write_examples(tmp_path)
    for name in build_scenes():
        fresh, kept = (Image.open(f / f"{name}.png") for f in (tmp_path, folder))
        assert np.array_equal(np.asarray(fresh), np.asarray(kept))
