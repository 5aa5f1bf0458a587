"""Device, dtype and device map, on GPUs that are only imagined."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from playground.errors import CheckpointError, InputError
from playground.loading.checkpoint_files import CheckpointFiles
from playground.loading.placement import (
    check_placement,
    choose_device,
    choose_device_map,
    choose_dtype,
)

GB = 1_000_000_000
CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)


def make_files(num_floats: int = 2 * GB, dtype: torch.dtype = torch.bfloat16) -> CheckpointFiles:
    return CheckpointFiles(Path(), "qwen3_vl", num_floats, dtype)


def place(
    asked: str, device: torch.device, dtype: torch.dtype, num_floats: int = 2 * GB
) -> str | dict[str, str] | None:
    weight_bytes = make_files(num_floats).count_bytes(dtype)
    return choose_device_map(asked, device, weight_bytes, dtype)


def imagine_gpus(monkeypatch: pytest.MonkeyPatch, *free_bytes: int) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(free_bytes))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(free_bytes))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda index: (free_bytes[index], 0))


@pytest.mark.parametrize(
    ("gpus", "mps", "want"),
    [
        ((GB,), True, torch.device("cuda", 0)),
        ((), True, torch.device("mps")),
        ((), False, torch.device("cpu")),
    ],
)
def test_auto_prefers_cuda_then_mps_then_cpu(
    gpus: tuple[int, ...], mps: bool, want: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    imagine_gpus(monkeypatch, *gpus)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert choose_device("auto") == want


def test_a_gpu_is_chosen_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    imagine_gpus(monkeypatch, GB, GB)
    assert choose_device("cuda") == torch.device("cuda", 0)
    assert choose_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(InputError, match=r"'cuda:2' is not there: PyTorch sees 2 CUDA GPU"):
        choose_device("cuda:2")


@pytest.mark.parametrize(
    ("asked", "device", "stored", "shipped", "want"),
    [
        ("auto", CPU, torch.float32, True, torch.float32),
        ("auto", CPU, torch.bfloat16, True, torch.float32),
        ("auto", CPU, torch.bfloat16, False, torch.bfloat16),
        ("auto", CPU, torch.float16, False, torch.float32),
        ("auto", CUDA, torch.bfloat16, True, torch.bfloat16),
        ("auto", CUDA, torch.float16, False, torch.float16),
        ("auto", CUDA, torch.float64, False, torch.float32),
        ("float16", CUDA, torch.bfloat16, False, torch.float16),
    ],
)
def test_auto_keeps_what_is_stored(
    asked: str, device: torch.device, stored: torch.dtype, shipped: bool, want: torch.dtype
) -> None:
    got = choose_dtype(asked, make_files(dtype=stored), device, attn="sdpa", shipped=shipped)
    assert got == want


def test_flash_attention_needs_its_package_and_half_precision(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("playground.loading.placement.is_flash_attn_2_available", lambda: False)
    with pytest.raises(InputError, match="needs the package flash-attn"):
        check_placement("auto", "flash_attention_2", CUDA)
    monkeypatch.setattr("playground.loading.placement.is_flash_attn_2_available", lambda: True)
    check_placement("auto", "flash_attention_2", CUDA)
    with pytest.raises(InputError, match="does not compute in float32"):
        choose_dtype("float32", make_files(), CUDA, attn="flash_attention_2", shipped=False)


def test_one_gpu_takes_a_model_that_fits_with_headroom(monkeypatch: pytest.MonkeyPatch) -> None:
    # 2 G parameters of 2 bytes are 4 GB, with a fifth on top 4.8 GB.
    imagine_gpus(monkeypatch, int(4.8 * GB))
    want = {"": "cuda:0"}
    assert place("auto", CUDA, torch.bfloat16) == want
    imagine_gpus(monkeypatch, int(4.79 * GB))
    with pytest.raises(CheckpointError, match=r"need about 4\.8 GB as bfloat16; 4\.8 GB of GPU"):
        place("auto", CUDA, torch.bfloat16)


def test_several_gpus_share_a_model_only_when_one_is_too_small(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    imagine_gpus(monkeypatch, 5 * GB, 5 * GB)
    assert place("auto", CUDA, torch.bfloat16) == {"": "cuda:0"}
    assert place("auto", CUDA, torch.float32) == "auto"
    with pytest.raises(CheckpointError, match=r"9\.6 GB as float32; 5\.0 GB"):
        place("cuda:0", CUDA, torch.float32)
    with pytest.raises(CheckpointError, match=r"12\.0 GB as bfloat16; 10\.0 GB"):
        place("auto", CUDA, torch.bfloat16, 5 * GB)


def test_cpu_and_mps_need_no_memory_check() -> None:
    assert place("auto", CPU, torch.float32, 10**12) is None
    mps = torch.device("mps")
    assert place("auto", mps, torch.float32, 10**12) == {"": "mps"}
