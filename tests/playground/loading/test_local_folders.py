"""Folders that hold a checkpoint one level down, and folders that hold none."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from playground.errors import CheckpointError
from playground.loading.load import load_engine
from tests.playground.loading.edits import copy_checkpoint

COMMITS = ("1" * 40, "2" * 40)


def load(source: str) -> str:
    """Load a source; the name of the folder's marker, which each copy below has of its own."""
    engine = load_engine(source, device="cpu")
    assert engine.source == source
    return Path(engine.tokenizer.name_or_path).name


def make_cache(checkpoint: Path, *, main: str | None, commits: tuple[str, ...] = COMMITS) -> Path:
    """A repository as huggingface_hub keeps it."""
    cache = Path("hub/models--owner--name")
    for commit in commits:
        copy_checkpoint(checkpoint, cache / "snapshots" / commit)
    (cache / "blobs").mkdir(parents=True)
    (cache / "refs").mkdir()
    if main:
        (cache / "refs" / "main").write_text(main)
    return cache


@pytest.mark.parametrize("main", COMMITS)
def test_a_cache_folder_means_its_main_branch(brought: Path, main: str) -> None:
    cache = make_cache(brought, main=main)
    assert load(str(cache)) == main
    assert load("hub") == main  # the only repository in the cache


def test_the_only_snapshot_needs_no_branch(brought: Path) -> None:
    cache = make_cache(brought, main=None, commits=COMMITS[:1])
    assert load(str(cache)) == COMMITS[0]


def test_of_several_snapshots_the_newest_is_named(brought: Path) -> None:
    cache = make_cache(brought, main=None)
    os.utime(cache / "snapshots" / COMMITS[1], (0, 0))
    with pytest.raises(CheckpointError, match=r"holds 2 checkpoints") as caught:
        load(str(cache))
    assert caught.value.remedy == f"The newest is: --model {cache}/snapshots/{COMMITS[0]}"


def test_a_cache_folder_without_a_snapshot(brought: Path) -> None:
    cache = make_cache(brought, main=COMMITS[0], commits=())
    (cache / "snapshots").mkdir()
    with pytest.raises(CheckpointError, match=r"without a snapshot\. Finish the download"):
        load(str(cache))


def test_of_several_repositories_one_must_be_chosen(brought: Path) -> None:
    make_cache(brought, main=COMMITS[0])
    Path("hub/models--x--name/snapshots").mkdir(parents=True)
    with pytest.raises(CheckpointError, match=r"--model hub/models--owner--name"):
        load("hub")


def test_the_only_checkpoint_of_a_training_run_is_used(brought: Path) -> None:
    copy_checkpoint(brought, Path("run/checkpoint-500"))
    Path("run/runs").mkdir()
    Path("run/trainer_state.json").write_text("{}")
    assert load("run/") == "checkpoint-500"


def test_of_several_checkpoints_the_newest_is_named(brought: Path) -> None:
    for step in (500, 1000, 90):
        copy_checkpoint(brought, Path(f"run/checkpoint-{step}"))
    with pytest.raises(CheckpointError) as caught:
        load("run")
    assert "'run' holds 3 checkpoints: checkpoint-90, checkpoint-500, " in str(caught.value)
    assert caught.value.remedy == "The newest is: --model run/checkpoint-1000"


def test_a_finished_run_is_its_own_checkpoint(brought: Path) -> None:
    for step in (500, 1000):
        copy_checkpoint(brought, brought / f"checkpoint-{step}")
    assert load("brought") == "brought"


def test_a_folder_around_a_checkpoint_is_the_checkpoint(brought: Path) -> None:
    Path("unpacked").mkdir()
    shutil.move(brought, "unpacked/Qwen3-VL-2B-Instruct")
    assert load("unpacked") == "Qwen3-VL-2B-Instruct"


# --------------------------------------------------------------------------- other formats


def gguf(folder: Path) -> None:
    (folder / "Qwen3-VL-2B-Q4_K_M.gguf").write_bytes(b"GGUF")


def onnx(folder: Path) -> None:
    (folder / "onnx").mkdir()
    (folder / "onnx" / "decoder_model_merged.onnx").write_bytes(b"")


def openvino(folder: Path) -> None:
    (folder / "openvino_language_model.xml").write_text("<net/>")


def zero(folder: Path) -> None:
    (folder / "zero_to_fp32.py").write_text("")
    (folder / "global_step100").mkdir()


def fsdp(folder: Path) -> None:
    (folder / "pytorch_model_fsdp_0").mkdir()
    (folder / "pytorch_model_fsdp_0" / "__0_0.distcp").write_bytes(b"")


@pytest.mark.parametrize("has_config", [True, False])
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (gguf, r"holds GGUF weights, which llama\.cpp reads .* Give the checkpoint"),
        (onnx, r"is an export for ONNX"),
        (openvino, r"is an export for OpenVINO"),
        (zero, r"DeepSpeed's shards .* run: python zero_to_fp32\.py \. \. --safe_serialization"),
        (fsdp, r"FSDP's shards .* accelerate merge-weights brought/pytorch_model_fsdp_0 OUTPUT"),
    ],
)
def test_a_folder_of_another_format_is_named(
    brought: Path, make: object, message: str, has_config: bool
) -> None:
    (brought / "model.safetensors").unlink()
    if not has_config:
        (brought / "config.json").unlink()
    assert callable(make)
    make(brought)
    with pytest.raises(CheckpointError, match=message):
        load("brought")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("brought/config.json", r"is a file, not a folder\. .* --model brought$"),
        ("weights.safetensors", r"is a file, not a folder\. .* --model \.$"),
        ("model.Q8_0.gguf", r"holds GGUF weights"),
        ("qwen.tar.gz", r"is a file, not a folder\. Unpack it"),
    ],
)
def test_a_file_is_no_folder(brought: Path, name: str, message: str) -> None:
    assert brought.is_dir()
    Path(name).touch()
    with pytest.raises(CheckpointError, match=message):
        load(name)
