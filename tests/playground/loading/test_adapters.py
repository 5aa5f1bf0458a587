"""Adapters of PEFT: merged as PEFT merges them, and refused in words where that cannot be."""

from __future__ import annotations

import math
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import (
    IA3Config,
    LoHaConfig,
    LoraConfig,
    PeftConfig,
    PeftModel,
    PrefixTuningConfig,
    VeraConfig,
    get_peft_model,
)
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText

from playground.engine import Engine
from playground.errors import CheckpointError
from playground.loading.checkpoint_mark import mark_checkpoint
from playground.loading.load import load_engine
from tests.components.runs import make_run
from tests.media_samples import make_image
from tests.playground.loading.edits import copy_checkpoint, edit_config, edit_json

ATTENTION = ["q_proj", "v_proj", "qkv"]  # of the decoder and of the tower
QUERY = "model.language_model.layers.1.self_attn.q_proj"
LORA = LoraConfig(r=2, lora_alpha=6, target_modules=ATTENTION, init_lora_weights=False)


def load_plain(folder: Path | str) -> Any:
    return AutoModelForImageTextToText.from_pretrained(folder, dtype=torch.float32).eval()


@pytest.fixture
def save_adapter(brought: Path) -> Callable[[PeftConfig], Path]:
    """Saves an adapter of random weights on the folder ``brought`` as the folder ``adapter``."""

    def save(config: PeftConfig) -> Path:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PEFT's own, of transformers' deprecations
            torch.manual_seed(0)
            wrapped = get_peft_model(load_plain(brought), config)
            for name, weight in wrapped.named_parameters():
                if weight.requires_grad:  # no kind may start as one that changes nothing
                    spread = torch.randn(weight.shape) * 0.2
                    weight.data = weight.data + spread if "modules_to_save" in name else spread
            wrapped.save_pretrained("adapter")
        edit_json(Path("adapter/adapter_config.json"), base_model_name_or_path="../brought")
        return Path("adapter")

    return save


def load(source: str = "adapter", **options: Any) -> Engine:
    return load_engine(source, device="cpu", **options)


def wrap(folder: Path | str = "brought") -> Any:
    """What PEFT itself makes of the two, not merged."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return PeftModel.from_pretrained(load_plain(folder), "adapter")


def logits(model: Any) -> torch.Tensor:
    ids = torch.tensor([[5, 6, 7, 8, 9]])
    with torch.no_grad():
        found: torch.Tensor = model(input_ids=ids).logits
    return found


CONFIGS = {
    "LoRA": LORA,
    "rank by layer": LoraConfig(
        r=2, target_modules=ATTENTION, rank_pattern={QUERY: 5}, use_rslora=True
    ),
    "DoRA": LoraConfig(r=2, target_modules=ATTENTION, use_dora=True),
    "whole modules": LoraConfig(r=2, target_modules=["q_proj"], modules_to_save=["norm"]),
    "LoHa": LoHaConfig(r=2, target_modules=["q_proj", "v_proj"]),
    "IA3": IA3Config(target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"]),
    "VeRA": VeraConfig(r=4, target_modules=["q_proj"]),
}


@pytest.mark.parametrize("kind", CONFIGS)
def test_an_adapter_is_merged_as_peft_merges_it(
    kind: str, brought: Path, save_adapter: Callable[[PeftConfig], Path]
) -> None:
    save_adapter(CONFIGS[kind])
    engine = load()
    wrapped = wrap()
    torch.testing.assert_close(logits(engine.model), logits(wrapped), rtol=1e-3, atol=1e-4)
    assert (logits(engine.model) - logits(load_plain(brought))).abs().max() > 1e-3
    want = wrapped.merge_and_unload().state_dict()
    got = engine.model.state_dict()
    assert want.keys() == got.keys()
    assert max((want[name] - got[name]).abs().max() for name in want) <= 1e-5


def test_the_engine_says_what_was_merged(save_adapter: Callable[[PeftConfig], Path]) -> None:
    save_adapter(CONFIGS["rank by layer"])
    engine = load()
    adapter = engine.origin.adapter
    assert adapter is not None
    assert (engine.source, engine.revision) == ("adapter", "local")
    assert (adapter.kind, adapter.base, adapter.rank, adapter.scale) == ("LoRA", "../brought", 5, 1)
    ranks = {module.path: module.rank for module in adapter.modules}
    assert ranks.pop(QUERY) == 5
    assert set(ranks.values()) == {2}
    assert set(ranks) <= {path for path, _ in engine.model.named_modules()}
    changed = {module.path: module.norm for module in adapter.modules}
    before, after = load("brought").model.state_dict(), engine.model.state_dict()
    assert {f"{path}.weight" for path in changed} == {
        name for name in before if not torch.equal(before[name], after[name])
    }
    for path, norm in changed.items():
        want = (after[f"{path}.weight"] - before[f"{path}.weight"]).norm()
        assert norm == pytest.approx(float(want), rel=1e-4)


def test_modules_that_are_stored_whole_are_named(
    save_adapter: Callable[[PeftConfig], Path],
) -> None:
    save_adapter(CONFIGS["whole modules"])
    adapter = load().origin.adapter
    assert adapter is not None
    assert "model.language_model.norm" in adapter.replaced


def test_a_kind_that_adds_no_matrix_has_no_norm(
    save_adapter: Callable[[PeftConfig], Path],
) -> None:
    save_adapter(CONFIGS["IA3"])
    adapter = load().origin.adapter
    assert adapter is not None
    assert adapter.kind == "IA3"
    assert all(math.isnan(module.norm) and module.rank == 0 for module in adapter.modules)


@pytest.mark.parametrize("scale", [0.0, 0.5, -1.0])
def test_a_lora_is_scaled_before_it_is_merged(
    scale: float, brought: Path, save_adapter: Callable[[PeftConfig], Path]
) -> None:
    save_adapter(LORA)
    base = load_plain(brought).state_dict()[f"{QUERY}.weight"]
    stored = load_file("adapter/adapter_model.safetensors")
    a, b = (stored[f"base_model.model.{QUERY}.lora_{name}.weight"] for name in "AB")
    got = load(adapter_scale=scale).model.state_dict()[f"{QUERY}.weight"]
    torch.testing.assert_close(got, base + scale * (6 / 2) * (b @ a))


@pytest.mark.parametrize("target", ["lm_head", "embed_tokens"])
def test_an_adapter_on_one_of_two_tied_matrices_changes_only_that_one(
    target: str, brought: Path, save_adapter: Callable[[PeftConfig], Path]
) -> None:
    save_adapter(LoraConfig(r=2, target_modules=[target], init_lora_weights=False))
    engine = load()
    assert not engine.facts.tied_embeddings
    torch.testing.assert_close(logits(engine.model), logits(wrap()), rtol=1e-3, atol=1e-4)
    base = load_plain(brought)
    assert base.lm_head.weight is base.get_input_embeddings().weight
    embeddings, head = engine.model.get_input_embeddings().weight, engine.model.lm_head.weight
    assert torch.equal(embeddings, base.lm_head.weight) is (target == "lm_head")
    assert torch.equal(head, base.lm_head.weight) is (target == "embed_tokens")


def test_every_stage_runs_on_an_adapter(
    brought: Path, save_adapter: Callable[[PeftConfig], Path]
) -> None:
    shutil.copy(brought / "config.json", save_adapter(LORA))  # some trainers write one beside it
    run = make_run(load(), "what is this", make_image(64, 64))
    run.ensure("decoder")
    assert run.check_parity().max_abs_diff == 0.0


def test_an_adapter_on_a_mixture_of_experts(
    tiny_random_moe_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wrapped = get_peft_model(load_plain(tiny_random_moe_folder), LORA)
        wrapped.save_pretrained("adapter")
    engine = load()  # the base is named by its absolute path
    torch.testing.assert_close(logits(engine.model), logits(wrapped.eval()), rtol=1e-3, atol=1e-4)


def test_half_precision_is_kept(save_adapter: Callable[[PeftConfig], Path]) -> None:
    save_adapter(LORA)
    engine = load(dtype="bfloat16")
    assert {weight.dtype for weight in engine.model.parameters()} == {torch.bfloat16}


def test_a_link_tells_adapters_of_one_name_apart(
    save_adapter: Callable[[PeftConfig], Path],
) -> None:
    # On a layer of which the mark hashes no weights.
    save_adapter(LoraConfig(r=2, target_modules=[QUERY], init_lora_weights=False))
    marks = {mark_checkpoint(load(adapter_scale=scale)) for scale in (1.0, 0.5)}
    assert len(marks) == 2
    assert mark_checkpoint(load()) in marks


# --------------------------------------------------------------------------- its base


def test_tiny_is_the_shipped_checkpoint(
    shipped_engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        get_peft_model(load_engine("tiny", device="cpu").model, LORA).save_pretrained("adapter")
    edit_json(Path("adapter/adapter_config.json"), base_model_name_or_path="tiny")
    engine = load()
    assert engine.dtype == shipped_engine.dtype
    assert engine.facts.num_layers == shipped_engine.facts.num_layers
    name = "model.language_model.embed_tokens.weight"
    assert torch.equal(engine.model.state_dict()[name], shipped_engine.model.state_dict()[name])


@pytest.mark.parametrize(
    ("base", "message"),
    [
        ("../lost", r"for \.\./lost, which is not on this machine\. Write the folder"),
        ("/data/models/base", r"for base, which is not on this machine\. Write the folder"),
        ("Qwen/Qwen3-VL-2B-Instruct", r"not on this machine\. Download it first: hf download Qwen"),
        ("modelscope:Qwen/X", r"Download it first: modelscope download --model Qwen/X"),
        (None, r"The adapter 'adapter' names no base\. Write the folder"),
    ],
)
def test_a_base_that_is_not_here_is_named(
    base: str | None,
    message: str,
    save_adapter: Callable[[PeftConfig], Path],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    save_adapter(LORA)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    edit_json(Path("adapter/adapter_config.json"), base_model_name_or_path=base)
    with pytest.raises(CheckpointError, match=message) as caught:
        load()
    assert "/data/models" not in str(caught.value)


def test_a_base_that_is_an_adapter_is_refused(save_adapter: Callable[[PeftConfig], Path]) -> None:
    copy_checkpoint(save_adapter(LORA), Path("second"))
    edit_json(Path("second/adapter_config.json"), base_model_name_or_path="../adapter")
    with pytest.raises(CheckpointError, match=r"for \.\./adapter, which is an adapter itself"):
        load("second")


def test_the_newest_checkpoint_of_a_training_run_may_be_an_adapter(
    save_adapter: Callable[[PeftConfig], Path],
) -> None:
    copy_checkpoint(save_adapter(LORA), Path("run/checkpoint-7"))
    edit_json(Path("run/checkpoint-7/adapter_config.json"), base_model_name_or_path="../../brought")
    assert load("run").origin.adapter is not None


# --------------------------------------------------------------------------- what is refused


def other_width(folder: Path, base: Path) -> None:
    stored = load_file(folder / "adapter_model.safetensors")
    wider = {name: torch.cat([weight, weight], dim=-1) for name, weight in stored.items()}
    save_file(wider, folder / "adapter_model.safetensors")


def more_layers(folder: Path, base: Path) -> None:
    stored = load_file(folder / "adapter_model.safetensors")
    more = {name.replace("layers.1.", "layers.9."): stored[name].clone() for name in stored}
    save_file(stored | more, folder / "adapter_model.safetensors")


def fewer_layers(folder: Path, base: Path) -> None:
    stored = load_file(folder / "adapter_model.safetensors")
    kept = {name: weight for name, weight in stored.items() if "layers.1." not in name}
    save_file(kept, folder / "adapter_model.safetensors")


def no_such_module(folder: Path, base: Path) -> None:
    edit_json(folder / "adapter_config.json", target_modules=["query_key_value"])


def unknown_kind(folder: Path, base: Path) -> None:
    edit_json(folder / "adapter_config.json", peft_type="NEXT_YEAR")


def replicated(folder: Path, base: Path) -> None:
    edit_json(folder / "adapter_config.json", layer_replication=[[0, 2], [1, 4]])


def activated(folder: Path, base: Path) -> None:
    edit_json(folder / "adapter_config.json", alora_invocation_tokens=[5])


def pickled(folder: Path, base: Path) -> None:
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")


def no_weights(folder: Path, base: Path) -> None:
    (folder / "adapter_model.safetensors").unlink()


def truncated(folder: Path, base: Path) -> None:
    path = folder / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])


def more_trained(folder: Path, base: Path) -> None:
    (folder / "non_lora_state_dict.bin").touch()


def other_model(folder: Path, base: Path) -> None:
    edit_config(base, model_type="qwen2_vl")


@pytest.mark.parametrize(
    ("breakage", "message"),
    [
        (other_width, r"cannot be merged into \.\./brought: .*size mismatch.* Check that base"),
        (more_layers, r"names modules that the base does not have \(4 tensors: .*layers\.9\."),
        (fewer_layers, r"lacks tensors for modules of the base \(4 tensors: .*layers\.1\."),
        (no_such_module, r"cannot be merged .*query_key_value.* not found"),
        (unknown_kind, r"cannot be merged into \.\./brought: .*NEXT_YEAR"),
        (replicated, r"\(LoRA\) cannot be merged: its layer_replication changes"),
        (activated, r"\(LoRA\) cannot be merged: an activated LoRA adds"),
        (pickled, r"has pickled weights only\. Needed is adapter_model\.safetensors"),
        (no_weights, r"'adapter' has no weights\. Needed is adapter_model\.safetensors"),
        (truncated, r"adapter_model\.safetensors of 'adapter' is truncated"),
        (more_trained, r"non_lora_state_dict\.bin beside it holds more trained weights"),
        (other_model, r"The checkpoint '\.\./brought' is a Qwen2-VL"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_an_adapter_that_does_not_fit_is_refused_in_words(
    breakage: Callable[[Path, Path], None],
    message: str,
    brought: Path,
    tmp_path: Path,
    save_adapter: Callable[[PeftConfig], Path],
) -> None:
    breakage(save_adapter(LORA), brought)
    with pytest.raises(CheckpointError, match=message) as caught:
        load()
    assert str(tmp_path) not in str(caught.value)


def test_trained_tokens_cannot_be_merged(save_adapter: Callable[[PeftConfig], Path]) -> None:
    folder = save_adapter(LORA)
    (folder / "adapter_config.json").unlink()
    PrefixTuningConfig(num_virtual_tokens=4).save_pretrained(folder)
    edit_json(folder / "adapter_config.json", base_model_name_or_path="../brought")
    with pytest.raises(CheckpointError, match=r"\(PREFIX_TUNING\) cannot be merged: it trains"):
        load()


def test_only_a_lora_is_scaled(save_adapter: Callable[[PeftConfig], Path]) -> None:
    save_adapter(CONFIGS["DoRA"])
    with pytest.raises(CheckpointError, match=r"of the kind DoRA; only a LoRA can be scaled"):
        load(adapter_scale=0.5)
