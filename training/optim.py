"""Optimisers and schedule: Muon for the matrices of transformer blocks, AdamW for the rest."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import Tensor, nn

from training.forward import PRECISION

MUON_MOMENTUM = 0.95
# Scales the RMS of an orthogonalised update to that of an AdamW step.
MUON_RMS = 0.2


def orthogonalize(matrices: Tensor, num_iterations: int = 5) -> Tensor:
    """Nearest semi-orthogonal matrices by Newton-Schulz iteration: (n, rows, columns).

    In bfloat16 if the forward pass uses it too: half the time with an equally good direction.
    """
    a, b, c = 3.4445, -4.7750, 2.0315  # quintic with a steep start (Keller Jordan, Muon)
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x.bfloat16() if PRECISION.low else x
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(num_iterations):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    x = x.mT if tall else x
    return x.to(matrices.dtype)


class Muon(torch.optim.Optimizer):
    """Orthogonalised momentum; matrices of one shape are processed as one batch."""

    def __init__(self, parameters: Iterable[Tensor], lr: float, weight_decay: float) -> None:
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[nn.Parameter]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_shape.setdefault(parameter.shape, []).append(parameter)
            for shape, parameters in by_shape.items():
                scale = group["lr"] * MUON_RMS * math.sqrt(max(shape))
                updates = self._update_directions(parameters)
                for parameter, update in zip(parameters, updates, strict=True):
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    parameter.add_(update, alpha=-scale)

    def _update_directions(self, parameters: list[nn.Parameter]) -> Tensor:
        """Orthogonalised updates of matrices of one shape; ranks share the work."""
        directions = []
        for parameter in parameters:
            state = self.state[parameter]
            if "momentum" not in state:
                state["momentum"] = torch.zeros_like(parameter)
            momentum = state["momentum"]
            momentum.lerp_(parameter.grad, 1 - MUON_MOMENTUM)
            directions.append(parameter.grad.lerp(momentum, MUON_MOMENTUM))
        stacked = torch.stack(directions)
        if not dist.is_initialized():
            return orthogonalize(stacked)
        own = slice(dist.get_rank(), None, dist.get_world_size())
        updates = torch.zeros_like(stacked)
        if len(stacked[own]):
            updates[own] = orthogonalize(stacked[own])
        dist.all_reduce(updates)
        return updates


def is_block_matrix(name: str, parameter: Tensor) -> bool:
    """Whether Muon updates this parameter: a matrix in a vision block or decoder layer."""
    return parameter.ndim == 2 and (".blocks." in name or ".layers." in name)


class Optimizers:
    """AdamW and Muon stepped together; every group remembers its peak learning rate."""

    def __init__(
        self,
        named_parameters: Iterable[tuple[str, nn.Parameter]],
        *,
        adam_lr: float,
        muon_lr: float,
        weight_decay: float = 0.02,
        vision_factor: float = 1.0,
    ) -> None:
        groups: dict[tuple[bool, bool, bool], list[nn.Parameter]] = {}
        for name, parameter in named_parameters:
            key = (is_block_matrix(name, parameter), ".visual." in name, parameter.ndim > 1)
            groups.setdefault(key, []).append(parameter)
        adam, muon = [], []
        for (matrix, vision, decays), parameters in groups.items():
            peak = (muon_lr if matrix else adam_lr) * (vision_factor if vision else 1.0)
            group = {"params": parameters, "lr": peak, "peak_lr": peak}
            group["weight_decay"] = weight_decay if decays else 0.0
            (muon if matrix else adam).append(group)
        self.adam = torch.optim.AdamW(adam, lr=adam_lr, betas=(0.9, 0.98), eps=1e-8)
        self.muon = Muon(muon, lr=muon_lr, weight_decay=weight_decay)

    def step(self, factor: float) -> None:
        """One step at `factor` of the peak learning rates; clears the gradients."""
        for optimizer in (self.adam, self.muon):
            for group in optimizer.param_groups:
                group["lr"] = group["peak_lr"] * factor
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    def state_dict(self) -> dict[str, object]:
        return {"adam": self.adam.state_dict(), "muon": self.muon.state_dict()}

    def load_state_dict(self, state: dict[str, dict]) -> None:
        self.adam.load_state_dict(state["adam"])
        self.muon.load_state_dict(state["muon"])


def schedule(progress: float, warmup: float = 0.02) -> float:
    """Share of the peak learning rate at `progress` (0..1): warm-up, then cosine to 0."""
    if progress < warmup:
        return max(progress, 0.05 * warmup) / warmup
    return 0.5 * (1 + math.cos(math.pi * min((progress - warmup) / (1 - warmup), 1.0)))
