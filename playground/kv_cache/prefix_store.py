"""Requests served on top of what earlier ones left behind, block by block.

A hit is the longest chain of stored blocks that the request begins with. Its keys and values are
joined in a cache of the request's own, and only the rest is computed, with an explicit slice of
the positions. The last token is always computed, since its logits are what is asked for. A hit may
end inside a picture, as in serving engines: the picture's remaining tokens are then computed from
its features, which are kept under the picture's hash too.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial

import torch
from transformers import DynamicCache

from playground.engine import Engine
from playground.kv_cache.block_hash import (
    HashRules,
    RequestIdentity,
    block_keys,
    identify,
    picture_key,
    root_key,
)
from playground.kv_cache.block_store import DEFAULT_BYTES, BlockStore, Policy
from playground.kv_cache.block_tensors import cut_blocks, join_blocks, layer_devices, own_memory
from playground.kv_cache.partial_prefill import Features, prefill_on
from playground.kv_cache.prefix_lookup import Lookup, find_prefix
from playground.records import ModelInputs


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
        return find_prefix(self.blocks, identity, self.rules, root)

    # ------------------------------------------------------------------------ computing

    def gather(self, lookup: Lookup) -> tuple[DynamicCache, int]:
        """Join the stored blocks in a cache of the caller's own.

        Blocks that went since the lookup shorten it.

        Returns:
            The cache, and its length: ``lookup.reused_tokens`` unless blocks went.
        """
        with self.blocks.lock:  # a block that goes from here on keeps its tensor as long as needed
            pieces = [entry.tensors[0] for entry in self.blocks.find(lookup.hit_keys)]
        length = min(len(pieces) * self.rules.block_size, lookup.num_tokens - 1)
        return join_blocks(pieces, length, layer_devices(self.engine)), length

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
            lookup = lookup.cut_to(reused, self.rules.block_size)
        self.blocks.touch(
            [
                *lookup.hit_keys,
                *(picture_key(lookup.root, each.digest) for each in identity.pictures),
            ],
            label,
        )
        kept = self._keep(identity, cache, lookup.root, lookup.keys, label, encoded)
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
        return self._keep(known, cache, root, keys, label, features or {})

    def _keep(
        self,
        known: RequestIdentity,
        cache: DynamicCache | None,
        root: str,
        keys: tuple[str, ...],
        label: str,
        features: Mapping[str, Features],
    ) -> Kept:
        """``keep``, with the names of the blocks at hand."""
        with self.blocks.lock:
            ghosts = set(self.blocks.ghosts)
            new, num_stored = self._keep_blocks(known, cache, root, keys, label)
            pinned = frozenset(keys)
            for digest, tensors in features.items():
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
        pieces = (
            cut_blocks(cache, stored * size, len(keys) * size, size, self.engine.device)
            if cache is not None
            else ()
        )
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
                make=partial(own_memory, () if piece is None else (piece,)),
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
            make=partial(own_memory, tensors),
            label=label,
            pinned=pinned,
        )
