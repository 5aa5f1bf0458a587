"""Look up a request's longest stored prefix, and explain where and why it ends."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from playground.kv_cache.block_hash import HashRules, RequestIdentity, block_keys
from playground.kv_cache.block_store import BlockStore, Entry

EndKind = Literal[
    "last token",  # the whole request is stored; its last token is computed for the logits
    "short",  # the request is shorter than a block
    "tail",  # all full blocks are stored; the rest does not fill one
    "empty",  # nothing is stored for this session
    "goes on",  # the stored prefix ends here, the request continues
    "tokens",  # a token id differs
    "picture",  # the ids are the same, an image differs
    "evicted",  # the block was stored but has been evicted
]


@dataclass(frozen=True, slots=True)
class HitEnd:
    """Why a hit ends where it does, or why there is none."""

    kind: EndKind
    index: int  # sequence index of the first difference, or of the end
    stored_id: int | None = None  # the stored token id, if tokens differ


@dataclass(frozen=True, slots=True, eq=False)
class Lookup:
    """What the store holds for a request at one moment."""

    identity: RequestIdentity
    root: str
    keys: tuple[str, ...]  # of all full blocks of the request
    hit_keys: tuple[str, ...]  # of its stored prefix
    reused_tokens: int  # at most one less than the request's length
    end: HitEnd

    @property
    def num_tokens(self) -> int:
        """Length of the request."""
        return len(self.identity.ids)

    def cut_to(self, reused_tokens: int, block_size: int) -> Lookup:
        """This lookup shortened, after some of its blocks were evicted."""
        hits = self.hit_keys[: reused_tokens // block_size]
        end = HitEnd("evicted", reused_tokens)
        return replace(self, hit_keys=hits, reused_tokens=reused_tokens, end=end)


def find_prefix(
    blocks: BlockStore, identity: RequestIdentity, rules: HashRules, root: str
) -> Lookup:
    """Find the longest chain of stored blocks that a request begins with.

    Args:
        blocks: the store.
        identity: of the request.
        rules: block size and what the keys cover.
        root: from ``root_key``, the start of the session's chains.
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
    """Why a hit ends after ``hits`` blocks; ``chain`` is the root and then the request's keys."""
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
    # The stored block with the longest match shows where the difference is.
    return max(
        (_first_difference(identity, entry, start) for entry in stored), key=lambda end: end.index
    )


def _first_difference(identity: RequestIdentity, entry: Entry, start: int) -> HitEnd:
    """Where a request and a stored block with the same parent first differ."""
    for offset, stored_id in enumerate(entry.ids):
        index = start + offset
        if identity.ids[index] != stored_id:
            return HitEnd("tokens", index, stored_id)
    inside = [
        image.start for image in identity.images if image.start < entry.end and image.end > start
    ]
    mine = identity.digests_in(start, entry.end)
    differ = (
        index for index, (a, b) in enumerate(zip(mine, entry.digests, strict=False)) if a != b
    )
    return HitEnd("picture", max(start, inside[next(differ, 0)]) if inside else start)
