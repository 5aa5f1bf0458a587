"""One prompt through two checkpoints: how far every recorded step of the forward pass moves."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from playground.dump import StepCheck, check_step, stage_tensors
from playground.engine import Engine
from playground.language import say
from playground.pipeline import STAGES, Run
from playground.records import Progress


@dataclass(frozen=True, slots=True)
class Drift:
    """Every step that both runs have, in the order of the forward pass."""

    checks: tuple[StepCheck, ...]  # with the names of ``dump_tensors``
    only_first: tuple[str, ...]  # steps that the second run lacks
    only_second: tuple[str, ...]

    @property
    def first_moved(self) -> StepCheck | None:
        """The first step that is not equal; everything after it follows from it, or adds to it."""
        return next((check for check in self.checks if check.status != "equal"), None)


def run_beside(first: Run, other: Engine) -> Run:
    """The prompt of a run with another checkpoint; one processor makes the inputs only once.

    Args:
        first: of the first checkpoint.
        other: the other one, of the same architecture.
    """
    run = Run(other, first.prompt)
    if other.processor is first.engine.processor:
        run.adopt({"preprocess": first.inputs})
    return run


def measure_drift(first: Run, second: Run, *, progress: Progress | None = None) -> Drift:
    """Compare two runs of one prompt, step by step.

    Args:
        first: the reference; missing stages are computed.
        second: the same prompt with another checkpoint of the same architecture.
        progress: called before every stage, and by the stages that are computed.
    """
    checks: list[StepCheck] = []
    only: tuple[list[str], list[str]] = [], []
    for stage in STAGES:
        tensors = []
        for run in (first, second):
            run.ensure(stage, progress)
            tensors.append(stage_tensors(run, stage))
        reference, other = tensors
        if progress is not None:
            progress(say("comparing the steps"), STAGES.index(stage), len(STAGES))
        checks += [
            check_step(name, tensor, other[name], tolerance=0.0)
            for name, tensor in reference.items()
            if name in other
        ]
        only[0].extend(name for name in reference if name not in other)
        only[1].extend(name for name in other if name not in reference)
    return Drift(tuple(checks), tuple(only[0]), tuple(only[1]))


def token_drift(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """|second - first| / |first| per token: (seq,) float32 for states of (seq, hidden)."""
    norms: torch.Tensor = first.float().norm(dim=-1)
    drift: torch.Tensor = (second.float() - first.float()).norm(dim=-1) / norms.clamp(min=1e-30)
    return drift
