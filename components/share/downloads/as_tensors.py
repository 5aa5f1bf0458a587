"""A stage's tensors as one safetensors file with a manifest in its header."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.numpy import save

import playground
from playground.pipeline import STAGES

if TYPE_CHECKING:
    from playground.pipeline import Run


def write_tensors(stage: str, run: Run, found: Any) -> bytes:
    """Write the file of one stage.

    Args:
        stage: a stage that has run.
        run: the page's run.
        found: a lab's finding; None for the stages of the model.
    """
    manifest = {**playground.dump.describe_run(run), "stage": stage}
    if stage not in STAGES:
        arrays = LAB_ARRAYS[stage](found)
        content = json.dumps({**manifest, "order": list(arrays)}, ensure_ascii=False)
        return bytes(save(arrays, metadata={playground.dump.MANIFEST_KEY: content}))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "stage"
        playground.dump.write_tensors(playground.dump.stage_tensors(run, stage), manifest, path)
        return path.read_bytes()


def _sampling(found: Any) -> dict[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = {}
    for name, trace in zip(found.names, found.sampled.traces, strict=True):
        steps = trace.steps
        arrays[f"sampling.{name}.ids"] = np.array([step.id for step in steps], np.int64)
        arrays[f"sampling.{name}.prob"] = np.array([step.prob for step in steps], np.float64)
        arrays[f"sampling.{name}.entropy"] = np.array([step.entropy for step in steps], np.float64)
        arrays[f"sampling.{name}.num_kept"] = np.array([step.num_kept for step in steps], np.int64)
    return arrays


COUNTS = ("num_tokens", "reused_tokens", "computed_tokens", "kv_bytes", "next_token_id")


def _cache(found: Any) -> dict[str, np.ndarray]:
    requests = found.requests
    arrays = {
        f"cache.{name}": np.array([request[name] for request in requests], np.int64)
        for name in COUNTS
    }
    for name in ("miss_ms", "hit_ms"):  # (requests, repeats)
        arrays[f"cache.{name}"] = np.array([request[name] for request in requests], np.float64)
    return arrays


LAB_ARRAYS: Mapping[str, Callable[[Any], dict[str, np.ndarray]]] = {
    "sampling": _sampling,
    "cache": _cache,
}
