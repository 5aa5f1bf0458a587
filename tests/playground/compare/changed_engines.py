"""Second checkpoints for the comparisons: copies of an engine with planted changes."""

from __future__ import annotations

import copy
import threading
from collections.abc import Sequence
from dataclasses import replace

import torch

from playground.engine import Engine


def changed_engine(engine: Engine, names: Sequence[str] = (), *, amount: float = 0.1) -> Engine:
    """A full copy in which the named parameters have noise of this relative size added."""
    model = copy.deepcopy(engine.model)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name in names:
            weight = model.get_parameter(name)
            noise = torch.randn(weight.shape, generator=generator)
            weight += amount * weight.norm() * noise / noise.norm()
    return replace(engine, model=model, lock=threading.RLock())
