"""Checkpoint → ``Engine``: find and check it, load processor and weights, report the progress.

A local checkpoint never touches the network. Messages name the source as the user typed it and show
no other path.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedConfig

from playground.engine import Engine
from playground.errors import CheckpointError
from playground.language import mark, say
from playground.loading.checkpoint_files import CheckpointFiles, check_checkpoint
from playground.loading.config_checks import check_config_fits, check_expert_rows
from playground.loading.find_source import SHIPPED, Found, find_source
from playground.loading.merge_adapter import merge_adapter
from playground.loading.placement import (
    check_placement,
    choose_device,
    choose_device_map,
    choose_dtype,
    count_weight_bytes,
)
from playground.loading.processor import load_processor
from playground.loading.quantised import describe_quantisation, is_dequantised
from playground.loading.read_weights import freeze, load_model
from playground.loading.second import check_room, check_same_shape, compare_processors
from playground.loading.small_files import read_json
from playground.loading.source_names import describe_relative, summarise_error
from playground.model_facts import describe_config, load_config
from playground.origin import Origin
from playground.records import Progress

__all__ = ["SHIPPED", "load_engine"]

ROUNDED = mark(
    "The adapter is merged into weights that stay quantised: the sum is rounded to their format."
)


def load_engine(
    source: str | Path = "tiny",
    *,
    device: str = "auto",
    dtype: str = "auto",
    attn: str = "sdpa",
    adapter_scale: float = 1.0,
    beside: Engine | None = None,
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
        adapter_scale: factor on what a LoRA adds to its base; a whole checkpoint has none.
        beside: the first checkpoint, if this is a second one to compare with it: the two must have
            the same shape and fit into memory together, and share the first one's processor.
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
    plan = _plan(found, device, dtype, attn, beside)
    report(mark("Loading the processor"), 0, 1)
    processor: Any = load_processor(found.folder, found.name, plan.config)
    model = load_model(
        found.folder,
        found.name,
        plan.config,
        dtype=plan.dtype,
        attn=attn,
        device_map=plan.device_map,
        dequantises=plan.dequantises,
        report=report,
    )
    quantisation = describe_quantisation(plan.written, plan.files.parts, model)
    adapter = None
    if found.adapter is not None:
        report(mark("Merging the adapter"), 0, 1)
        model, adapter = merge_adapter(model, found.adapter, adapter_scale)
    freeze(model)
    report(mark("Ready"), 1, 1)
    shown = found.source.rstrip("/").rpartition("/")[2]  # visitors read the notices
    notices = [describe_relative(shown)]
    if adapter is not None and quantisation is not None and not quantisation.dequantised_to:
        notices.append(say(ROUNDED))
    if beside is not None:
        notices += compare_processors(processor, beside.processor, shown)
        processor = beside.processor
    return Engine(
        model=model,
        processor=processor,
        facts=replace(describe_config(model.config), tied_embeddings=_is_tied(model)),
        source=found.source,
        revision=found.revision,
        attn=attn,
        origin=Origin(quantisation, adapter),
        notices=tuple(filter(None, notices)),
    )


@dataclass(frozen=True, slots=True)
class _Plan:
    """How a checkpoint will be loaded, known before any weight is read."""

    files: CheckpointFiles
    config: PreTrainedConfig
    written: dict[str, Any]  # the content of config.json
    dtype: torch.dtype
    dequantises: bool
    device_map: str | dict[str, str] | None


def _plan(found: Found, device: str, dtype: str, attn: str, beside: Engine | None) -> _Plan:
    """Check the files and the room, and decide on dtype and devices."""
    target, folder, name = choose_device(device), found.folder, found.name
    files = check_checkpoint(folder, name)
    chosen = choose_dtype(dtype, files, target, attn=attn, shipped=folder == SHIPPED)
    config, written = _read_config(folder, name), read_json(folder / "config.json", name)
    check_config_fits(config, written, name)
    check_expert_rows(config, chosen, name)
    dequantises = is_dequantised(files.quantization, target, dtype)
    weight_bytes = (
        count_weight_bytes(files, config, chosen) if dequantises else files.count_bytes(chosen)
    )
    if beside is not None:
        check_same_shape(describe_config(config), beside.facts, found.source)
        check_room(weight_bytes, target)
    device_map = choose_device_map(device, target, weight_bytes, chosen)
    return _Plan(files, config, written, chosen, dequantises, device_map)


def _ignore_progress(what: str, done: int, total: int) -> None:
    del what, done, total


def _is_tied(model: Any) -> bool:
    """Whether the loaded head shares its weight; a head of its own in the file unties it."""
    head = getattr(model.lm_head, "weight", None)  # a packed one has another name
    tied: bool = head is model.get_input_embeddings().weight
    return tied


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
