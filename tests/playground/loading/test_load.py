"""Loading: what comes out, and what is said about folders that are no Qwen3-VL."""

from __future__ import annotations

import json
import pickle
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageTextToText

from playground.engine import Engine
from playground.errors import CheckpointError, InputError, StageCancelled
from playground.loading import load as loading
from playground.loading.checkpoint_files import check_checkpoint
from playground.loading.load import SHIPPED, load_engine
from playground.model_facts import QWEN3_VL_2B


@pytest.fixture
def copied(tiny_random_folder: Path, tmp_path: Path) -> Path:
    """A copy of the random checkpoint that a test may break."""
    return Path(shutil.copytree(tiny_random_folder, tmp_path / "copied"))


def edit_json(path: Path, **changes: Any) -> None:
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | changes))


def edit_text_config(folder: Path, **changes: Any) -> None:
    text = json.loads((folder / "config.json").read_text())["text_config"]
    edit_json(folder / "config.json", text_config=text | changes)


def load(folder: Path, **options: Any) -> Engine:
    return load_engine(folder, device="cpu", **options)


# --------------------------------------------------------------------------- what comes out


def test_the_shipped_checkpoint_is_the_default() -> None:
    engine = load_engine(device="cpu")
    assert engine.source == "tiny"
    assert engine.revision == "local"
    assert engine.dtype == torch.float32
    assert engine.facts.model_type == "qwen3_vl"
    assert len(engine.facts.deepstack_visual_indexes) >= 3


def test_the_model_is_frozen_and_padding_is_on_the_left(engine: Engine) -> None:
    assert not engine.model.training
    assert not any(weight.requires_grad for weight in engine.model.parameters())
    assert engine.tokenizer.padding_side == "left"
    batch = engine.tokenizer(["a", "a longer row"], padding=True)["attention_mask"]
    assert batch[0][0] == 0
    assert batch[0][-1] == 1


@pytest.mark.parametrize("fixture", ["tiny_random_folder", "tiny_random_moe_folder"])
def test_weights_are_those_that_plain_transformers_loads(
    fixture: str, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(fixture)
    plain = AutoModelForImageTextToText.from_pretrained(folder, local_files_only=True)
    ours = load(folder).model
    want = plain.state_dict()
    got = ours.state_dict()
    assert type(ours) is type(plain)
    assert want.keys() == got.keys()
    assert all(torch.equal(want[name], got[name]) for name in want)


def test_both_model_types_are_told_apart(
    tiny_random_engine: Engine, tiny_random_moe_engine: Engine
) -> None:
    assert type(tiny_random_engine.model).__name__ == "Qwen3VLForConditionalGeneration"
    assert type(tiny_random_moe_engine.model).__name__ == "Qwen3VLMoeForConditionalGeneration"
    assert tiny_random_engine.facts.tied_embeddings
    assert not tiny_random_moe_engine.facts.tied_embeddings


def test_shards_are_loaded_through_their_index(tiny_random_engine: Engine, copied: Path) -> None:
    (copied / "model.safetensors").unlink()
    tiny_random_engine.model.save_pretrained(copied, max_shard_size="100KB")
    assert len(list(copied.glob("*.safetensors"))) > 2
    got = load(copied).model.state_dict()
    assert all(
        torch.equal(want, got[name]) for name, want in tiny_random_engine.model.state_dict().items()
    )


@pytest.mark.parametrize(
    ("stored", "asked", "want"),
    [
        (torch.float32, "auto", torch.float32),
        (torch.bfloat16, "auto", torch.bfloat16),
        (torch.float16, "auto", torch.float32),  # exact, and float16 is slow on a CPU
        (torch.bfloat16, "float32", torch.float32),
        (torch.float32, "bfloat16", torch.bfloat16),
        (torch.float32, "float16", torch.float16),
    ],
)
def test_dtype(copied: Path, stored: torch.dtype, asked: str, want: torch.dtype) -> None:
    weights = load_file(copied / "model.safetensors")
    weights = {name: weight.to(stored) for name, weight in weights.items()}
    save_file(weights, copied / "model.safetensors", {"format": "pt"})
    engine = load(copied, dtype=asked)
    assert engine.dtype == want
    assert {weight.dtype for weight in engine.model.parameters()} == {want}


@pytest.mark.parametrize("attn", ["sdpa", "eager"])
def test_attention_reaches_both_halves_of_the_model(tiny_random_folder: Path, attn: str) -> None:
    engine = load(tiny_random_folder, attn=attn)
    assert engine.attn == attn
    assert engine.model.model.visual.config._attn_implementation == attn
    assert engine.model.model.language_model.config._attn_implementation == attn


def test_progress_goes_through_every_stage(tiny_random_folder: Path) -> None:
    calls: list[tuple[str, int, int]] = []
    engine = load(tiny_random_folder, on_progress=lambda *call: calls.append(call))
    stages = list(dict.fromkeys(what for what, _, _ in calls))
    assert stages == [
        "Reading the config",
        "Loading the processor",
        "Loading the weights",
        "Ready",
    ]
    weights = [call for call in calls if call[0] == "Loading the weights"]
    num_tensors = len(list(engine.model.parameters()))
    assert weights[-1] == ("Loading the weights", num_tensors, num_tensors)
    assert [done for _, done, _ in weights] == sorted(done for _, done, _ in weights)


def test_loading_can_be_stopped(tiny_random_folder: Path) -> None:
    def stop(what: str, done: int, total: int) -> None:
        if what == "Loading the weights" and done == 3:
            raise StageCancelled

    with pytest.raises(StageCancelled):
        load(tiny_random_folder, on_progress=stop)
    assert load(tiny_random_folder).model is not None


@pytest.mark.parametrize("source", ["tiny", "random"])
def test_a_local_checkpoint_never_touches_the_network(
    source: str, tiny_random_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    engine = load_engine("tiny" if source == "tiny" else tiny_random_folder, device="cpu")
    assert engine.revision == "local"


def test_a_folder_named_like_a_hub_id_is_local(
    tiny_random_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tiny_random_folder, tmp_path / "owner" / "name")
    monkeypatch.chdir(tmp_path)
    assert load_engine("owner/name", device="cpu").revision == "local"


def test_a_chat_template_in_the_tokenizer_config_is_enough(copied: Path) -> None:
    template = (copied / "chat_template.jinja").read_text()
    (copied / "chat_template.jinja").unlink()
    edit_json(copied / "tokenizer_config.json", chat_template=template)
    assert load(copied).processor.chat_template == template


# --------------------------------------------------------------------------- what is refused


def no_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def empty_folder(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def no_folder(folder: Path) -> None:
    shutil.rmtree(folder)


def a_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_bytes(b"weights")


def config_is_no_json(folder: Path) -> None:
    (folder / "config.json").write_text("model_type: qwen3_vl")


def config_is_binary(folder: Path) -> None:
    (folder / "config.json").write_bytes(b"\xff\xfe\x00")


def config_is_a_list(folder: Path) -> None:
    (folder / "config.json").write_text("[]")


def bert(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "bert", "hidden_size": 768}')


def qwen2_vl(folder: Path) -> None:
    edit_json(folder / "config.json", model_type="qwen2_vl")


def qwen3_text(folder: Path) -> None:
    edit_json(folder / "config.json", model_type="qwen3")


def no_model_type(folder: Path) -> None:
    (folder / "config.json").write_text("{}")


def no_vision_config(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    del config["vision_config"]
    (folder / "config.json").write_text(json.dumps(config))


def hidden_size_in_words(folder: Path) -> None:
    edit_text_config(folder, hidden_size="sixty-four")


def no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def pickled_weights(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def lost_shard(folder: Path) -> None:
    names = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors").rename(folder / names["a"])
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))


def index_without_map(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text("{}")


def index_that_points_outside(folder: Path) -> None:
    outside = folder.parent / "model.safetensors"
    (folder / "model.safetensors").rename(outside)
    weight_map = {"a": "../model.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))


def truncated_weights(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])


def truncated_header(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:100])


def empty_weights(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"")


def garbled_header(folder: Path) -> None:
    path = folder / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[8:12] = b"????"
    path.write_bytes(data)


def lfs_pointer(folder: Path) -> None:
    text = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    (folder / "model.safetensors").write_text(text)


def no_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def broken_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text('{"version": "1.0"}')


def no_image_processor(folder: Path) -> None:
    (folder / "preprocessor_config.json").unlink()
    (folder / "processor_config.json").unlink(missing_ok=True)


def no_chat_template(folder: Path) -> None:
    (folder / "chat_template.jinja").unlink()


def foreign_tokenizer(folder: Path) -> None:
    edit_json(folder / "config.json", image_token_id=7)


def small_vocabulary(folder: Path) -> None:
    edit_text_config(folder, vocab_size=100)


def lost_tensor(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["model.visual.pos_embed.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def wider_config(folder: Path) -> None:
    edit_text_config(folder, intermediate_size=128)


def deeper_config(folder: Path) -> None:
    edit_text_config(folder, num_hidden_layers=5)


def shallower_config(folder: Path) -> None:
    edit_text_config(folder, num_hidden_layers=3)


BREAKAGES: list[tuple[Callable[[Path], None], str]] = [
    (no_folder, r"There is no folder 'broken'"),
    (a_file, r"'broken' is a file, not a folder"),
    (empty_folder, r"'broken' is an empty folder\. Needed is a folder with a Qwen3-VL's"),
    (no_config, r"'broken' has no config\.json\. Needed is"),
    (config_is_no_json, r"config\.json of 'broken' cannot be read: not valid JSON"),
    (config_is_binary, r"config\.json of 'broken' cannot be read: not valid JSON"),
    (config_is_a_list, r"'broken' cannot be read: it holds a list, not an object"),
    (bert, r"is of model_type 'bert'\. Needed is"),
    (qwen2_vl, r"is a Qwen2-VL: another vision tower, no DeepStack\. Needed is"),
    (qwen3_text, r"is a text-only Qwen3: no vision tower\. Needed is"),
    (no_model_type, r"is without a model_type\. Needed is"),
    (no_vision_config, r"config\.json of 'broken' has no vision_config"),
    (
        hidden_size_in_words,
        r"is no valid Qwen3-VL configuration: .*'hidden_size'.*expected int",
    ),
    (no_weights, r"'broken' has no weights\. Needed is model\.safetensors"),
    (pickled_weights, r"'broken' has pickled weights only"),
    (lost_shard, r"'broken' lacks 1 of 2 weight files: model-00002-of-00002\.safetensors"),
    (index_without_map, r"model\.safetensors\.index\.json of 'broken' has no weight_map"),
    (index_that_points_outside, r"names files outside the folder"),
    (truncated_weights, r"model\.safetensors of 'broken' is truncated: [\d,]+ of [\d,]+ bytes"),
    (truncated_header, r"model\.safetensors of 'broken' is truncated or no safetensors file"),
    (empty_weights, r"is truncated or no safetensors file \(0 bytes\)"),
    (garbled_header, r"model\.safetensors of 'broken' is no safetensors file"),
    (lfs_pointer, r"is a Git LFS pointer, not the file itself\. In that folder, run: git lfs pull"),
    (no_tokenizer, r"'broken' has no tokenizer\. Needed is tokenizer\.json"),
    (broken_tokenizer, r"The processor of 'broken' cannot be loaded"),
    (no_image_processor, r"'broken' has no image processor settings\. Needed is"),
    (no_chat_template, r"'broken' has no chat template"),
    (foreign_tokenizer, r"disagree: <\|image_pad\|> is \d+, not 7"),
    (small_vocabulary, r"has [\d,]+ tokens, the model 100"),
    (lost_tensor, r"lack tensors of the model \(1: model\.visual\.pos_embed\.weight\)"),
    (
        wider_config,
        r"have another shape .* \(12: .*mlp\.down_proj\.weight \(64, 96\) for \(64, 128\)",
    ),
    (
        deeper_config,
        r"lack tensors of the model \(11: model\.language_model\.layers\.4",
    ),
    (
        shallower_config,
        r"hold layers that its config\.json does not know \(11: ",
    ),
]


@pytest.mark.parametrize(
    ("breakage", "message"), BREAKAGES, ids=lambda x: getattr(x, "__name__", "")
)
def test_broken_and_foreign_folders_are_refused_in_words(
    breakage: Callable[[Path], None],
    message: str,
    tiny_random_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = Path(shutil.copytree(tiny_random_folder, tmp_path / "broken"))
    breakage(folder)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_engine("broken", device="cpu")
    # Nothing beyond what was typed: not where the folder lies.
    assert str(tmp_path) not in str(caught.value)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


@pytest.mark.parametrize(
    "breakage",
    [no_config, bert, qwen2_vl, no_weights, lost_shard, truncated_weights, no_tokenizer],
)
def test_the_first_look_reads_no_weights(
    breakage: Callable[[Path], None], copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    breakage(copied)
    monkeypatch.setattr(loading, "load_model", None)
    monkeypatch.setattr(loading, "load_processor", None)
    with pytest.raises(CheckpointError):
        load(copied)


def test_the_first_look_counts_parameters(tiny_random_engine: Engine, copied: Path) -> None:
    files = check_checkpoint(copied, "copied")
    assert files.num_floats == tiny_random_engine.model.num_parameters()
    assert files.stored_dtype == torch.float32
    assert files.model_type == "qwen3_vl"


def test_a_configuration_without_weights_is_refused() -> None:
    with pytest.raises(CheckpointError, match="has no tokenizer"):
        load(QWEN3_VL_2B)


def test_a_tensor_that_nothing_needs_does_no_harm(copied: Path) -> None:
    weights = load_file(copied / "model.safetensors")
    save_file(weights | {"extra": torch.ones(2)}, copied / "model.safetensors", {"format": "pt"})
    assert load(copied).facts.num_layers == 4


# --------------------------------------------------------------------------- settings


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "gpu"}, r"Unknown device 'gpu'\. Choose auto, cpu"),
        ({"device": "cuda:x"}, r"Unknown device 'cuda:x'"),
        ({"device": "cuda"}, r"Device 'cuda' is not there: PyTorch sees no CUDA GPU"),
        ({"device": "mps"}, r"Device 'mps' is not there: it needs a Mac"),
        ({"dtype": "int8"}, r"Unknown dtype 'int8'\. Choose auto, float32, bfloat16, float16"),
        ({"attn": "flex"}, r"Unknown attention 'flex'\. Choose sdpa, eager"),
        ({"attn": "flash_attention_2"}, r"flash_attention_2 runs on CUDA GPUs only"),
    ],
)
def test_settings_that_cannot_be_are_refused_first(
    options: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(InputError, match=message):
        load_engine("no/folder/at all", **({"device": "cpu"} | options))


def test_shipped_checkpoint_is_where_the_package_is() -> None:
    assert SHIPPED.is_dir()
    assert SHIPPED.parts[-3:] == ("playground", "checkpoints", "tiny")
