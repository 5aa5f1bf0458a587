"""Prefix cache: serve requests on top of the stored blocks of earlier ones.

A hit is the longest chain of stored blocks that the request begins with. Its keys and values are
joined into a new cache, and only the rest is computed, with an explicit slice of the positions. The
last token is always computed, because its logits are needed. As in serving engines, a hit may end
inside an image: the image's remaining tokens are then computed from its features, which are stored
under the image's hash.
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
    image_key,
    root_key,
)
from playground.kv_cache.block_store import DEFAULT_BYTES, BlockStore, Policy
from playground.kv_cache.block_tensors import cut_blocks, join_blocks, layer_devices, own_memory
from playground.kv_cache.partial_prefill import Features, prefill_on
from playground.kv_cache.prefix_lookup import Lookup, find_prefix
from playground.records import ModelInputs


@dataclass(frozen=True, slots=True)
class Kept:
    """What a request stored, and what was evicted for it."""

    keys: tuple[str, ...]  # new entries
    num_tokens: int  # tokens of the request that are stored now
    evicted: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Served:
    """One request, computed up to the next token's logits."""

    lookup: Lookup
    kept: Kept
    encoded_patches: tuple[int, ...]  # of each image that the vision tower encoded
    elapsed_ms: float  # from the lookup to the logits, without storing
    logits: torch.Tensor = field(repr=False)  # (vocab,), on the CPU
    cache: DynamicCache = field(repr=False)  # of the whole request; owned by the caller

    @property
    def reused_tokens(self) -> int:
        """Tokens taken from the store."""
        return self.lookup.reused_tokens

    @property
    def computed_tokens(self) -> int:
        """Tokens that went through the decoder."""
        return self.lookup.num_tokens - self.lookup.reused_tokens

    @property
    def encoded_images(self) -> int:
        """How many images the vision tower encoded."""
        return len(self.encoded_patches)


class PrefixStore:
    """Keys and values of earlier requests, under one byte budget.

    One store can serve many sessions. A session's salt is part of every key, so sessions cannot hit
    each other's blocks: the speed of a hit would reveal what others have asked. Thread-safe.
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
            engine: the loaded checkpoint that all requests use.
            rules: block size and what is hashed.
            max_bytes: budget for keys, values and image features together.
            policy: what is evicted first when the store is full.
        """
        self.engine = engine
        self.rules = rules or HashRules()
        self.blocks = BlockStore(max_bytes, policy)

    # ------------------------------------------------------------------------ looking up

    def lookup(self, identity: RequestIdentity, salt: str = "") -> Lookup:
        """Find the stored prefix of a request, and why it ends there."""
        root = root_key(self.engine, self.rules, salt)
        return find_prefix(self.blocks, identity, self.rules, root)

    # ------------------------------------------------------------------------ computing

    def gather(self, lookup: Lookup) -> tuple[DynamicCache, int]:
        """Join the stored blocks into a new cache.

        It is shorter if blocks were evicted since the lookup.

        Returns:
            The cache and its length: ``lookup.reused_tokens`` unless blocks were evicted.
        """
        with self.blocks.lock:  # a block evicted after this keeps its tensors while in use
            pieces = [entry.tensors[0] for entry in self.blocks.find(lookup.hit_keys)]
        length = min(len(pieces) * self.rules.block_size, lookup.num_tokens - 1)
        return join_blocks(pieces, length, layer_devices(self.engine)), length

    def compute(
        self, inputs: ModelInputs, lookup: Lookup
    ) -> tuple[torch.Tensor, DynamicCache, dict[str, Features], int]:
        """Gather the stored blocks and prefill the rest, without storing or counting a use.

        Returns:
            Logits (vocab,), the request's cache, features of newly encoded images by digest, and
            the number of reused tokens.
        """
        cache, start = self.gather(lookup)
        held = self._held_features(lookup)
        logits, encoded = prefill_on(self.engine, inputs, lookup.identity, cache, start, held)
        return logits, cache, encoded, start

    def _held_features(self, lookup: Lookup) -> dict[str, Features]:
        digests = {image.digest for image in lookup.identity.images}
        found = {digest: self.blocks.get(image_key(lookup.root, digest)) for digest in digests}
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
        """Compute a request up to the next token's logits, and store its blocks.

        Args:
            inputs: the record from ``run_preprocess``.
            salt: the session's secret.
            label: of the request, for views of the store.
            identity: from ``identify``, if already computed.

        Raises:
            ModelError: the logits hold NaN or infinity.
        """
        identity = identity or identify(inputs)
        started = time.perf_counter()
        lookup = self.lookup(identity, salt)
        logits, cache, encoded, reused = self.compute(inputs, lookup)
        elapsed_ms = (time.perf_counter() - started) * 1e3
        if reused != lookup.reused_tokens:  # another thread's request evicted blocks
            lookup = lookup.cut_to(reused, self.rules.block_size)
        self.blocks.touch(
            [
                *lookup.hit_keys,
                *(image_key(lookup.root, image.digest) for image in identity.images),
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
        """Store the full blocks of a cache that are not stored yet, as far as the budget allows.

        Args:
            identity: of the tokens in the cache; it may have more, such as the last sampled token.
            cache: not changed; None to count bytes only.
            salt: the session's secret.
            label: of the request.
            features: image features by digest.
        """
        root = root_key(self.engine, self.rules, salt)
        length = len(identity.ids) if cache is None else cache.get_seq_length()
        known = RequestIdentity(identity.ids[:length], identity.images)
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
        """``keep`` with the block keys already computed."""
        with self.blocks.lock:
            ghosts = set(self.blocks.ghosts)
            new, num_stored = self._keep_blocks(known, cache, root, keys, label)
            pinned = frozenset(keys)
            for digest, tensors in features.items():
                if self._keep_features(root, digest, tensors, label, pinned):
                    new.append(image_key(root, digest))
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
            image_key(root, digest),
            parent=None,
            start=0,
            ids=(),
            digests=(digest,),
            num_bytes=sum(tensor.nbytes for tensor in tensors),
            make=partial(own_memory, tensors),
            label=label,
            pinned=pinned,
        )
