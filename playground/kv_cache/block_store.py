"""A tree of blocks under one byte budget, like the prefix cache of a serving engine.

The store does not know the model: an entry has a key, its token ids, its bytes and any tensors.
Each entry owns its memory (no views of larger tensors), so evicting it frees exactly the bytes that
it counts. One lock guards the store. A leaf is always evicted before its parent, because a block
without its parent could never be reached again.
"""

from __future__ import annotations

import itertools
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import torch

from playground.errors import InputError
from playground.language import say

Policy = Literal["lru", "fifo", "lfu"]
POLICIES: tuple[Policy, ...] = get_args(Policy)

DEFAULT_BYTES = 256 << 20  # 2,340 tokens of the 2B model, 87,000 of the shipped checkpoint
MAX_GHOSTS = 4096  # evicted entries whose keys are remembered, so that a miss can be explained


@dataclass(slots=True, eq=False)
class Entry:
    """A block of keys and values, or the features of one image."""

    key: str
    parent: str | None  # key of the block before it, or a root; None for image features
    start: int  # first sequence index; 0 for features
    ids: tuple[int, ...]  # its token ids; empty for features
    digests: tuple[str, ...]  # of the images in it
    num_bytes: int
    tensors: tuple[torch.Tensor, ...]  # empty in a rehearsal, which only counts bytes
    created: int  # tick of the store's clock
    last_used: int
    uses: int = 1
    made_by: str = ""  # label of the request that stored it
    used_by: list[str] = field(default_factory=list)  # labels of the requests that reused it
    children: set[str] = field(default_factory=set)

    @property
    def end(self) -> int:
        """One past its last sequence index."""
        return self.start + len(self.ids)


@dataclass(frozen=True, slots=True)
class StoreStats:
    """Size and counts of a store."""

    num_bytes: int
    max_bytes: int
    num_blocks: int
    num_images: int
    num_evicted: int  # since the store was created
    peak_bytes: int


class BlockStore:
    """Blocks by key, evicted to stay within ``max_bytes``."""

    def __init__(self, max_bytes: int = DEFAULT_BYTES, policy: Policy = "lru") -> None:
        """Start empty.

        Raises:
            InputError: a negative budget, or an unknown policy.
        """
        if max_bytes < 0:
            raise InputError(
                say("The budget is {count} bytes.", count=max_bytes),
                limit=say("It must not be negative."),
            )
        if policy not in POLICIES:
            raise InputError(
                say("Unknown policy {name}.", name=policy),
                limit=say("Choose one of {names}.", names=", ".join(POLICIES)),
            )
        self.max_bytes = max_bytes
        self.policy = policy
        self.lock = threading.RLock()
        self.ghosts: OrderedDict[str, Entry] = OrderedDict()  # evicted, without their tensors
        self._entries: dict[str, Entry] = {}
        self._leaves: dict[str, Entry] = {}  # entries without children, the only ones to evict
        self._roots: dict[str, set[str]] = {}  # root key → first blocks
        self._clock = itertools.count()
        self._num_bytes = self._peak_bytes = self._num_evicted = 0

    # ------------------------------------------------------------------------ reading

    def get(self, key: str) -> Entry | None:
        """The entry under this key, without counting a use."""
        return self._entries.get(key)

    def entries(self) -> tuple[Entry, ...]:
        """All entries, oldest first."""
        with self.lock:
            return tuple(self._entries.values())

    def find(self, keys: Sequence[str]) -> tuple[Entry, ...]:
        """The entries of the longest prefix of ``keys`` that is stored."""
        with self.lock:
            found = (self._entries.get(key) for key in keys)
            return tuple(entry for entry in itertools.takewhile(bool, found) if entry is not None)

    def children_of(self, key: str) -> tuple[Entry, ...]:
        """The stored blocks that follow a block or a root."""
        with self.lock:
            parent = self._entries.get(key)
            names = parent.children if parent is not None else self._roots.get(key, set())
            return tuple(self._entries[name] for name in names)

    @property
    def stats(self) -> StoreStats:
        """The current counts and bytes."""
        with self.lock:
            images = sum(entry.parent is None for entry in self._entries.values())
            return StoreStats(
                num_bytes=self._num_bytes,
                max_bytes=self.max_bytes,
                num_blocks=len(self._entries) - images,
                num_images=images,
                num_evicted=self._num_evicted,
                peak_bytes=self._peak_bytes,
            )

    # ------------------------------------------------------------------------ writing

    def touch(self, keys: Sequence[str], label: str = "") -> None:
        """Count a use of these entries; evicted ones are skipped."""
        with self.lock:
            now = next(self._clock)
            for entry in filter(None, map(self._entries.get, keys)):
                entry.last_used, entry.uses = now, entry.uses + 1
                if label:
                    entry.used_by.append(label)

    def add(
        self,
        key: str,
        *,
        parent: str | None,
        start: int,
        ids: Sequence[int],
        digests: Sequence[str],
        num_bytes: int,
        make: Callable[[], tuple[torch.Tensor, ...]],
        label: str = "",
        pinned: frozenset[str] = frozenset(),
    ) -> bool:
        """Store an entry, after evicting others to make room for it.

        Args:
            key: hash of the entry; an existing entry is left unchanged.
            parent: key of the block before it (which must be stored) or a root; None for features.
            start: first sequence index.
            ids: its token ids.
            digests: of the images in it.
            num_bytes: size of its tensors.
            make: creates the tensors, each with its own memory; called once there is room.
            label: of the request that stores it.
            pinned: entries that must not be evicted for it, such as its own ancestors.

        Returns:
            False if it does not fit.
        """
        with self.lock:
            if key in self._entries:
                return True
            if not self._make_room(num_bytes, pinned):
                return False
            now = next(self._clock)
            entry = Entry(
                key=key,
                parent=parent,
                start=start,
                ids=tuple(ids),
                digests=tuple(digests),
                num_bytes=num_bytes,
                tensors=make(),
                created=now,
                last_used=now,
                made_by=label,
            )
            self._link(entry)
            return True

    def _link(self, entry: Entry) -> None:
        self._entries[entry.key] = self._leaves[entry.key] = entry
        self.ghosts.pop(entry.key, None)
        if entry.parent is not None:
            above = self._entries.get(entry.parent)
            siblings = (
                above.children if above is not None else self._roots.setdefault(entry.parent, set())
            )
            siblings.add(entry.key)
            self._leaves.pop(entry.parent, None)
        self._num_bytes += entry.num_bytes
        self._peak_bytes = max(self._peak_bytes, self._num_bytes)

    def _make_room(self, num_bytes: int, pinned: frozenset[str]) -> bool:
        """Evict until ``num_bytes`` fit; False if that is impossible."""
        if num_bytes > self.max_bytes:
            return False
        while self._num_bytes + num_bytes > self.max_bytes:
            victim = self._choose_victim(pinned)
            if victim is None:
                return False
            self._evict(victim)
        return True

    def _choose_victim(self, pinned: frozenset[str]) -> Entry | None:
        free = (entry for entry in self._leaves.values() if entry.key not in pinned)
        return min(free, key=self._rank, default=None)

    def _rank(self, entry: Entry) -> tuple[int, int]:
        """Sort key: the smallest is evicted first; ties go to the block further from the root."""
        if self.policy == "lfu":
            return entry.uses, entry.last_used
        order = entry.last_used if self.policy == "lru" else entry.created
        return order, -entry.start

    def _evict(self, entry: Entry) -> None:
        del self._entries[entry.key], self._leaves[entry.key]
        if entry.parent is not None:
            above = self._entries.get(entry.parent)
            siblings = above.children if above is not None else self._roots[entry.parent]
            siblings.discard(entry.key)
            if not siblings and above is not None:
                self._leaves[above.key] = above
            elif not siblings:
                del self._roots[entry.parent]
        self._num_bytes -= entry.num_bytes
        self._num_evicted += 1
        entry.tensors = ()
        self.ghosts[entry.key] = entry
        while len(self.ghosts) > MAX_GHOSTS:
            self.ghosts.popitem(last=False)

    def resize(self, max_bytes: int) -> None:
        """Change the budget, evicting what no longer fits; 0 empties the store."""
        with self.lock:
            self.max_bytes = max(0, max_bytes)
            self._make_room(0, frozenset())
