"""Cut a request's cache into blocks, and join blocks into a cache."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import DynamicCache, DynamicLayer

from playground.engine import Engine


def cut_blocks(
    cache: DynamicCache, start: int, end: int, block_size: int, device: torch.device
) -> tuple[torch.Tensor, ...]:
    """Cut the tokens ``start .. end - 1`` of a cache into blocks, on one device.

    Returns:
        Views of one tensor, (2 * layers, 1, kv_heads, block_size, head_dim) each: the keys and the
        values of layer 0, then of layer 1, and so on.
    """
    if start >= end:
        return ()
    layers: list[Any] = cache.layers
    parts = [part[:1, :, start:end] for layer in layers for part in (layer.keys, layer.values)]
    joined = torch.stack([part.to(device) for part in parts])
    return tuple(joined.split(block_size, dim=-2))


def join_blocks(
    blocks: Sequence[torch.Tensor], length: int, devices: Sequence[torch.device]
) -> DynamicCache:
    """Join the first ``length`` tokens of consecutive blocks into a new cache.

    Args:
        blocks: from ``cut_blocks``; they are copied.
        length: at most the number of tokens in the blocks.
        devices: device of each decoder layer.
    """
    cache = DynamicCache()
    if not length:
        return cache
    parts = torch.cat(list(blocks), dim=-2)[..., :length, :].unbind()
    for layer, device in enumerate(devices):
        held = DynamicLayer()
        keys, values = (part.to(device) for part in parts[2 * layer : 2 * layer + 2])
        held.lazy_initialization(keys, values)
        held.keys, held.values = keys, values  # the same as ``update`` with one copy fewer
        cache.layers.append(held)
    return cache


def layer_devices(engine: Engine) -> list[torch.device]:
    """The device of each decoder layer."""
    return [next(layer.parameters()).device for layer in engine.model.model.language_model.layers]


def own_memory(tensors: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    """Copy the tensors, since a view would keep the whole original alive."""
    return tuple(tensor.clone(memory_format=torch.contiguous_format) for tensor in tensors)
