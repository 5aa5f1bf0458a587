"""Copies of a model that share its weights, so that a changed model never touches the original."""

from __future__ import annotations

import copy
from typing import Any

from torch import nn


def replace_module(model: nn.Module, path: str, child: nn.Module) -> Any:
    """A shallow copy of a model with one module replaced; every other module is shared.

    Hooks on shared modules still work.

    Args:
        model: not modified.
        path: of the module, as in ``named_modules()``.
        child: what takes its place.
    """
    name, _, rest = path.partition(".")
    twin = copy.copy(model)
    twin._modules = dict(model._modules)
    twin._modules[name] = replace_module(getattr(model, name), rest, child) if rest else child
    # accelerate stores a forward of the whole module here if the model is spread over devices.
    twin.__dict__.pop("forward", None)
    return twin


def share_weights(model: nn.Module) -> Any:
    """A copy with modules of its own, all of which share their parameters and buffers.

    The copy's modules can get weights of their own. Make it while no hooks are attached.

    Args:
        model: not modified.
    """
    shared = (*model.parameters(), *model.buffers())
    return copy.deepcopy(model, {id(tensor): tensor for tensor in shared})
