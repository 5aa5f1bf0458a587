"""Checkpoint → ``Engine``: find it, check it, load processor and weights, report the progress.

A local checkpoint never touches the network. Messages name the source as the user typed it, and
no other path.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForImageTextToText,
    AutoProcessor,
    PreTrainedConfig,
    PreTrainedModel,
    ProcessorMixin,
)
from transformers.utils import is_flash_attn_2_available
from transformers.utils import logging as transformers_logging

from playground.checkpoint_files import NEEDED, CheckpointFiles, check_checkpoint
from playground.engine import Engine
from playground.errors import CheckpointError, InputError, PlaygroundError
from playground.model_facts import CHECKPOINTS, describe_config, load_config
from playground.records import Progress

SHIPPED = CHECKPOINTS / "tiny"
"""The checkpoint that comes with the repository."""

DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
ATTENTIONS = ("sdpa", "eager", "flash_attention_2")

# Weights that must fit beside activations, KV cache and the CUDA context on one GPU.
GPU_HEADROOM = 1.2


def load_engine(
    source: str | Path = "tiny",
    *,
    device: str = "auto",
    dtype: str = "auto",
    attn: str = "sdpa",
    on_progress: Progress | None = None,
) -> Engine:
    """Load a Qwen3-VL checkpoint.

    Args:
        source: ``"tiny"`` for the shipped checkpoint, a local folder, a Hub id ``owner/name``, or
            ``modelscope:owner/name``.
        device: ``auto`` (cuda, mps, cpu, in this order), ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        dtype: ``auto`` keeps what is stored (the shipped checkpoint on a CPU: float32), or
            ``float32``, ``bfloat16``, ``float16``.
        attn: ``sdpa``, ``eager`` or ``flash_attention_2``.
        on_progress: called as ``on_progress(what, done, total)``.

    Raises:
        CheckpointError: the checkpoint is missing, partial, foreign or out of reach.
        InputError: a device, dtype or attention that is not there.
    """
    report = on_progress or _ignore_progress
    source = str(source)
    target = _choose_device(device)
    _check_settings(dtype, attn, target)
    report("Reading the config", 0, 1)
    folder, revision = _find_folder(source, report)
    files = check_checkpoint(folder, source)
    model_dtype = _choose_dtype(dtype, files, target, shipped=folder == SHIPPED)
    if attn == "flash_attention_2" and model_dtype == torch.float32:
        raise InputError(
            "flash_attention_2 does not compute in float32.", remedy="Choose bfloat16, or sdpa."
        )
    config = _read_config(folder, source)
    report("Loading the processor", 0, 1)
    processor = _load_processor(folder, source, config)
    device_map = _choose_device_map(device, target, files, model_dtype)
    model = _load_model(
        folder, source, dtype=model_dtype, attn=attn, device_map=device_map, report=report
    )
    report("Ready", 1, 1)
    return Engine(
        model=model,
        processor=processor,
        facts=describe_config(model.config),
        source=source,
        revision=revision,
        attn=attn,
    )


def _ignore_progress(what: str, done: int, total: int) -> None:
    del what, done, total


def _find_folder(source: str, report: Progress) -> tuple[Path, str]:
    """The local folder of a source, downloaded first where need be, and its revision."""
    if source == "tiny":
        return SHIPPED, "local"
    return Path(source).expanduser(), "local"


# --------------------------------------------------------------------------- settings


def _choose_device(device: str) -> torch.device:
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", 0)
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    if not re.fullmatch(r"cpu|mps|cuda(:\d+)?", device):
        raise InputError(
            f"Unknown device {device!r}.", remedy="Choose auto, cpu, cuda, cuda:1 … or mps."
        )
    chosen = torch.device(device)
    if chosen.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (chosen.index or 0) >= count:
            found = f"{count} GPU{'s' if count != 1 else ''}" if count else "no CUDA GPU"
            raise InputError(
                f"Device {device!r} is not there: PyTorch sees {found}.",
                remedy="Choose --device cpu or auto, or install the driver and a CUDA PyTorch.",
            )
        return torch.device("cuda", chosen.index or 0)
    if chosen.type == "mps" and not torch.backends.mps.is_available():
        raise InputError(
            "Device 'mps' is not there: it needs a Mac with Apple silicon.",
            remedy="Choose --device cpu or auto.",
        )
    return chosen


def _check_settings(dtype: str, attn: str, device: torch.device) -> None:
    if dtype != "auto" and dtype not in DTYPES:
        raise InputError(f"Unknown dtype {dtype!r}.", remedy=f"Choose auto, {', '.join(DTYPES)}.")
    if attn not in ATTENTIONS:
        raise InputError(f"Unknown attention {attn!r}.", remedy=f"Choose {', '.join(ATTENTIONS)}.")
    if attn == "flash_attention_2" and device.type != "cuda":
        raise InputError(
            "flash_attention_2 runs on CUDA GPUs only.", remedy="Choose sdpa or eager."
        )
    if attn == "flash_attention_2" and not is_flash_attn_2_available():
        raise InputError(
            "flash_attention_2 needs the package flash-attn, which is not installed.",
            remedy="Install it, or choose sdpa.",
        )


def _choose_dtype(
    dtype: str, files: CheckpointFiles, device: torch.device, *, shipped: bool
) -> torch.dtype:
    if dtype != "auto":
        return DTYPES[dtype]
    on_cpu = device.type == "cpu"
    # float16 on a CPU is slow and overflows early; float32 holds the same numbers exactly.
    if on_cpu and (shipped or files.stored_dtype == torch.float16):
        return torch.float32
    return files.stored_dtype if files.stored_dtype != torch.float64 else torch.float32


def _choose_device_map(
    asked: str, device: torch.device, files: CheckpointFiles, dtype: torch.dtype
) -> str | dict[str, str] | None:
    """``None`` for the CPU, one device, or ``"auto"`` over several GPUs."""
    if device.type != "cuda":
        return None if device.type == "cpu" else {"": str(device)}
    needed = int(files.num_parameters * dtype.itemsize * GPU_HEADROOM)
    free = [torch.cuda.mem_get_info(index)[0] for index in range(torch.cuda.device_count())]
    if needed <= free[device.index]:
        return {"": str(device)}
    if asked == "auto" and needed <= sum(free):
        return "auto"
    room = sum(free) if asked == "auto" else free[device.index]
    raise CheckpointError(
        f"The weights need about {needed / 1e9:.1f} GB as {str(dtype).removeprefix('torch.')}; "
        f"{room / 1e9:.1f} GB of GPU memory are free.",
        remedy="Choose --dtype bfloat16, a smaller checkpoint, --device auto or --device cpu.",
    )


# --------------------------------------------------------------------------- loading


def _read_config(folder: Path, source: str) -> PreTrainedConfig:
    try:
        return load_config(folder)
    except Exception as error:  # a strict dataclass per field: the kinds are transformers' own
        raise CheckpointError(
            f"config.json of {source!r} is no valid Qwen3-VL configuration: {_first_line(error)}",
            remedy="Compare it with the one published with the model.",
        ) from error


def _load_processor(folder: Path, source: str, config: PreTrainedConfig) -> ProcessorMixin:
    try:
        processor: Any = AutoProcessor.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    except Exception as error:  # tokenizers raises a bare Exception for a broken tokenizer.json
        raise CheckpointError(
            f"The processor of {source!r} cannot be loaded: {_first_line(error)}",
            remedy="Download its tokenizer and preprocessor files again.",
        ) from error
    _check_processor(processor, source, config)
    # The tokenizer's default is the right; padded rows would then answer wrongly without an error.
    processor.tokenizer.padding_side = "left"
    loaded: ProcessorMixin = processor
    return loaded


def _check_processor(processor: Any, source: str, config: Any) -> None:
    kind = type(processor).__name__
    if kind != "Qwen3VLProcessor":
        raise CheckpointError(
            f"The processor of {source!r} is a {kind}.", limit="Needed is a Qwen3VLProcessor."
        )
    if not processor.chat_template:  # older exports keep it with the tokenizer
        processor.chat_template = processor.tokenizer.chat_template
    if not processor.chat_template:
        raise CheckpointError(
            f"{source!r} has no chat template.",
            limit="Needed is chat_template.jinja, or the template in tokenizer_config.json.",
        )
    for token, wanted in (
        (processor.image_token, config.image_token_id),
        (processor.video_token, config.video_token_id),
    ):
        got = processor.tokenizer.convert_tokens_to_ids(token)
        if got != wanted:
            raise CheckpointError(
                f"Tokenizer and config of {source!r} disagree: {token} is {got}, not {wanted}.",
                remedy="Use the tokenizer that belongs to these weights.",
            )
    if len(processor.tokenizer) > config.text_config.vocab_size:
        raise CheckpointError(
            f"The tokenizer of {source!r} has {len(processor.tokenizer):,} tokens, the model "
            f"{config.text_config.vocab_size:,}.",
            remedy="Use the tokenizer that belongs to these weights.",
        )


def _load_model(
    folder: Path,
    source: str,
    *,
    dtype: torch.dtype,
    attn: str,
    device_map: str | dict[str, str] | None,
    report: Progress,
) -> PreTrainedModel:
    report("Loading the weights", 0, 1)
    try:
        with _weight_progress(report):
            model, info = AutoModelForImageTextToText.from_pretrained(
                folder,
                dtype=dtype,
                attn_implementation=attn,
                device_map=device_map,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                output_loading_info=True,
            )
    except (PlaygroundError, MemoryError):
        raise
    except torch.OutOfMemoryError as error:
        raise CheckpointError(
            f"The weights of {source!r} do not fit into the GPU's memory.",
            remedy="Choose --dtype bfloat16, a smaller checkpoint or --device cpu.",
        ) from error
    except Exception as error:
        raise CheckpointError(
            f"The weights of {source!r} cannot be loaded: {_first_line(error)}", limit=NEEDED
        ) from error
    _check_loaded(info, source)
    loaded: PreTrainedModel = model.eval().requires_grad_(False)
    return loaded


def _check_loaded(info: dict[str, Any], source: str) -> None:
    """Refuse weights that do not cover the model, or that belong to a larger one."""
    lacking = sorted(info["missing_keys"])
    # Extra buffers or heads do no harm; an unused layer means that config and weights disagree.
    unused = sorted(key for key in info["unexpected_keys"] if re.search(r"\.\d+\.", key))
    for what, keys in (("lack", lacking), ("have, but the config does not know,", unused)):
        if keys:
            shown = ", ".join(keys[:3]) + (" …" if len(keys) > 3 else "")
            raise CheckpointError(
                f"The weights of {source!r} {what} {len(keys)} of the model's tensors: {shown}.",
                remedy="Use the config.json that belongs to these weights.",
            )


@contextmanager
def _weight_progress(report: Progress) -> Iterator[None]:
    """Pass transformers' own progress bars on while weights load."""

    class Bar:
        def __init__(self, items: Any = None, *, total: int | None = None, **_: Any) -> None:
            self.items = items
            self.total = total if total is not None else len(items or ())
            self.done = 0

        def __iter__(self) -> Iterator[Any]:
            for item in self.items:
                report("Loading the weights", self.done, self.total)
                yield item
                self.done += 1

        def __enter__(self) -> Bar:
            return self

        def __exit__(self, *_: object) -> None:
            self.close()

        def update(self, count: int = 1) -> None:
            self.done += count
            report("Loading the weights", self.done, self.total)

        def close(self) -> None:
            pass

    def make_bar(_factory: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Bar:
        return Bar(*args, **kwargs)

    previous = transformers_logging.set_tqdm_hook(make_bar)
    try:
        yield
    finally:
        transformers_logging.set_tqdm_hook(previous)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else type(error).__name__
