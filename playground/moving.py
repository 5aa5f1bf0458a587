"""The same model and the same cache on another device, for a stage that runs elsewhere."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import torch
from transformers import DynamicCache

from playground.cache import fork_cache
from playground.engine import Engine
from playground.loading.placement import choose_device


def move_engine(engine: Engine, device: str = "auto") -> Engine:
    """Move the model's weights in place, and give the engine a new lock.

    For a forked process, which has its own memory: a lock that another thread held during the fork
    would never be released. A second checkpoint moves along.
    """
    target = choose_device(device)
    other = None if engine.other is None else move_engine(engine.other, device)
    return replace(engine, model=engine.model.to(target), other=other, lock=threading.RLock())


def move_cache(cache: DynamicCache, device: torch.device | str) -> DynamicCache:
    """A cache with the same keys and values on a device; tensors already there are shared."""
    moved = fork_cache(cache)
    layers: list[Any] = moved.layers
    for layer in layers:
        if layer.is_initialized:
            layer.keys, layer.values = layer.keys.to(device), layer.values.to(device)
            layer.device = layer.keys.device
    return moved
