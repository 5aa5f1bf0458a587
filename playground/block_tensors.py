"""Keys and values between a request's cache and the blocks of a store: cut, joined, owned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import DynamicCache

from playground.engine import Engine
from playground.kv_cache import empty_cache


def cut_blocks(
    cache: DynamicCache, start: int, end: int, block_size: int, device: torch.device
) -> tuple[torch.Tensor, ...]:
    """The tokens ``start .. end - 1`` of a cache as blocks, on one device.

    Returns:
        Views of one tensor, (layers, keys and values, kv_heads, block_size, head_dim) each.
    """
    if start >= end:
        return ()
    layers: list[Any] = cache.layers
    joined = torch.stack(
        [
            torch.stack([part[0, :, start:end].to(device) for part in (layer.keys, layer.values)])
            for layer in layers
        ]
    )
    return tuple(joined.split(block_size, dim=-2))


def join_blocks(engine: Engine, blocks: Sequence[torch.Tensor], length: int) -> DynamicCache:
    """A cache of the caller's own from the first ``length`` tokens of blocks in a row."""
    cache = empty_cache(engine)
    if not length:
        return cache
    joined = torch.cat(list(blocks), dim=-2)[..., :length, :]
    layers: list[Any] = cache.layers
    for layer, part, device in zip(layers, joined, layer_devices(engine), strict=True):
        keys, values = part[:, None].to(device)
        layer.lazy_initialization(keys, values)
        layer.keys, layer.values = keys, values  # what ``update`` does, less one copy
    return cache


def layer_devices(engine: Engine) -> list[torch.device]:
    """Where each decoder layer computes."""
    return [next(layer.parameters()).device for layer in engine.model.model.language_model.layers]


def own_memory(tensors: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    """Copies with memory of their own: a view would keep the whole tensor alive."""
    return tuple(tensor.clone(memory_format=torch.contiguous_format) for tensor in tensors)
