"""Stage 6: reuse of the KV cache across requests with a shared prefix."""

from __future__ import annotations

from typing import TYPE_CHECKING

from playground.lazy import lazy_modules

if TYPE_CHECKING:
    from playground.kv_cache import (
        block_hash,
        block_store,
        block_tensors,
        channels,
        compare,
        costs,
        log,
        partial_prefill,
        prefix_lookup,
        prefix_store,
        shared_prefix,
        stage,
        tree,
    )

__all__ = [
    "block_hash",
    "block_store",
    "block_tensors",
    "channels",
    "compare",
    "costs",
    "log",
    "partial_prefill",
    "prefix_lookup",
    "prefix_store",
    "shared_prefix",
    "stage",
    "tree",
]

__getattr__ = lazy_modules(__name__, __all__)
