"""A store as a radix tree: consecutive blocks without a branch form one segment."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from playground.kv_cache.block_store import BlockStore, Entry

Status = Literal["shared", "stored", "evicted"]


@dataclass(frozen=True, slots=True)
class Segment:
    """Consecutive blocks with the same status, request and uses."""

    start: int  # first sequence index
    end: int  # one past the last
    row: float  # where it is drawn: leaves on integer rows, parents between their children
    parent: int | None  # index of the segment before it
    status: Status  # stored and reused by a later request; stored; evicted
    ids: tuple[int, ...]
    digests: tuple[str, ...]
    made_by: str  # label of the request that stored it
    used_by: tuple[str, ...]  # labels of the requests that reused it, each once
    num_bytes: int
    keys: tuple[str, ...]


def build_tree(store: BlockStore) -> tuple[Segment, ...]:
    """The segments of a store and of its evicted blocks, parents before children.

    Evicted blocks whose parent is no longer remembered are left out.
    """
    with store.lock:
        entries = {entry.key: entry for entry in store.entries() if entry.parent is not None}
        ghosts = {key: entry for key, entry in store.ghosts.items() if entry.parent is not None}
    everything = ghosts | entries
    below: dict[str, list[Entry]] = {}
    for entry in everything.values():
        below.setdefault(entry.parent or "", []).append(entry)
    tops = [entry for entry in everything.values() if entry.start == 0]
    found: list[_Draft] = []
    for top in sorted(tops, key=_order):
        _walk(top, None, entries, below, found)
    return _lay_out(found)


@dataclass(slots=True)
class _Draft:
    blocks: list[Entry]
    parent: int | None
    status: Status


def _order(entry: Entry) -> tuple[int, int]:
    return int(entry.made_by or 0), entry.created


def _status(entry: Entry, stored: dict[str, Entry]) -> Status:
    if entry.key not in stored:
        return "evicted"
    return "shared" if entry.used_by else "stored"


def _walk(
    top: Entry,
    parent: int | None,
    stored: dict[str, Entry],
    below: dict[str, list[Entry]],
    found: list[_Draft],
) -> None:
    """Add the segments below ``top``, depth first; iterative, as chains are thousands long."""
    todo: list[tuple[Entry, int | None]] = [(top, parent)]
    while todo:
        entry, above = todo.pop()
        draft = _Draft([entry], above, _status(entry, stored))
        found.append(draft)
        number = len(found) - 1
        children = sorted(below.get(entry.key, ()), key=_order)
        while len(children) == 1 and _continues(draft, children[0], stored):
            draft.blocks.append(children[0])
            children = sorted(below.get(children[0].key, ()), key=_order)
        todo += [(child, number) for child in reversed(children)]


def _continues(draft: _Draft, entry: Entry, stored: dict[str, Entry]) -> bool:
    last = draft.blocks[-1]
    return (
        _status(entry, stored) == draft.status
        and entry.made_by == last.made_by
        and entry.used_by == last.used_by
    )


def _lay_out(found: Sequence[_Draft]) -> tuple[Segment, ...]:
    """Assign rows: leaves from top to bottom, parents in the middle of their children."""
    children: dict[int, list[int]] = {}
    for number, draft in enumerate(found):
        if draft.parent is not None:
            children.setdefault(draft.parent, []).append(number)
    rows: dict[int, float] = {}
    leaves = [number for number in range(len(found)) if number not in children]
    rows.update({number: float(row) for row, number in enumerate(leaves)})
    for number in range(len(found) - 1, -1, -1):  # children come after their parent
        if number in children:
            own = [rows[child] for child in children[number]]
            rows[number] = (min(own) + max(own)) / 2
    return tuple(_segment(draft, rows[number]) for number, draft in enumerate(found))


def _segment(draft: _Draft, row: float) -> Segment:
    first, last = draft.blocks[0], draft.blocks[-1]
    return Segment(
        start=first.start,
        end=last.end,
        row=row,
        parent=draft.parent,
        status=draft.status,
        ids=tuple(token for block in draft.blocks for token in block.ids),
        digests=_each_once(digest for block in draft.blocks for digest in block.digests),
        made_by=first.made_by,
        used_by=_each_once(label for block in draft.blocks for label in block.used_by),
        num_bytes=sum(block.num_bytes for block in draft.blocks),
        keys=tuple(block.key for block in draft.blocks),
    )


def _each_once(values: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(values))
