"""Bytes of what is held, each storage once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from transformers import DynamicCache

from playground.cache import crop_cache, fork_cache
from playground.engine import Engine
from playground.held import held_bytes
from playground.records import ExpertRoutes


@dataclass(frozen=True, slots=True, eq=False)
class Record:
    """A record with something in it."""

    name: str
    inside: Any


def filled_cache(num_tokens: int) -> DynamicCache:
    cache = DynamicCache()
    for layer in range(2):
        cache.update(torch.zeros(1, 2, num_tokens, 8), torch.zeros(1, 2, num_tokens, 8), layer)
    return cache


ARRAY, TENSOR = np.zeros((10, 10), np.float32), torch.zeros(100)
ROUTES = ExpertRoutes((1,), torch.zeros(1, 5, 2, dtype=torch.int64), torch.zeros(1, 5, 2))


@pytest.mark.parametrize(
    ("value", "num_bytes"),
    [
        (None, 0),
        (("text", 1, 2.0, True), 0),
        (ARRAY, 400),
        (TENSOR, 400),
        (ARRAY[2:4], 400),  # the rest stays with it
        (TENSOR[50:], 400),
        ([TENSOR, TENSOR[:3], TENSOR.numpy(), TENSOR.numpy()[5:]], 400),
        ({"a": ARRAY, "b": torch.from_numpy(ARRAY[3:]), "c": ARRAY.ravel()}, 400),
        (torch.zeros(1).expand(1000), 4),
        (Record("x", {"y": [Record("z", (ARRAY, TENSOR))]}), 800),
        (filled_cache(3), 2 * 2 * 2 * 3 * 8 * 4),
        (DynamicCache(), 0),
        (ROUTES, 5 * 2 * (8 + 4)),  # has ``layers``, and is no cache
    ],
)
def test_each_storage_once(value: Any, num_bytes: int) -> None:
    assert held_bytes(value) == num_bytes
    assert held_bytes([value, value, Record("again", value)]) == num_bytes


def test_forks_share_and_crops_keep_all() -> None:
    cache = filled_cache(5)
    whole = held_bytes(cache)
    assert held_bytes([cache, fork_cache(cache), crop_cache(cache, 2)]) == whole
    assert held_bytes(crop_cache(cache, 2)) == whole


def test_the_engine_is_nobody_s(tiny_random_engine: Engine) -> None:
    assert held_bytes(Record("x", tiny_random_engine)) == 0


def test_a_cycle_ends() -> None:
    loop: list[Any] = [TENSOR]
    loop.append(loop)
    assert held_bytes(loop) == 400
