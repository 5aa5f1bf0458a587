"""The engine of the Qwen3-VL Playground: six stages of the forward pass, one record per boundary.

The stage modules import torch and transformers, which takes seconds. They are imported on first
use, so that the page comes up before them: write ``import playground`` and
``playground.decoder.run_decoder(...)``.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playground import (
        answers,
        block_hash,
        block_store,
        cache_compare,
        cache_costs,
        cache_growth,
        cache_log,
        cache_tree,
        checkpoint_mark,
        decoder,
        decoder_attention,
        decoder_rotation,
        dump,
        influence,
        kv_cache,
        loading,
        media,
        merge,
        model_facts,
        moving,
        partial_prefill,
        position_grid,
        prefix_store,
        preprocess,
        preprocess_views,
        sampling,
        sampling_branches,
        sampling_paths,
        sampling_score,
        sampling_sweep,
        sampling_views,
        shared_prefix,
        timing,
        token_budget,
        tokens,
        vision,
        vision_attention,
        vision_maps,
        vision_merger,
        vision_rope,
        what_if,
        what_if_runs,
    )

__all__ = [
    "answers",
    "block_hash",
    "block_store",
    "cache_compare",
    "cache_costs",
    "cache_growth",
    "cache_log",
    "cache_tree",
    "checkpoint_mark",
    "decoder",
    "decoder_attention",
    "decoder_rotation",
    "dump",
    "influence",
    "kv_cache",
    "loading",
    "media",
    "merge",
    "model_facts",
    "moving",
    "partial_prefill",
    "position_grid",
    "prefix_store",
    "preprocess",
    "preprocess_views",
    "sampling",
    "sampling_branches",
    "sampling_paths",
    "sampling_score",
    "sampling_sweep",
    "sampling_views",
    "shared_prefix",
    "timing",
    "token_budget",
    "tokens",
    "vision",
    "vision_attention",
    "vision_maps",
    "vision_merger",
    "vision_rope",
    "what_if",
    "what_if_runs",
]


def __getattr__(name: str) -> ModuleType:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module(f"{__name__}.{name}")
