"""The memory that records hold: each storage counts once, however many arrays share it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, is_dataclass
from typing import Any

import numpy as np

Extent = tuple[str, int, int]
"""A storage: its device, first address, and the address after its last byte."""


class Holder(ABC):
    """Any other object that holds records, arrays or collections of them."""

    @abstractmethod
    def extents(self) -> set[Extent]:
        """The storages that it holds now; it may hold more later."""


@dataclass(frozen=True, slots=True, eq=False)
class Inside:
    """The contents of a record, which do not change."""

    extents: frozenset[Extent]
    holders: tuple[Holder, ...]  # which may change


def held_bytes(value: Any, *, besides: Set[Extent] = frozenset()) -> int:
    """Memory of all arrays, tensors and caches inside, on all devices.

    A view counts its whole storage, which it keeps alive, and shared storage counts once: an array
    over a tensor's memory, or a record in two runs. Strings, numbers and the engine are not
    counted.

    Args:
        value: a record, a cache, a ``Holder``, or any collection of them.
        besides: storages that somebody else holds anyway.
    """
    inside = look_inside(value)
    extents = inside.extents.union(*(holder.extents() for holder in inside.holders))
    return count_bytes(extents - besides)


def count_bytes(extents: Iterable[Extent]) -> int:
    """Bytes of storages, which may overlap."""
    total = 0
    device, end = "", 0
    for where, start, stop in sorted(extents):
        if where != device:
            device, end = where, 0
        total += max(0, stop - max(start, end))
        end = max(end, stop)
    return total


def look_inside(value: Any) -> Inside:
    """The storages of all arrays, tensors and caches inside, and the holders, not yet opened."""
    import torch  # imported late, as below: the page starts before torch is imported

    extents: set[Extent] = set()
    holders: list[Holder] = []
    seen: dict[int, Any] = {}  # kept until the end, because the id of a freed object may be reused
    todo = [value]
    while todo:
        item = todo.pop()
        if item is None or isinstance(item, str | int | float) or id(item) in seen:
            continue
        seen[id(item)] = item
        if isinstance(item, torch.Tensor):
            storage = item.untyped_storage()
            start = storage.data_ptr()
            extents.add((str(storage.device), start, start + storage.nbytes()))
        elif isinstance(item, np.ndarray) and isinstance(item.base, np.ndarray | torch.Tensor):
            todo.append(item.base)
        elif isinstance(item, np.ndarray):
            extents.add(("cpu", item.ctypes.data, item.ctypes.data + item.nbytes))
        elif isinstance(item, Holder):
            holders.append(item)
        else:
            todo += _members(item)
    return Inside(frozenset(extents), tuple(holders))


def _members(value: Any) -> Iterable[Any]:
    """The members of a record, a collection or a transformers cache."""
    from transformers import Cache

    from playground.engine import Engine

    if isinstance(value, Cache):
        return [tensor for layer in value.layers for tensor in vars(layer).values()]
    if isinstance(value, Mapping):
        return tuple(value.values())
    if isinstance(value, tuple | list | set | frozenset):
        return value
    if is_dataclass(value) and not isinstance(value, Engine | type):
        return [getattr(value, name) for name in value.__dataclass_fields__]
    return ()
