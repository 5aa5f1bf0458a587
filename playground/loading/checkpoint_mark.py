"""A short identifier of a checkpoint, for links: the same mark means the same weights."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from playground.engine import Engine

MARK_CHARS = 12
ROWS = 4  # hashed per weight matrix


def mark_checkpoint(engine: Engine) -> str:
    """``name@revision,dtype``; for a local folder, its name and a hash of some weights.

    Two local checkpoints may have the same name, and one may be trained further.
    """
    is_local = engine.revision == "local"
    name = Path(engine.source).name if is_local else engine.source
    revision = _hash_weights(engine) if is_local else engine.revision[:MARK_CHARS]
    return f"{name}@{revision},{str(engine.dtype).removeprefix('torch.')}"


def _hash_weights(engine: Engine) -> str:
    """A hash of a few rows of weights from all depths, on any device, and of what was merged."""
    digest = hashlib.sha256()
    if engine.origin.adapter is not None:
        digest.update(repr(engine.origin.adapter).encode())
    text = engine.model.model.language_model
    for module in (
        text.embed_tokens,
        text.layers[0].self_attn.q_proj,
        text.layers[-1].self_attn.o_proj,
        text.norm,
    ):
        weight = next(iter(module.state_dict().values()))  # packed ones have other names
        digest.update(str(tuple(weight.shape)).encode())
        if weight.device.type != "meta":  # meta weights are not in memory: skip them
            rows = weight[:ROWS].detach().to("cpu", torch.float32)
            digest.update(rows.contiguous().numpy().tobytes())
    return digest.hexdigest()[:MARK_CHARS]
