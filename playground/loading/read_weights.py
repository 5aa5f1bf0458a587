"""Read a checkpoint's weights into the model, and refuse those that are incomplete."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForImageTextToText, PreTrainedConfig
from transformers.utils import logging as transformers_logging

from playground.errors import CheckpointError, PlaygroundError
from playground.language import mark, say
from playground.loading.checkpoint_files import NEEDED
from playground.loading.one_row import multiply_one_row
from playground.loading.patch_projection import project_by_matmul
from playground.loading.placement import unify_dtype
from playground.loading.progress_bars import SilentBar
from playground.loading.small_files import some_of
from playground.loading.source_names import summarise_error
from playground.records import Progress


def load_model(
    folder: Path,
    source: str,
    config: PreTrainedConfig,
    *,
    dtype: torch.dtype,
    attn: str,
    device_map: str | dict[str, str] | None,
    dequantises: bool,
    report: Progress,
) -> Any:
    """Build the model of a configuration and read its weights.

    Args:
        folder: with the files.
        source: the user's name for it.
        config: as transformers reads it; changed in place.
        dtype: of the weights that are not quantised.
        attn: the attention implementation.
        device_map: of ``choose_device_map``.
        dequantises: whether quantised weights become plain matrices.
        report: called with transformers' progress.

    Raises:
        CheckpointError: the weights do not fit into memory, are incomplete, or belong to another
            configuration.
    """
    report(mark("Loading the weights"), 0, 1)
    config._attn_implementation = attn  # the file may name one that is not installed
    if dequantises:
        settings: Any = config  # transformers does not annotate this key
        settings.quantization_config["dequantize"] = True
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
    model = loaded[0]
    _check_loaded(loaded[1], source)
    if dequantises:
        unify_dtype(model, dtype)
    return model


def freeze(model: Any) -> None:
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
