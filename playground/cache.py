"""Fork, crop and describe a KV cache.

Forks share tensors: ``DynamicLayer.update`` concatenates into new tensors, so a growing fork leaves
the original unchanged.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

from transformers import Cache, DynamicCache

from playground.engine import Engine
from playground.errors import InputError
from playground.language import say


@dataclass(frozen=True, slots=True)
class CacheLayer:
    """Cached tensors of one decoder layer. Shapes are (batch, kv_heads, seq, head_dim)."""

    layer: int
    key_shape: tuple[int, ...]
    value_shape: tuple[int, ...]
    dtype: str
    key_bytes: int
    value_bytes: int

    @property
    def num_bytes(self) -> int:
        """Bytes of keys and values."""
        return self.key_bytes + self.value_bytes


def is_cache(value: Any) -> bool:
    """Whether this is a transformers cache; records may have ``layers`` too."""
    return isinstance(value, Cache)


def empty_cache(engine: Engine) -> DynamicCache:
    """An empty cache for the engine's decoder."""
    return DynamicCache(config=engine.model.model.language_model.config)


def fork_cache(cache: DynamicCache) -> DynamicCache:
    """A new cache over the same tensors; growing or cropping it leaves ``cache`` unchanged."""
    fork = copy.copy(cache)
    fork.layers = [copy.copy(layer) for layer in cache.layers]
    return fork


def expand_cache(cache: DynamicCache, rows: int) -> DynamicCache:
    """A fork with the single row of ``cache`` repeated; it takes memory only as it grows."""
    fork = fork_cache(cache)
    layers: list[Any] = fork.layers
    for layer in layers:
        layer.keys = layer.keys.expand(rows, -1, -1, -1)
        layer.values = layer.values.expand(rows, -1, -1, -1)
    return fork


def crop_cache(cache: DynamicCache, keep: int) -> DynamicCache:
    """A fork that holds only the first ``keep`` tokens.

    Its tensors are views: the memory of ``cache`` stays in use as long as the fork does.

    Raises:
        InputError: ``keep`` is negative or longer than the cache.
    """
    length = cache.get_seq_length()
    if not 0 <= keep <= length:
        raise InputError(
            say("Cannot keep {count} tokens of the cache.", count=keep),
            limit=say("The cache holds {count} tokens.", count=length),
        )
    fork = fork_cache(cache)
    fork.crop(keep - length)  # a negative count is the number to remove
    return fork


def describe_cache(cache: DynamicCache) -> tuple[CacheLayer, ...]:
    """Shapes, dtype and bytes of every initialized layer."""
    layers: list[Any] = cache.layers
    return tuple(
        CacheLayer(
            layer=index,
            key_shape=tuple(layer.keys.shape),
            value_shape=tuple(layer.values.shape),
            dtype=str(layer.keys.dtype).removeprefix("torch."),
            key_bytes=layer.keys.nbytes,
            value_bytes=layer.values.nbytes,
        )
        for index, layer in enumerate(layers)
        if layer.is_initialized
    )


def cache_bytes(cache: DynamicCache) -> int:
    """Bytes of all keys and values in the cache."""
    return sum(layer.num_bytes for layer in describe_cache(cache))
