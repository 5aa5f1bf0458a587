"""What a plain forward hands to the language model."""

from __future__ import annotations

from typing import Any

import torch

from playground.pipeline import Run
from playground.preprocess.stage import model_kwargs


@torch.no_grad()
def plain_decoder_input(run: Run) -> dict[str, Any]:
    """What one plain forward hands to the language model."""
    seen: dict[str, Any] = {}
    model: Any = run.engine.model
    hook = model.model.language_model.register_forward_pre_hook(
        lambda _module, _args, kwargs: seen.update(kwargs), with_kwargs=True
    )
    shared = model.model.rope_deltas
    try:
        model(**model_kwargs(run.inputs))
        seen["rope_deltas"] = model.model.rope_deltas
    finally:
        hook.remove()
        model.model.rope_deltas = shared
    return seen
