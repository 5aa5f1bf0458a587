"""Requests served on top of what earlier ones left behind, block by block.

A hit is the longest chain of stored blocks that the request begins with. Its keys and values are
joined into a cache of the request's own, and only the rest is computed, with an explicit slice of
the positions. The last token is always computed, since its logits are what is asked for. A hit may
end inside a picture, as in serving engines: the picture's remaining tokens are then computed from
its features, which are kept under the picture's hash too.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import torch
from transformers import DynamicCache

from playground.block_hash import (
    HashRules,
    RequestIdentity,
    block_keys,
    identify,
    picture_key,
    root_key,
)
from playground.block_store import DEFAULT_BYTES, BlockStore, Entry, Policy
from playground.engine import Engine
from playground.partial_prefill import Features, empty_cache, layer_devices, prefill_on
from playground.records import ModelInputs

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


@dataclass(frozen=True, slots=True)
class Kept:
    """What a request left behind, and what went for it."""

    keys: tuple[str, ...]  # new entries
    num_tokens: int  # of the request that are stored now
    evicted: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Served:
    """One request, answered up to the next token's logits."""

    lookup: Lookup
    kept: Kept
    encoded_patches: tuple[int, ...]  # of each picture that went through the vision tower
    elapsed_ms: float  # from the lookup to the logits; storing is not in it
    logits: torch.Tensor = field(repr=False)  # (vocab,), on the CPU
    cache: DynamicCache = field(repr=False)  # the caller's own, of the whole request

    @property
    def reused_tokens(self) -> int:
        """Tokens taken from the store."""
        return self.lookup.reused_tokens

    @property
    def computed_tokens(self) -> int:
        """Tokens that went through the decoder."""
        return self.lookup.num_tokens - self.lookup.reused_tokens

    @property
    def encoded_pictures(self) -> int:
        """How many pictures went through the vision tower."""
        return len(self.encoded_patches)


class PrefixStore:
    """Keys and values of earlier requests, under one byte budget.

    One store may serve many sessions: a session's salt is part of every key, so that none hits
    what another left (a hit is faster, which would tell what others have asked). Thread-safe.
    """

    def __init__(
        self,
        engine: Engine,
        rules: HashRules | None = None,
        *,
        max_bytes: int = DEFAULT_BYTES,
        policy: Policy = "lru",
    ) -> None:
        """Start empty.

        Args:
            engine: the loaded checkpoint that all requests are for.
            rules: block size and what is hashed.
            max_bytes: budget of keys, values and picture features together.
            policy: who goes first when it is full.
        """
        self.engine = engine
        self.rules = rules or HashRules()
        self.blocks = BlockStore(max_bytes, policy)

    # ------------------------------------------------------------------------ looking up

    def lookup(self, identity: RequestIdentity, salt: str = "") -> Lookup:
        """What of a request is stored, and why no more of it."""
        root = root_key(self.engine, self.rules, salt)
        keys = block_keys(identity, self.rules, root)
        with self.blocks.lock:
            hit_keys = tuple(entry.key for entry in self.blocks.find(keys))
            end = self._explain(identity, root, keys, len(hit_keys))
        reused = min(len(hit_keys) * self.rules.block_size, len(identity.ids) - 1)
        return Lookup(identity, root, keys, hit_keys, reused, end)

    def _explain(
        self, identity: RequestIdentity, root: str, keys: tuple[str, ...], hits: int
    ) -> HitEnd:
        size, length = self.rules.block_size, len(identity.ids)
        start = hits * size
        if start == length:
            return HitEnd("last token", length - 1)
        if hits == len(keys):
            return HitEnd("tail" if hits else "short", start)
        if keys[hits] in self.blocks.ghosts:
            return HitEnd("evicted", start)
        stored = self.blocks.children_of(keys[hits - 1] if hits else root)
        if not stored:
            return HitEnd("goes on" if hits else "empty", start)
        # The block that agrees longest shows where the difference lies.
        ends = [_first_difference(identity, entry, start) for entry in stored]
        return max(ends, key=lambda end: end.index)

    # ------------------------------------------------------------------------ computing

    def gather(self, lookup: Lookup) -> tuple[DynamicCache, int]:
        """Join the stored blocks into a cache of the caller's own.

        Blocks that went since the lookup shorten it.

        Returns:
            The cache, and its length: ``lookup.reused_tokens`` unless blocks went.
        """
        with self.blocks.lock:
            found = self.blocks.find(lookup.hit_keys)
            pieces = [entry.tensors[0] for entry in found]
            length = min(len(pieces) * self.rules.block_size, lookup.num_tokens - 1)
            # (layers, keys and values, kv_heads, tokens, head_dim)
            joined = torch.cat(pieces, dim=-2)[..., :length, :] if length else None
        cache = empty_cache(self.engine)
        if joined is not None:
            layers: list[Any] = cache.layers
            for layer, part, device in zip(layers, joined, layer_devices(self.engine), strict=True):
                keys, values = part[:, None].to(device)
                layer.lazy_initialization(keys, values)
                layer.keys, layer.values = keys, values  # what ``update`` does, less one copy
        return cache, length

    def compute(
        self, inputs: ModelInputs, lookup: Lookup
    ) -> tuple[torch.Tensor, DynamicCache, dict[str, Features], int]:
        """Gather and prefill the rest; nothing is stored and no use is counted.

        Returns:
            Logits (vocab,), the request's cache, features of pictures that went through the
            tower by digest, and the number of reused tokens.
        """
        cache, start = self.gather(lookup)
        held = self._held_features(lookup)
        logits, encoded = prefill_on(self.engine, inputs, lookup.identity, cache, start, held)
        return logits, cache, encoded, start

    def _held_features(self, lookup: Lookup) -> dict[str, Features]:
        digests = {each.digest for each in lookup.identity.pictures}
        found = {digest: self.blocks.get(picture_key(lookup.root, digest)) for digest in digests}
        return {digest: entry.tensors for digest, entry in found.items() if entry and entry.tensors}

    # ------------------------------------------------------------------------ serving

    def serve(
        self,
        inputs: ModelInputs,
        *,
        salt: str = "",
        label: str = "",
        identity: RequestIdentity | None = None,
    ) -> Served:
        """Answer a request up to the next token's logits, and keep what it computed.

        Args:
            inputs: the record of ``run_preprocess``.
            salt: the session's secret.
            label: of the request, for views of the store.
            identity: of ``identify``, if it is known already.

        Raises:
            ModelError: the logits hold NaN or infinity.
        """
        identity = identity or identify(inputs)
        started = time.perf_counter()
        lookup = self.lookup(identity, salt)
        logits, cache, encoded, reused = self.compute(inputs, lookup)
        elapsed_ms = (time.perf_counter() - started) * 1e3
        if reused != lookup.reused_tokens:  # another thread's request took blocks away
            end = HitEnd("evicted", reused)
            hits = lookup.hit_keys[: reused // self.rules.block_size]
            lookup = Lookup(identity, lookup.root, lookup.keys, hits, reused, end)
        self.blocks.touch(
            [
                *lookup.hit_keys,
                *(picture_key(lookup.root, each.digest) for each in identity.pictures),
            ],
            label,
        )
        kept = self.keep(identity, cache, salt=salt, label=label, features=encoded)
        patches = tuple(
            len(tensors[0]) * self.engine.facts.merge_size**2 for tensors in encoded.values()
        )
        return Served(lookup, kept, patches, elapsed_ms, logits, cache)

    def keep(
        self,
        identity: RequestIdentity,
        cache: DynamicCache | None,
        *,
        salt: str = "",
        label: str = "",
        features: Mapping[str, Features] | None = None,
    ) -> Kept:
        """Store the whole blocks of a cache that are not stored yet, as far as the budget goes.

        Args:
            identity: of the tokens in the cache (it may name more, such as a last sampled one).
            cache: left as it is; None to rehearse with the bytes alone.
            salt: the session's secret.
            label: of the request.
            features: of pictures, by digest.
        """
        root = root_key(self.engine, self.rules, salt)
        length = len(identity.ids) if cache is None else cache.get_seq_length()
        known = RequestIdentity(identity.ids[:length], identity.pictures)
        keys = block_keys(known, self.rules, root)
        with self.blocks.lock:
            ghosts = set(self.blocks.ghosts)
            new, num_stored = self._keep_blocks(known, cache, root, keys, label)
            pinned = frozenset(keys)
            for digest, tensors in (features or {}).items():
                if self._keep_features(root, digest, tensors, label, pinned):
                    new.append(picture_key(root, digest))
            evicted = tuple(key for key in self.blocks.ghosts if key not in ghosts)
        return Kept(tuple(new), num_stored * self.rules.block_size, evicted)

    def _keep_blocks(
        self,
        identity: RequestIdentity,
        cache: DynamicCache | None,
        root: str,
        keys: tuple[str, ...],
        label: str,
    ) -> tuple[list[str], int]:
        size = self.rules.block_size
        num_bytes = size * self.engine.facts.kv_bytes_per_token(self.engine.dtype)
        stored = len(self.blocks.find(keys))
        pieces = _cut(cache, stored * size, len(keys) * size, size, self.engine.device)
        pinned, new = frozenset(keys), []
        for index in range(stored, len(keys)):
            piece = pieces[index - stored] if pieces else None
            fits = self.blocks.add(
                keys[index],
                parent=keys[index - 1] if index else root,
                start=index * size,
                ids=identity.ids[index * size : (index + 1) * size],
                digests=identity.digests_in(index * size, (index + 1) * size),
                num_bytes=num_bytes,
                make=partial(_own, () if piece is None else (piece,)),
                label=label,
                pinned=pinned,
            )
            if not fits:
                break
            new.append(keys[index])
        return new, stored + len(new)

    def _keep_features(
        self, root: str, digest: str, tensors: Features, label: str, pinned: frozenset[str]
    ) -> bool:
        return self.blocks.add(
            picture_key(root, digest),
            parent=None,
            start=0,
            ids=(),
            digests=(digest,),
            num_bytes=sum(tensor.nbytes for tensor in tensors),
            make=partial(_own, tensors),
            label=label,
            pinned=pinned,
        )


def _own(tensors: Features) -> Features:
    """Copies with memory of their own: a view would keep the whole tensor alive."""
    return tuple(tensor.clone(memory_format=torch.contiguous_format) for tensor in tensors)


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


def _cut(
    cache: DynamicCache | None, start: int, end: int, size: int, device: torch.device
) -> list[torch.Tensor]:
    """Views of the blocks in ``start .. end - 1``: (layers, 2, kv_heads, size, head_dim) each."""
    if cache is None or start >= end:
        return []
    layers: list[Any] = cache.layers
    joined = torch.stack(
        [
            torch.stack([part[0, :, start:end].to(device) for part in (layer.keys, layer.values)])
            for layer in layers
        ]
    )
    return list(joined.split(size, dim=-2))
