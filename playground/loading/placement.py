"""Device, dtype and attention implementation of the model."""

from __future__ import annotations

import re
from typing import Any

import torch
from transformers.utils.import_utils import is_flash_attn_2_available

from playground.errors import CheckpointError, InputError
from playground.language import say
from playground.loading.checkpoint_files import CheckpointFiles
from playground.model_facts import build_on_meta

DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
ATTENTIONS = ("sdpa", "eager", "flash_attention_2")

# Factor over the weights' size: room for activations, KV cache and the CUDA context on one GPU.
GPU_HEADROOM = 1.2


def choose_device(device: str) -> torch.device:
    """The device for a name; ``auto`` is the first available of cuda, mps and cpu.

    Raises:
        InputError: the device is unknown or not available.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", 0)
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    if not re.fullmatch(r"cpu|mps|cuda(:\d+)?", device):
        raise InputError(
            say("Unknown device {device!r}.", device=device),
            remedy=say("Choose auto, cpu, cuda, cuda:1 … or mps."),
        )
    chosen = torch.device(device)
    if chosen.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (chosen.index or 0) >= count:
            found = say("{count} CUDA GPU(s)", count=count) if count else say("no CUDA GPU")
            raise InputError(
                say(
                    "Device {device!r} is not there: PyTorch sees {found}.",
                    device=device,
                    found=found,
                ),
                remedy=say(
                    "Choose --device cpu or auto, or install the driver and a CUDA PyTorch."
                ),
            )
        return torch.device("cuda", chosen.index or 0)
    if chosen.type == "mps" and not torch.backends.mps.is_available():
        raise InputError(
            say("Device 'mps' is not there: it needs a Mac with Apple silicon."),
            remedy=say("Choose --device cpu or auto."),
        )
    return chosen


def check_placement(dtype: str, attn: str, device: torch.device) -> None:
    """Refuse a dtype or attention implementation that is unknown or does not run on the device."""
    if dtype != "auto" and dtype not in DTYPES:
        raise InputError(
            say("Unknown dtype {dtype!r}.", dtype=dtype),
            remedy=say("Choose auto, {choices}.", choices=", ".join(DTYPES)),
        )
    if attn not in ATTENTIONS:
        raise InputError(
            say("Unknown attention {attn!r}.", attn=attn),
            remedy=say("Choose {choices}.", choices=", ".join(ATTENTIONS)),
        )
    if attn == "flash_attention_2" and device.type != "cuda":
        raise InputError(
            say("flash_attention_2 runs on CUDA GPUs only."), remedy=say("Choose sdpa or eager.")
        )
    if attn == "flash_attention_2" and not is_flash_attn_2_available():
        raise InputError(
            say("flash_attention_2 needs the package flash-attn, which is not installed."),
            remedy=say("Install it, or choose sdpa."),
        )


def choose_dtype(
    dtype: str, files: CheckpointFiles, device: torch.device, *, attn: str, shipped: bool
) -> torch.dtype:
    """The dtype to load: the stored one, but float32 for the shipped checkpoint on a CPU."""
    if dtype != "auto":
        chosen = DTYPES[dtype]
    elif device.type == "cpu" and (shipped or files.stored_dtype == torch.float16):
        # float16 on a CPU is slow and overflows early; float32 represents the same numbers exactly.
        chosen = torch.float32
    else:
        chosen = files.stored_dtype if files.stored_dtype != torch.float64 else torch.float32
    if attn == "flash_attention_2" and chosen == torch.float32:
        raise InputError(
            say("flash_attention_2 does not compute in float32."),
            remedy=say("Choose bfloat16, or sdpa."),
        )
    return chosen


def count_weight_bytes(files: CheckpointFiles, config: Any, dtype: torch.dtype) -> int:
    """Bytes that the weights take as plain matrices of a dtype, whatever they are stored as."""
    if not files.quantization:
        return files.count_bytes(dtype)
    return sum(weight.numel() for weight in build_on_meta(config).parameters()) * dtype.itemsize


def choose_device_map(
    asked: str, device: torch.device, weight_bytes: int, dtype: torch.dtype
) -> str | dict[str, str] | None:
    """``None`` for the CPU, one device, or ``"auto"`` over several GPUs.

    Args:
        asked: the device as the user gave it.
        device: of ``choose_device``.
        weight_bytes: that the weights will take there.
        dtype: for the message.
    """
    if device.type != "cuda":
        return None if device.type == "cpu" else {"": str(device)}
    needed = int(weight_bytes * GPU_HEADROOM)
    free = [torch.cuda.mem_get_info(index)[0] for index in range(torch.cuda.device_count())]
    if needed <= free[device.index]:
        return {"": str(device)}
    if asked == "auto" and needed <= sum(free):
        return "auto"
    room = sum(free) if asked == "auto" else free[device.index]
    raise CheckpointError(
        say(
            "The weights need about {needed:.1f} GB as {dtype}; {free:.1f} GB of GPU memory are "
            "free.",
            needed=needed / 1e9,
            free=room / 1e9,
            dtype=str(dtype).removeprefix("torch."),
        ),
        remedy=say("Choose --dtype bfloat16, a smaller checkpoint, --device auto or --device cpu."),
    )


def unify_dtype(model: Any, dtype: torch.dtype) -> None:
    """Bring a dequantised checkpoint's other weights to the chosen dtype.

    transformers 5.23 left the embeddings, norms and vision tower of an FP8 checkpoint in the stored
    dtype, so that the first product of the two failed; 5.24 casts them, too, in a dense checkpoint
    (a mixture of experts was not tried).
    """
    for weight in model.parameters():
        if weight.is_floating_point():  # buffers such as RoPE's frequencies stay in float32
            weight.data = weight.data.to(dtype)
