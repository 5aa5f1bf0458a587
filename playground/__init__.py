"""The engine of the Qwen3-VL Playground: six stages of the forward pass, one record per boundary.

Each stage is a package; its ``stage`` module has the function that runs it. Stages share ``cache``
and ``logits``; the ``experiments`` are built on the stages. Most modules import torch and
transformers, which takes seconds, so they are imported on first use and the page starts before
them: write ``import playground`` and ``playground.decoder.stage.run_decoder(...)``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from playground.lazy import lazy_modules

if TYPE_CHECKING:
    from playground import (
        answer,
        cache,
        compare,
        decoder,
        dump,
        experiments,
        grounding,
        kv_cache,
        loading,
        logits,
        merge,
        model_facts,
        moving,
        preprocess,
        sampling,
        timing,
        tokens,
        vision,
    )

__all__ = [
    "answer",
    "cache",
    "compare",
    "decoder",
    "dump",
    "experiments",
    "grounding",
    "kv_cache",
    "loading",
    "logits",
    "merge",
    "model_facts",
    "moving",
    "preprocess",
    "sampling",
    "timing",
    "tokens",
    "vision",
]

__getattr__ = lazy_modules(__name__, __all__)
