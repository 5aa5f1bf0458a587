"""How far the weights of two checkpoints of one architecture are apart, module by module."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from playground.language import say
from playground.records import Progress

CHUNK = 1 << 20  # elements compared at once: a few copies in float32 fit into a core's cache


@dataclass(frozen=True, slots=True)
class ModuleChange:
    """The own parameters of one module in both checkpoints, without those of its children.

    Norms are Euclidean over all of the parameters' elements (Frobenius for a matrix).
    """

    path: str  # as in named_modules()
    kind: str  # class name in the first checkpoint
    num_parameters: int
    norm: float  # of the first checkpoint's weights
    change_norm: float  # of second - first; NaN if they cannot be compared
    max_abs: float  # largest |second - first|
    num_changed: int  # elements that differ

    @property
    def is_untouched(self) -> bool:
        """Whether every element is equal."""
        return self.num_changed == 0

    @property
    def relative(self) -> float:
        """``change_norm`` as a share of ``norm``; infinite where the first checkpoint has zeros."""
        if self.change_norm == 0:
            return 0.0
        return self.change_norm / self.norm if self.norm else math.inf


@dataclass(frozen=True, slots=True)
class WeightChanges:
    """All modules with parameters of their own, in the order of ``named_modules``."""

    modules: tuple[ModuleChange, ...]

    @property
    def touched(self) -> tuple[ModuleChange, ...]:
        """The modules in which any element differs."""
        return tuple(module for module in self.modules if not module.is_untouched)

    def below(self, path: str) -> ModuleChange:
        """A module together with its descendants; ``""`` for the whole model."""
        inside = [m for m in self.modules if not path or f"{m.path}.".startswith(f"{path}.")]
        return ModuleChange(
            path=path,
            kind="",
            num_parameters=sum(m.num_parameters for m in inside),
            norm=math.hypot(*(m.norm for m in inside)),
            change_norm=math.hypot(*(m.change_norm for m in inside)),
            max_abs=max((m.max_abs for m in inside), default=0.0),
            num_changed=sum(m.num_changed for m in inside),
        )


def compare_weights(
    first: nn.Module, second: nn.Module, *, progress: Progress | None = None
) -> WeightChanges:
    """Compare the parameters of two models with the same modules.

    A weight that both models share with an earlier module (a tied ``lm_head``) counts there alone;
    if only one of them shares it, it is compared where it is used. The models are read without
    their locks: nothing writes to loaded weights.

    Args:
        first: the reference.
        second: a model with the same module paths and shapes; packed weights, such as those of
            bitsandbytes, cannot be compared and have a change of NaN.
        progress: called before every module; ``StageCancelled`` raised in it stops.
    """
    others = dict(second.named_modules())
    owners = _shared(first), _shared(second)
    changes = []
    modules = [(path, module) for path, module in first.named_modules() if module._parameters]
    for index, (path, module) in enumerate(modules):
        if progress is not None:
            progress(say("comparing weights, module"), index, len(modules))
        pairs = [
            (weight, others[path]._parameters[name])
            for name, weight in module._parameters.items()
            if weight is not None
            and not all(f"{path}.{name}".removeprefix(".") in owned for owned in owners)
        ]
        if pairs:
            changes.append(_compare(path, type(module).__name__, pairs))
    return WeightChanges(tuple(changes))


def _shared(model: nn.Module) -> set[str]:
    """Names of the parameters that are stored under an earlier name."""
    own = {name for name, _ in model.named_parameters()}
    return {name for name, _ in model.named_parameters(remove_duplicate=False)} - own


def _compare(
    path: str, kind: str, pairs: list[tuple[nn.Parameter, nn.Parameter | None]]
) -> ModuleChange:
    squares = changed_squares = max_abs = 0.0
    num_changed = 0
    for weight, other in pairs:
        comparable = other is not None and other.shape == weight.shape and _is_plain(weight, other)
        if not comparable:
            changed_squares, max_abs, num_changed = math.nan, math.nan, num_changed + weight.numel()
        for first, change in _chunks(weight, other if comparable else None):
            squares += float(first @ first)
            if change is not None:
                changed_squares += float(change @ change)
                low, high = torch.aminmax(change)
                max_abs = max(max_abs, -float(low), float(high))
                num_changed += int(change.count_nonzero())
    return ModuleChange(
        path=path,
        kind=kind,
        num_parameters=sum(weight.numel() for weight, _ in pairs),
        norm=math.sqrt(squares),
        change_norm=math.sqrt(changed_squares),
        max_abs=max_abs,
        num_changed=num_changed,
    )


def _is_plain(*weights: nn.Parameter) -> bool:
    return all(weight.is_floating_point() and weight.element_size() > 1 for weight in weights)


def _chunks(
    weight: nn.Parameter, other: nn.Parameter | None
) -> Iterator[tuple[torch.Tensor, torch.Tensor | None]]:
    """The first weight and the change of the second, (elements,) float32, a piece at a time.

    The change is None if there is nothing to compare with.
    """
    flat = weight.detach().flatten()
    second = None if other is None else other.detach().flatten()
    for start in range(0, flat.numel(), CHUNK):
        piece = flat[start : start + CHUNK]
        first = piece.float()
        change = None
        if second is not None:
            change = second[start : start + CHUNK].to(first.device).float() - first
        yield first, change
