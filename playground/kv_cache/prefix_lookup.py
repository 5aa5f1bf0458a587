"""What a store has of a request, and why no more: which token, picture or block differs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from playground.kv_cache.block_hash import HashRules, RequestIdentity, block_keys
from playground.kv_cache.block_store import BlockStore, Entry

EndKind = Literal[
    "last token",  # all of the request is stored; its last token is computed for the logits
    "short",  # the request fills no block
    "tail",  # all whole blocks are stored; what comes after them fills none
    "empty",  # nothing is stored for this session
    "goes on",  # what is stored ends here, the request goes on
    "tokens",  # a token id differs
    "picture",  # the ids are the same, a picture differs
    "evicted",  # the block was here, and had to make room
]


@dataclass(frozen=True, slots=True)
class HitEnd:
    """Why a hit ends where it ends (or why there is none)."""

    kind: EndKind
    index: int  # sequence index of the first difference, or of the end
    stored_id: int | None = None  # the token that is stored there, where tokens differ


@dataclass(frozen=True, slots=True, eq=False)
class Lookup:
    """What the store has for a request, at one moment."""

    identity: RequestIdentity
    root: str
    keys: tuple[str, ...]  # of all whole blocks of the request
    hit_keys: tuple[str, ...]  # of those that are stored, from the first on
    reused_tokens: int  # at most one less than the request's length
    end: HitEnd

    @property
    def num_tokens(self) -> int:
        """Length of the request."""
        return len(self.identity.ids)

    def cut_to(self, reused_tokens: int, block_size: int) -> Lookup:
        """The same after blocks went that had been found."""
        hits = self.hit_keys[: reused_tokens // block_size]
        end = HitEnd("evicted", reused_tokens)
        return replace(self, hit_keys=hits, reused_tokens=reused_tokens, end=end)


def find_prefix(
    blocks: BlockStore, identity: RequestIdentity, rules: HashRules, root: str
) -> Lookup:
    """The longest chain of stored blocks that a request begins with.

    Args:
        blocks: what is stored.
        identity: of the request.
        rules: block size and what is hashed.
        root: of ``root_key``: where the session's chains start.
    """
    keys = block_keys(identity, rules, root)
    with blocks.lock:
        hit_keys = tuple(entry.key for entry in blocks.find(keys))
        end = _explain(blocks, identity, (root, *keys), len(hit_keys), rules.block_size)
    reused = min(len(hit_keys) * rules.block_size, len(identity.ids) - 1)
    return Lookup(identity, root, keys, hit_keys, reused, end)


def _explain(
    blocks: BlockStore, identity: RequestIdentity, chain: tuple[str, ...], hits: int, size: int
) -> HitEnd:
    """Why a hit ends after so many blocks; ``chain`` is the root and then the request's keys."""
    start, length = hits * size, len(identity.ids)
    if start == length:
        return HitEnd("last token", length - 1)
    if hits == len(chain) - 1:
        return HitEnd("tail" if hits else "short", start)
    if chain[hits + 1] in blocks.ghosts:
        return HitEnd("evicted", start)
    stored = blocks.children_of(chain[hits])
    if not stored:
        return HitEnd("goes on" if hits else "empty", start)
    # The block that agrees longest shows where the difference lies.
    return max(
        (_first_difference(identity, entry, start) for entry in stored), key=lambda end: end.index
    )


def _first_difference(identity: RequestIdentity, entry: Entry, start: int) -> HitEnd:
    """Where a request and a stored block part that follow the same parent."""
    for offset, stored_id in enumerate(entry.ids):
        index = start + offset
        if identity.ids[index] != stored_id:
            return HitEnd("tokens", index, stored_id)
    inside = [
        each.start for each in identity.pictures if each.start < entry.end and each.end > start
    ]
    mine = identity.digests_in(start, entry.end)
    differ = (
        place for place, (a, b) in enumerate(zip(mine, entry.digests, strict=False)) if a != b
    )
    return HitEnd("picture", max(start, inside[next(differ, 0)]) if inside else start)
