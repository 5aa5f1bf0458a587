"""Records refuse wrong shapes, quoting both, and survive the trip to another process."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import FrozenInstanceError, fields, is_dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch

from playground.decoder.stage import logit_lens
from playground.engine import Engine
from playground.errors import (
    CheckpointError,
    InputError,
    ModelError,
    PlaygroundError,
    StageCancelled,
)
from playground.kv_cache.stage import run_cache_reuse
from playground.logits import next_token_probs
from playground.pipeline import Run
from playground.prompt import PromptImage, PromptVideo
from playground.records import MergedInputs, VisionOutput
from playground.sampling.stage import run_sampling
from playground.sampling.trace import (
    Candidate,
    SamplingRun,
    SamplingSettings,
    SamplingTrace,
    TokenStep,
)
from tests.playground.prompt_samples import PROMPTS


@pytest.fixture(scope="module")
def run(tiny_random_engine: Engine) -> Run:
    run = Run(tiny_random_engine, PROMPTS["image_and_video"])
    run.ensure("decoder")
    return run


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value inside a record, with its path."""
    if is_dataclass(value):
        for field in fields(value):
            yield from leaves(getattr(value, field.name), f"{path}.{field.name}")
    elif hasattr(value, "layers"):
        for index, layer in enumerate(value.layers):
            yield f"{path}.keys[{index}]", layer.keys
            yield f"{path}.values[{index}]", layer.values
    elif isinstance(value, tuple | list):
        for index, item in enumerate(value):
            yield from leaves(item, f"{path}[{index}]")
    else:
        yield path, value


def all_records(run: Run) -> dict[str, Any]:
    columns = [SamplingSettings(temperature=0.0), SamplingSettings(seed=1)]
    return {
        "prompt": run.prompt,
        "inputs": run.inputs,
        "vision": run.vision,
        "merged": run.merged,
        "decoded": run.decoded,
        "parity": run.parity,
        "lens": logit_lens(run.engine, run.decoded, (0, 1), 2),
        "probs": next_token_probs(run.engine, run.decoded.logits, 3),
        "sampling": run_sampling(
            run.engine, run.inputs, run.merged, run.decoded, columns, max_new_tokens=2
        ),
        "reuse": run_cache_reuse(run.engine, run.inputs, run.inputs, repeats=1),
    }


def test_records_survive_pickling(run: Run) -> None:
    for name, record in all_records(run).items():
        copy = pickle.loads(pickle.dumps(record))
        mine, theirs = list(leaves(record, name)), list(leaves(copy, name))
        assert len(mine) > 1
        for (path, one), (other_path, other) in zip(mine, theirs, strict=True):
            assert path == other_path
            if isinstance(one, torch.Tensor):
                assert torch.equal(one, other), path
                assert one.dtype == other.dtype, path
            elif isinstance(one, np.ndarray):
                np.testing.assert_array_equal(one, other)
            else:
                assert one == other, path


def test_records_hold_no_gradients_and_lie_on_the_cpu(run: Run) -> None:
    for name, record in all_records(run).items():
        for path, value in leaves(record, name):
            if isinstance(value, torch.Tensor):
                assert not value.requires_grad, path
                assert value.device.type == "cpu", path


def test_records_cannot_be_changed(run: Run) -> None:
    for record in (run.prompt, run.inputs, run.merged, run.decoded):
        with pytest.raises(FrozenInstanceError):
            setattr(record, fields(record)[0].name, None)  # type: ignore[arg-type]
    assert run.inputs != pickle.loads(pickle.dumps(run.inputs))  # by identity, never by array
    hash(run.inputs)


@pytest.mark.parametrize("kind", [PlaygroundError, CheckpointError, InputError, ModelError])
def test_errors_survive_pickling(kind: type[PlaygroundError]) -> None:
    error = kind("What.", limit="Limit.", remedy="Remedy.")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert (copy.what, copy.limit, copy.remedy) == ("What.", "Limit.", "Remedy.")
    assert str(copy) == "What. Limit. Remedy."


def test_cancelling_survives_pickling() -> None:
    copy = pickle.loads(pickle.dumps(StageCancelled()))
    assert type(copy) is StageCancelled
    assert str(copy) == "Stopped."


def test_images_and_videos() -> None:
    pixels = np.zeros((4, 6, 3), np.uint8)
    assert PromptImage(pixels).size == (6, 4)
    with pytest.raises(PlaygroundError, match=r"got \(4, 6\) uint8"):
        PromptImage(pixels[..., 0])
    with pytest.raises(PlaygroundError, match="float32"):
        PromptImage(pixels.astype(np.float32))
    frames = np.zeros((2, 4, 6, 3), np.uint8)
    assert PromptVideo(frames, (0, 1), 2.0, 2).size == (6, 4)
    with pytest.raises(PlaygroundError, match="frame_indices: expected 2, got 1"):
        PromptVideo(frames, (0,), 2.0, 2)
    with pytest.raises(PlaygroundError, match=r"frames: expected .* got \(2, 4, 6\)"):
        PromptVideo(frames[..., 0], (0, 1), 2.0, 2)


def test_shapes_are_checked_on_construction(run: Run) -> None:
    with pytest.raises(PlaygroundError, match=r"input_ids: expected \(batch, seq\) = \(1, "):
        replace(run.inputs, input_ids=run.inputs.input_ids[:, 1:])
    tower = run.vision.image
    assert tower is not None
    with pytest.raises(PlaygroundError, match=r"hidden_states\[0\]: expected \(patches, hidden\)"):
        replace(tower, hidden_states=(tower.hidden_states[0][1:],))
    with pytest.raises(PlaygroundError, match=r"deepstack_features\[1\]: expected"):
        replace(tower, deepstack_features=(tower.pooler_output, tower.pooler_output[1:]))
    merged = run.merged
    with pytest.raises(PlaygroundError, match=r"position_ids: expected \(thw, batch, seq\) = \(3"):
        replace(merged, position_ids=merged.position_ids[0])
    assert merged.visual_pos_masks is not None
    with pytest.raises(PlaygroundError, match="visual_pos_masks"):
        replace(merged, visual_pos_masks=merged.visual_pos_masks[0])
    assert isinstance(replace(merged), MergedInputs)
    assert VisionOutput(tower, None).tower("video") is None


def _trace(*ids: int) -> SamplingTrace:
    steps = tuple(
        TokenStep(i, str(i), 1.0, 0.0, None, 1, (Candidate(i, str(i), 1.0, 1.0, None),))
        for i in ids
    )
    return SamplingTrace(SamplingSettings(), steps, "", "length")


@pytest.mark.parametrize(
    ("columns", "step"),
    [
        ([(1, 2, 3), (1, 2, 3)], None),
        ([(1, 2, 3), (1, 5, 3)], 1),
        ([(1, 2), (1, 2, 3)], 2),
        ([(1,), (2,), (1,)], 0),
        ([(1, 2)], None),
        ([(), ()], None),
    ],
)
def test_first_divergence(columns: list[tuple[int, ...]], step: int | None) -> None:
    assert SamplingRun(tuple(_trace(*ids) for ids in columns)).first_divergence == step


def test_hits_and_computed_tokens(run: Run) -> None:
    reuse = run_cache_reuse(run.engine, run.inputs, run.inputs, repeats=1)
    assert reuse.hit
    assert reuse.shared_tokens == run.inputs.num_tokens
    assert reuse.computed_tokens == 1
    nothing = replace(reuse, reused_tokens=0)
    assert not nothing.hit
    assert nothing.computed_tokens == run.inputs.num_tokens
