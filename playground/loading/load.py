"""Checkpoint → ``Engine``: find and check it, load processor and weights, report the progress.

A local checkpoint never touches the network. Messages name the source as the user typed it and show
no other path.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForImageTextToText,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.utils import logging as transformers_logging

from playground.engine import Engine
from playground.errors import CheckpointError, PlaygroundError
from playground.language import mark, say
from playground.loading.checkpoint_files import NEEDED, check_checkpoint
from playground.loading.config_checks import (
    check_config_fits,
    check_expert_rows,
)
from playground.loading.find_source import SHIPPED, find_source
from playground.loading.merge_adapter import merge_adapter
from playground.loading.one_row import multiply_one_row
from playground.loading.patch_projection import project_by_matmul
from playground.loading.placement import (
    check_placement,
    choose_device,
    choose_device_map,
    choose_dtype,
    unify_dtype,
)
from playground.loading.processor import load_processor
from playground.loading.progress_bars import SilentBar
from playground.loading.small_files import read_json, some_of
from playground.loading.source_names import summarise_error
from playground.model_facts import describe_config, load_config
from playground.origin import Origin
from playground.records import Progress

__all__ = ["SHIPPED", "load_engine"]


def load_engine(
    source: str | Path = "tiny",
    *,
    device: str = "auto",
    dtype: str = "auto",
    attn: str = "sdpa",
    adapter_scale: float = 1.0,
    on_progress: Progress | None = None,
) -> Engine:
    """Load a Qwen3-VL checkpoint.

    Args:
        source: ``"tiny"`` for the shipped checkpoint, a local folder, a Hub id ``owner/name`` or
            ``owner/name@revision``, ``modelscope:owner/name``, or the address of a model's page.
            An adapter of PEFT is merged into its base.
        device: ``auto`` (cuda, mps, cpu, in this order), ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        dtype: ``auto`` keeps the stored dtype (the shipped checkpoint on a CPU: float32), or
            ``float32``, ``bfloat16``, ``float16``.
        attn: ``sdpa``, ``eager`` or ``flash_attention_2``.
        adapter_scale: factor on what a LoRA adds to its base.
        on_progress: called as ``on_progress(what, done, total)``.

    Raises:
        CheckpointError: the checkpoint is missing, partial, of another model or unreachable.
        InputError: the device, dtype or attention implementation is not available.
    """
    report = on_progress or _ignore_progress
    target = choose_device(device)
    check_placement(dtype, attn, target)
    report(mark("Reading the config"), 0, 1)
    found = find_source(str(source), report)
    folder = found.folder
    if found.adapter is None and adapter_scale != 1.0:
        raise CheckpointError(
            say("{source!r} is no adapter, so there is nothing to scale.", source=found.source),
            remedy=say("Leave out --adapter-scale."),
        )
    files = check_checkpoint(folder, found.name)
    model_dtype = choose_dtype(dtype, files, target, attn=attn, shipped=folder == SHIPPED)
    config = _read_config(folder, found.name)
    check_config_fits(config, read_json(folder / "config.json", found.name), found.name)
    check_expert_rows(config, model_dtype, found.name)
    report(mark("Loading the processor"), 0, 1)
    processor = load_processor(folder, found.name, config)
    device_map = choose_device_map(device, target, files, model_dtype)
    model: Any = _load_model(
        folder,
        found.name,
        config,
        dtype=model_dtype,
        attn=attn,
        device_map=device_map,
        quantization=files.quantization,
        report=report,
    )
    origin = Origin()
    if found.adapter is not None:
        report(mark("Merging the adapter"), 0, 1)
        model, adapter = merge_adapter(model, found.adapter, adapter_scale)
        origin = replace(origin, adapter=adapter)
    _freeze(model)
    report(mark("Ready"), 1, 1)
    return Engine(
        model=model,
        processor=processor,
        facts=replace(describe_config(model.config), tied_embeddings=_is_tied(model)),
        source=found.source,
        revision=found.revision,
        attn=attn,
        origin=origin,
    )


def _ignore_progress(what: str, done: int, total: int) -> None:
    del what, done, total


def _is_tied(model: Any) -> bool:
    """Whether the loaded head shares its weight; a head of its own in the file unties it."""
    tied: bool = model.lm_head.weight is model.get_input_embeddings().weight
    return tied


# --------------------------------------------------------------------------- loading


def _read_config(folder: Path, source: str) -> PreTrainedConfig:
    try:
        return load_config(folder)
    except Exception as error:  # strict dataclasses: the types are transformers' own
        said = summarise_error(error, folder, source)
        raise CheckpointError(
            say(
                "config.json of {source!r} is no valid Qwen3-VL configuration: {said}",
                source=source,
                said=said,
            ),
            remedy=say("Compare it with the one published with the model."),
        ) from error


def _load_model(
    folder: Path,
    source: str,
    config: PreTrainedConfig,
    *,
    dtype: torch.dtype,
    attn: str,
    device_map: str | dict[str, str] | None,
    quantization: str,
    report: Progress,
) -> PreTrainedModel:
    report(mark("Loading the weights"), 0, 1)
    config._attn_implementation = attn  # the file may name one that is not installed
    try:
        with _weight_progress(report):
            loaded: Any = AutoModelForImageTextToText.from_pretrained(
                folder,
                config=config,
                dtype=dtype,
                attn_implementation=attn,
                device_map=device_map,
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                ignore_mismatched_sizes=True,  # reported by _check_loaded
                output_loading_info=True,
            )
    except (PlaygroundError, MemoryError):
        raise
    except torch.OutOfMemoryError as error:
        raise CheckpointError(
            say("The weights of {source!r} do not fit into the GPU's memory.", source=source),
            remedy=say("Choose --dtype bfloat16, a smaller checkpoint or --device cpu."),
        ) from error
    except Exception as error:
        raise CheckpointError(
            say(
                "The weights of {source!r} cannot be loaded: {said}",
                source=source,
                said=summarise_error(error, folder, source),
            ),
            limit=say(NEEDED),
        ) from error
    model: PreTrainedModel = loaded[0]
    _check_loaded(loaded[1], source)
    if quantization == "fp8":
        unify_dtype(model, dtype)
    return model


def _freeze(model: Any) -> None:
    """Make a loaded model ready for forward passes only."""
    model.eval()
    model.requires_grad_(False)
    project_by_matmul(model)
    multiply_one_row(model)


def _check_loaded(info: dict[str, Any], source: str) -> None:
    """Refuse weights that are incomplete or belong to another model."""
    # Extra buffers or heads are harmless; an unused layer means that config and weights disagree.
    unused = [key for key in info["unexpected_keys"] if re.search(r"\.\d+\.", key)]
    shapes = [
        f"{key} {tuple(stored)} for {tuple(wanted)}"
        for key, stored, wanted in info["mismatched_keys"]
    ]
    for what, tensors in (
        (mark("have another shape than its config.json says"), shapes),
        (mark("lack tensors of the model"), list(info["missing_keys"])),
        (mark("hold layers that its config.json does not know"), unused),
    ):
        if tensors:
            raise CheckpointError(
                say(
                    "The weights of {source!r} {what} ({count}: {shown}).",
                    source=source,
                    what=say(what),
                    count=len(tensors),
                    shown=some_of(sorted(tensors), 2),
                ),
                remedy=say("Use the config.json that belongs to these weights."),
            )


@contextmanager
def _weight_progress(report: Progress) -> Iterator[None]:
    """Report transformers' own progress bars while weights load."""

    class WeightBar(SilentBar):
        def moved(self) -> None:
            report(mark("Loading the weights"), round(self.n), round(self.total))

    def make_bar(_factory: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> SilentBar:
        return WeightBar(*args, **kwargs)

    previous = transformers_logging.set_tqdm_hook(make_bar)
    try:
        yield
    finally:
        transformers_logging.set_tqdm_hook(previous)
