"""A loaded checkpoint with some of its weights rounded, on a copy that is given back.

The copy has modules of its own, which share every weight and buffer with the loaded model except
those that are rounded. The loaded model is not touched.
"""

from __future__ import annotations

import gc
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import sqrt
from typing import Any, Literal, get_args

import torch
from torch import nn

from playground.compare.rounding import Format, round_weight, stored_bytes
from playground.engine import Engine
from playground.errors import InputError
from playground.free_memory import count_free_bytes
from playground.language import say
from playground.module_copies import share_weights
from playground.pipeline import WAIT_S
from playground.records import Progress

ModelPart = Literal["vision", "merger", "attention", "mlp", "embeddings"]
MODEL_PARTS: tuple[ModelPart, ...] = get_args(ModelPart)
Formats = Mapping[ModelPart, Format]
"""The formats of the parts that are rounded; the others keep their weights."""

# The weights of each part. A router (``mlp.gate``) and the position grid are not rounded, nor are
# norms and biases, which have one dimension.
WEIGHTS: dict[ModelPart, re.Pattern[str]] = {
    "vision": re.compile(r"model\.visual\.(patch_embed|blocks)\."),
    "merger": re.compile(r"model\.visual\.(merger|deepstack_merger_list)\."),
    "attention": re.compile(r"model\.language_model\.layers\.\d+\.self_attn\."),
    "mlp": re.compile(r"model\.language_model\.layers\.\d+\.mlp\.(?!gate\.)"),
    "embeddings": re.compile(r"model\.language_model\.embed_tokens\.|lm_head\."),
}
# Over the bytes of the rounded weights: activations and the KV cache of a run.
HEADROOM = 1.1

_one_at_a_time = threading.Lock()  # copies: memory is planned for one


@dataclass(frozen=True, slots=True)
class RoundedPart:
    """One part of the model: how far rounding moved its weights, and what they take."""

    part: ModelPart
    format: Format | None  # None: kept
    num_weights: int
    error: float  # Frobenius norm of the change over that of the weights; 0 if kept
    model_bytes: int  # of the weights in the model's dtype
    stored_bytes: int  # of the weights in the format, with its scales; ``model_bytes`` if kept


@dataclass(frozen=True, slots=True, eq=False)
class RoundedModel:
    """An engine on the copy, for every stage function, and what rounding did to the weights."""

    engine: Engine
    parts: tuple[RoundedPart, ...]  # in the order of ``MODEL_PARTS``


def find_weights(model: nn.Module, part: ModelPart) -> dict[str, nn.Parameter]:
    """The weights of a part by name; a weight that two modules share is listed once."""
    return {
        name: weight
        for name, weight in model.named_parameters()
        if WEIGHTS[part].match(name) and weight.dim() > 1
    }


@contextmanager
def rounded_model(
    engine: Engine, formats: Formats, *, progress: Progress | None = None
) -> Iterator[RoundedModel]:
    """Round on a copy, which lives as long as the block.

    One copy exists at a time: others wait. Nothing made by its engine may hold the engine longer,
    or the memory is not given back.

    Args:
        engine: the loaded checkpoint, which is not modified.
        formats: by part.
        progress: called before every weight and while waiting; ``StageCancelled`` raised in it
            stops.

    Raises:
        InputError: the copy does not fit into memory, or a weight is quantised already.
    """
    while not _one_at_a_time.acquire(timeout=WAIT_S):
        if progress is not None:
            progress(say("waiting for another computation"), 0, 1)
    try:
        check_room(engine, formats)
        yield _round_copy(engine, formats, progress)
    finally:
        if hasattr(engine.model, "hf_device_map"):
            gc.collect()  # accelerate's hooks make modules refer to themselves
        _one_at_a_time.release()


def check_room(engine: Engine, formats: Formats) -> None:
    """Refuse what cannot be rounded, before anything is copied.

    Raises:
        InputError: the copy does not fit into memory, or a weight is quantised already.
    """
    needed: dict[torch.device, int] = {}
    for part in formats:
        weights = find_weights(engine.model, part)
        if not weights:  # packed ones are no parameters
            raise InputError(
                say("This checkpoint has no plain weights of the chosen part: {part}.", part=part),
                remedy=say("Keep this part as it is."),
            )
        for name, weight in weights.items():
            if not weight.is_floating_point() or weight.itemsize < 2:
                raise InputError(
                    say("{name} is quantised already.", name=name),
                    remedy=say("Keep this part as it is."),
                )
            needed[weight.device] = needed.get(weight.device, 0) + weight.nbytes
    for device, num_bytes in needed.items():
        free = count_free_bytes(device)
        if num_bytes * HEADROOM > free:
            raise InputError(
                say(
                    "The rounded weights need {needed:.1f} GB of memory; {free:.1f} GB are free.",
                    needed=num_bytes * HEADROOM / 1e9,
                    free=free / 1e9,
                ),
                remedy=say("Round fewer parts at once."),
            )


def _round_copy(engine: Engine, formats: Formats, progress: Progress | None) -> RoundedModel:
    new: dict[int, nn.Parameter] = {}  # by the id of the weight that it replaces
    parts = tuple(
        _round_part(engine.model, part, formats.get(part), new, progress) for part in MODEL_PARTS
    )
    with engine.exclusive():  # outside it, another run's hooks may be attached
        model: Any = share_weights(engine.model)
    for module in model.modules():
        for name, weight in list(module.named_parameters(recurse=False)):
            if id(weight) in new:
                setattr(module, name, new[id(weight)])
    return RoundedModel(replace(engine, model=model), parts)


def _round_part(
    model: nn.Module,
    part: ModelPart,
    chosen: Format | None,
    new: dict[int, nn.Parameter],
    progress: Progress | None,
) -> RoundedPart:
    """Round one part's weights into ``new``."""
    weights = find_weights(model, part)
    model_bytes = sum(weight.nbytes for weight in weights.values())
    square = error_square = 0.0
    for index, weight in enumerate(weights.values() if chosen is not None else ()):
        assert chosen is not None
        if progress is not None:
            progress(say("rounding, weight"), index, len(weights))
        rounded = round_weight(weight, chosen)
        new[id(weight)] = nn.Parameter(rounded.values, requires_grad=False)
        square, error_square = square + rounded.square, error_square + rounded.error_square
    return RoundedPart(
        part=part,
        format=chosen,
        num_weights=sum(weight.numel() for weight in weights.values()),
        error=sqrt(error_square / square) if square else 0.0,
        model_bytes=model_bytes,
        stored_bytes=model_bytes
        if chosen is None
        else sum(stored_bytes(weight.shape, chosen) for weight in weights.values()),
    )
