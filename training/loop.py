"""The training loop that both stages share: ranks, schedule, snapshots, log lines."""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from training.optim import Optimizers, schedule


@dataclass(frozen=True, slots=True)
class Budget:
    """How long a stage trains: a number of steps, and optionally a limit in minutes.

    The learning rate follows whichever budget is closer to its end, so it always reaches 0. Runs
    limited only by steps are exactly reproducible.
    """

    steps: int
    minutes: float | None = None

    def progress(self, step: int, seconds: float) -> float:
        done = step / self.steps
        if self.minutes is not None:
            done = max(done, seconds / (60 * self.minutes))
        return min(done, 1.0)


@dataclass
class Run:
    """State of one stage on this rank."""

    name: str
    modules: dict[str, nn.Module]
    optimizers: Optimizers
    budget: Budget
    folder: Path
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    step: int = 0
    seconds: float = 0.0
    averages: dict[str, float] = field(default_factory=dict)

    @property
    def snapshot_path(self) -> Path:
        return self.folder / f"{self.name}.pt"

    def save(self) -> None:
        """Write the snapshot atomically, so that a killed run leaves the last complete one."""
        state = {
            "modules": {name: module.state_dict() for name, module in self.modules.items()},
            "optimizers": self.optimizers.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
        }
        part = self.snapshot_path.with_suffix(".part")
        torch.save(state, part)
        os.replace(part, self.snapshot_path)

    def load(self) -> bool:
        """Continue from the snapshot, if there is one."""
        if not self.snapshot_path.exists():
            return False
        state = torch.load(self.snapshot_path, weights_only=True, map_location=self.device)
        for name, module in self.modules.items():
            module.load_state_dict(state["modules"][name])
        self.optimizers.load_state_dict(state["optimizers"])
        self.step, self.seconds = state["step"], state["seconds"]
        return True

    def note(self, metrics: dict[str, float]) -> None:
        for name, value in metrics.items():
            old = self.averages.get(name, value)
            self.averages[name] = old + 0.03 * (value - old)


def average_gradients(parameters: Iterable[nn.Parameter], progress: float) -> tuple[float, float]:
    """Average over ranks and clip to norm 1; returns (agreed progress, gradient norm)."""
    parameters = [p for p in parameters if p.requires_grad]
    grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    flat = torch.cat([*(grad.reshape(-1) for grad in grads), grads[0].new_tensor([progress])])
    if dist.is_initialized():
        dist.all_reduce(flat)
        flat /= dist.get_world_size()
    progress = flat[-1].item()
    norm = flat[:-1].norm()
    flat[:-1] *= (1.0 / (norm + 1e-6)).clamp(max=1.0)
    sizes = [p.numel() for p in parameters]
    for parameter, part in zip(parameters, flat[:-1].split(sizes), strict=True):
        parameter.grad = part.view_as(parameter)
    return progress, norm.item()


class BatchFeed:
    """Batches by step; with workers, other processes build the next ones ahead."""

    def __init__(
        self, build_batch: Callable[[int, int, float], Any], rank: int, num_workers: int
    ) -> None:
        self.build_batch, self.rank = build_batch, rank
        self.ahead = 3 * num_workers
        self.pool = None
        self.pending: dict[int, Future[Any]] = {}
        if num_workers:
            context = multiprocessing.get_context("spawn")
            self.pool = ProcessPoolExecutor(
                num_workers, mp_context=context, initializer=_one_thread
            )

    def get(self, step: int, progress: float) -> Any:
        if self.pool is None:
            return self.build_batch(step, self.rank, progress)
        for index in range(step, step + self.ahead):
            if index not in self.pending:
                self.pending[index] = self.pool.submit(self.build_batch, index, self.rank, progress)
        return self.pending.pop(step).result()

    def close(self) -> None:
        if self.pool is not None:
            self.pool.shutdown(wait=False, cancel_futures=True)


def _one_thread() -> None:
    torch.set_num_threads(1)


def run_stage(
    run: Run,
    build_batch: Callable[[int, int, float], Any],
    run_batch: Callable[[Any], tuple[Tensor, dict[str, float]]],
    *,
    num_workers: int = 0,
    save_every_seconds: float = 100.0,
    log_every: int = 25,
    max_steps: int | None = None,
) -> None:
    """Train until the budget is spent (or for `max_steps` more steps).

    build_batch(step, rank, progress) must depend on nothing else, so that a resumed run gets the
    same batches as an uninterrupted one.
    """
    rank = dist.get_rank() if dist.is_initialized() else 0
    parameters = [p for module in run.modules.values() for p in module.parameters()]
    last_save = time.monotonic()
    last_step = run.budget.steps if max_steps is None else run.step + max_steps
    progress = run.budget.progress(run.step, run.seconds)
    feed = BatchFeed(build_batch, rank, num_workers)
    while run.step < min(last_step, run.budget.steps) and progress < 1.0:
        started = time.monotonic()
        loss, metrics = run_batch(feed.get(run.step, progress).to(run.device))
        loss.backward()
        agreed, norm = average_gradients(parameters, progress)
        run.optimizers.step(schedule(agreed))
        run.step += 1
        run.seconds += time.monotonic() - started
        progress = run.budget.progress(run.step, run.seconds)
        # Ranks measure slightly different times; all use that of the first rank.
        progress = _from_first_rank(progress)
        run.note({"loss": loss.item(), "grad_norm": norm, **metrics})
        if rank == 0 and run.step % log_every == 0:
            _log(run, progress)
        if rank == 0 and time.monotonic() - last_save > save_every_seconds:
            run.save()
            last_save = time.monotonic()
    feed.close()
    if rank == 0:
        _log(run, progress)
        run.save()
    if dist.is_initialized():
        dist.barrier()


def _from_first_rank(value: float) -> float:
    if not dist.is_initialized():
        return value
    shared = torch.tensor([value], dtype=torch.float64)
    dist.broadcast(shared, 0)
    return shared.item()


def _log(run: Run, progress: float) -> None:
    line = {
        "stage": run.name,
        "step": run.step,
        "seconds": round(run.seconds, 1),
        "progress": round(progress, 4),
        **{name: round(value, 4) for name, value in sorted(run.averages.items())},
    }
    with open(run.folder / f"{run.name}.jsonl", "a", encoding="utf-8") as log:
        log.write(json.dumps(line) + "\n")
