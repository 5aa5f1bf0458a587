"""Weights under other names, of which a part is missing, or that are none."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText

from playground.engine import Engine
from playground.errors import CheckpointError
from playground.loading.load import load_engine
from playground.loading.rename_weights import main as rename_weights
from playground.loading.weight_names import name_in_transformers
from tests.playground.loading.edits import (
    copy_checkpoint,
    edit_config,
    edit_weights,
    rename_tensors,
    shard,
)

Rename = Callable[[str], str]
EMBEDDING = "model.language_model.embed_tokens.weight"


def load(source: str) -> Engine:
    return load_engine(source, device="cpu")


def plain_missing(source: str) -> set[str]:
    """The tensors that plain transformers does not find."""
    info: Any = AutoModelForImageTextToText.from_pretrained(source, output_loading_info=True)[1]
    return set(info["missing_keys"])


def prefix(words: str) -> Rename:
    return lambda name: words + name


def compiled_layers(name: str) -> str:
    return re.sub(r"(layers\.\d+\.)", r"\1_orig_mod.", name)


def checkpointed_blocks(name: str) -> str:
    return re.sub(r"(blocks\.\d+\.)", r"\1_checkpoint_wrapped_module.", name)


def mlx(name: str) -> str:
    if name.startswith("lm_head"):
        return f"language_model.{name}"
    name = name.replace("model.language_model.", "language_model.model.")
    return name.replace("model.visual.", "vision_tower.")


def qwen2_vl(name: str) -> str:
    return name.replace("model.language_model.", "model.").replace("model.visual.", "visual.")


RENAMES: list[tuple[Rename, str]] = [
    (prefix("base_model.model."), "PEFT"),
    (prefix("module."), "DataParallel"),
    (prefix("_orig_mod."), "torch.compile"),
    (prefix("module._orig_mod."), "DataParallel, torch.compile"),
    (prefix("_forward_module.model."), "Lightning"),
    (prefix("policy."), ""),
    (compiled_layers, "torch.compile"),
    (checkpointed_blocks, "FSDP"),
    (mlx, "MLX"),
    (qwen2_vl, ""),
]


@pytest.mark.parametrize(("rename", "library"), RENAMES)
def test_the_command_in_the_message_mends_other_names(
    brought: Path, rename: Rename, library: str, tiny_random_moe_folder: Path
) -> None:
    """For both model types: what plain transformers does not find, it finds in the copy."""
    for folder, original in (
        (brought, copy_checkpoint(brought, Path("original"))),
        (copy_checkpoint(tiny_random_moe_folder, Path("moe")), tiny_random_moe_folder),
    ):
        rename_tensors(folder, rename)
        assert plain_missing(str(folder))
        with pytest.raises(CheckpointError, match="names that transformers does not read") as error:
            load(str(folder))
        assert (f"({library})" in str(error.value)) == bool(library)
        command = "python -m playground.loading.rename_weights "
        assert error.value.remedy.endswith(f"{command}{folder} {folder}-renamed")
        rename_weights(error.value.remedy.split(command)[1].split())
        _assert_equal(load(f"{folder}-renamed"), load(str(original)))
        assert not plain_missing(f"{folder}-renamed")


def _assert_equal(got: Engine, want: Engine) -> None:
    weights = got.model.state_dict()
    expected = want.model.state_dict()
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[name], expected[name]) for name in weights)


def test_the_names_of_the_base_model_are_read_as_plain_transformers_does(brought: Path) -> None:
    original = load("brought").model.state_dict()
    rename_tensors(brought, lambda name: name.removeprefix("model."))
    assert plain_missing("brought") == set()
    mapped = load("brought").model.state_dict()
    assert all(torch.equal(mapped[name], original[name]) for name in original)


@pytest.mark.parametrize("name", ["value_head.weight", "model.visual.rotary_pos_emb.inv_freq"])
def test_other_tensors_keep_their_names(name: str) -> None:
    assert name_in_transformers(name) == name


def test_a_patch_embedding_with_channels_last_is_mended(brought: Path) -> None:
    """MLX's convolution has its channels last, in bfloat16 as well."""
    name = "model.visual.patch_embed.proj.weight"
    edit_weights(brought, lambda weights: {key: each.bfloat16() for key, each in weights.items()})
    want = load_file(brought / "model.safetensors")[name]
    turn = {name: want.permute(0, 2, 3, 4, 1).contiguous()}
    edit_weights(brought, lambda weights: weights | turn)
    with pytest.raises(CheckpointError, match=r"has its channels last \(32, 2, 16, 16, 3\), as"):
        load("brought")
    rename_weights(["brought", "renamed"])
    assert torch.equal(load_file("renamed/model.safetensors")[name], want)
    assert load("renamed").dtype == torch.bfloat16


# --------------------------------------------------------------------------- shards


def test_shards_without_an_index(brought: Path) -> None:
    original = load("brought")
    shard(brought)
    with pytest.raises(OSError, match=r"no file named model\.safetensors"):
        AutoModelForImageTextToText.from_pretrained("brought")
    with pytest.raises(CheckpointError, match=r"has 3 shards .*, but no model") as e:
        load("brought")
    assert e.value.remedy.endswith("python -m playground.loading.rename_weights brought")
    rename_weights(["brought"])
    _assert_equal(load("brought"), original)


def test_shards_with_other_names_and_without_an_index(brought: Path) -> None:
    original = load("brought")
    rename_tensors(brought, prefix("module."))
    shard(brought)
    with pytest.raises(SystemExit, match=r"module\.\S+ must be renamed too\. Name a second"):
        rename_weights(["brought"])
    rename_weights(["brought", "renamed"])
    _assert_equal(load("renamed"), original)


def test_a_lost_shard_without_an_index(brought: Path) -> None:
    (brought / shard(brought)[1]).unlink()
    with pytest.raises(CheckpointError, match=r"has 2 of 3 shards, and no .* Finish the download"):
        load("brought")


@pytest.mark.parametrize("name", ["pytorch_model.safetensors", "model.fp16.safetensors"])
def test_weights_under_another_file_name(brought: Path, name: str) -> None:
    (brought / "model.safetensors").rename(brought / name)
    with pytest.raises(CheckpointError, match=rf"has its weights in {name}; .* Rename that file"):
        load("brought")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["brought", "full"], r"'full' is not empty\. Name a new folder"),
        (["full", "new"], r"'full' holds no weights"),
        (["twice", "new"], r"'twice' holds model\.language_model\.embed_tokens\.weight twice"),
    ],
)
def test_what_cannot_be_renamed(brought: Path, arguments: list[str], message: str) -> None:
    Path("full").mkdir()
    Path("full/notes.txt").touch()
    twice = copy_checkpoint(brought, Path("twice"))
    embedding = load_file(brought / "model.safetensors")[EMBEDDING]
    save_file({f"module.{EMBEDDING}": embedding}, twice / "more.safetensors")
    with pytest.raises(SystemExit, match=message):
        rename_weights(arguments)


# --------------------------------------------------------------------------- the head


def without_head(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: weight for name, weight in weights.items() if name != "lm_head.weight"}


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        (
            {"tie_word_embeddings": False, "text_config__tie_word_embeddings": False},
            "tie_word_embeddings in config.json is not true",
        ),
        ({"tie_word_embeddings": False}, "config.json ties only its text_config"),
        ({"tie_word_embeddings": None}, "config.json ties only its text_config"),
    ],
)
def test_a_missing_head_is_mended_by_the_key_in_the_message(
    brought: Path, changes: dict[str, Any], found: str
) -> None:
    edit_weights(brought, without_head)
    edit_config(brought, **changes)
    assert plain_missing("brought") == {"lm_head.weight"}
    with pytest.raises(CheckpointError, match=re.escape(found)) as caught:
        load("brought")
    assert '"tie_word_embeddings": true at the top level' in caught.value.remedy
    edit_config(brought, tie_word_embeddings=True)
    assert load("brought").facts.tied_embeddings


def test_a_head_of_its_own_is_untied_whatever_the_config_says(brought: Path) -> None:
    """As PEFT's ``modules_to_save`` leaves it: plain transformers keeps the stored head."""
    generator = torch.Generator().manual_seed(0)
    size = load_file(brought / "model.safetensors")[EMBEDDING].shape
    head = torch.randn(size, generator=generator)
    edit_weights(brought, lambda weights: weights | {"lm_head.weight": head})
    plain: Any = AutoModelForImageTextToText.from_pretrained("brought")
    assert torch.equal(plain.lm_head.weight, head)
    engine = load("brought")
    model: Any = engine.model
    assert model.config.tie_word_embeddings
    assert torch.equal(model.lm_head.weight, head)
    assert not engine.facts.tied_embeddings


def test_a_tie_that_only_the_top_level_states_is_one(brought: Path) -> None:
    edit_config(brought, text_config__tie_word_embeddings=False)
    assert load("brought").facts.tied_embeddings


# --------------------------------------------------------------------------- no weights


@pytest.mark.parametrize("share", [1, 2])
def test_placeholders_of_zero_3_are_named(brought: Path, share: int) -> None:
    """All tensors are of size 0, or those of the part that was trained."""

    def empty(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        names = sorted(weights)[::share]
        return weights | {name: torch.zeros(0) for name in names}

    edit_weights(brought, empty)
    with pytest.raises(
        CheckpointError, match=r"of 121 tensors of 'brought' have size 0 .* DeepSpeed ZeRO-3"
    ) as caught:
        load("brought")
    assert "python zero_to_fp32.py . OUTPUT --safe_serialization" in caught.value.remedy


@pytest.mark.parametrize("part", ["lora_A.default", "base_layer", "modules_to_save.default"])
def test_an_adapter_that_is_not_merged_is_named(brought: Path, part: str) -> None:
    name = "model.language_model.layers.0.self_attn.q_proj"
    edit_weights(brought, lambda weights: weights | {f"{name}.{part}.weight": torch.ones(4, 64)})
    with pytest.raises(CheckpointError, match=r"hold an adapter that is not merged \(1 tensors"):
        load("brought")
