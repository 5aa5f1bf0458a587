"""Recomputed attention compared with the weights of a model with eager attention."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from transformers.models.qwen3_vl import modeling_qwen3_vl

from playground.engine import Engine
from playground.errors import InputError
from playground.loading.load import load_engine
from playground.pipeline import Run
from playground.pointer import patch_rows
from playground.records import VisualSpan
from playground.vision import attention as vision_attention
from playground.vision.attention import (
    count_scores,
    measure_block,
    measure_uniform,
    patch_attention,
)
from tests.playground.prompt_samples import PROMPTS


@pytest.fixture(scope="module", params=["random", "shipped"])
def engines(request: pytest.FixtureRequest) -> tuple[Engine, Engine]:
    """A checkpoint with eager attention, and with the page's attention kernel."""
    if request.param == "shipped":
        source, plain = "tiny", request.getfixturevalue("shipped_engine")
    else:
        source = request.getfixturevalue("tiny_random_folder")
        plain = request.getfixturevalue("tiny_random_engine")
    assert plain.attn != "eager"
    return load_engine(source, device="cpu", dtype="float32", attn="eager"), plain


def eager_weights(
    monkeypatch: pytest.MonkeyPatch,
    run: Run,
    kind: str,
    states: Sequence[torch.Tensor] | None = None,
) -> list[list[torch.Tensor]]:
    """By block, then by image or temporal patch: the real weights (heads, query, key).

    Each block gets its own of ``states`` where they are given, else what the one before it made.
    """
    visual = run.engine.model.model.visual
    found: dict[int, list[torch.Tensor]] = {id(block.attn): [] for block in visual.blocks}
    plain = modeling_qwen3_vl.eager_attention_forward

    def record(module: Any, *args: Any, **kwargs: Any) -> Any:
        output, weights = plain(module, *args, **kwargs)
        if id(module) in found:
            found[id(module)].append(weights[0])
        return output, weights

    monkeypatch.setattr(modeling_qwen3_vl, "eager_attention_forward", record)
    values = run.inputs.pixel_values if kind == "image" else run.inputs.pixel_values_videos
    grid = run.inputs.image_grid_thw if kind == "image" else run.inputs.video_grid_thw
    hooks = [
        block.register_forward_pre_hook(lambda _module, args, state=state: (state, *args[1:]))
        for block, state in zip(visual.blocks, states or (), strict=False)
    ]
    with torch.no_grad():
        visual(values, grid_thw=grid)
    for hook in hooks:
        hook.remove()
    return list(found.values())


@pytest.mark.parametrize(("same", "tolerance"), [(False, 1e-5), (True, 2e-6)])
@pytest.mark.parametrize(("name", "kind"), [("two_images", "image"), ("video", "video")])
def test_attention_is_that_of_an_eager_forward(
    monkeypatch: pytest.MonkeyPatch,
    engines: tuple[Engine, Engine],
    name: str,
    kind: str,
    same: bool,
    tolerance: float,
) -> None:
    """A whole eager forward drifts a little from one on sdpa, block after block; what the map of
    one block adds to that shows where both get the same input."""
    eager_engine, engine = engines
    run = Run(engine, PROMPTS[name])
    tower = run.vision.tower("image" if kind == "image" else "video")
    assert tower is not None
    eager_run = Run(eager_engine, PROMPTS[name])
    weights = eager_weights(monkeypatch, eager_run, kind, tower.hidden_states if same else None)
    assert len(weights) == engine.facts.vision_depth
    for block, by_span in enumerate(weights):
        assert len(by_span) == len(run.inputs.spans) > 1
        for span, expected in zip(run.inputs.spans, by_span, strict=True):
            order = patch_rows(span) - span.patch_start
            for row, column in ((0, 0), (1, 2), (span.grid_h - 1, span.grid_w - 1)):
                found = patch_attention(engine, tower, span, block, row, column)
                plain = expected[:, order[row, column]].numpy()[:, order]
                np.testing.assert_allclose(found, plain, rtol=0, atol=tolerance)
                np.testing.assert_allclose(found.sum((1, 2)), 1, atol=1e-5)


def test_heads_are_measured_over_the_eager_weights(
    monkeypatch: pytest.MonkeyPatch, engines: tuple[Engine, Engine]
) -> None:
    eager_engine, engine = engines
    weights = eager_weights(monkeypatch, Run(eager_engine, PROMPTS["two_images"]), "image")
    run = Run(engine, PROMPTS["two_images"])
    assert run.vision.image is not None
    # Several chunks, the last one not full.
    monkeypatch.setattr(vision_attention, "CHUNK_SCORES", 7 * 4 * 48)
    span = run.inputs.spans[1]
    order = patch_rows(span) - span.patch_start
    positions = np.argwhere(np.ones_like(order))[np.argsort(order.ravel())]
    away = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
    for block in (0, engine.facts.vision_depth - 1):
        plain = weights[block][1].double().numpy()
        found = measure_block(engine, run.vision.image, span, block)
        entropy = -(plain * np.log(np.maximum(plain, 1e-300))).sum(-1).mean(-1)
        np.testing.assert_allclose(found.entropy, entropy, atol=1e-4)
        np.testing.assert_allclose(found.distance, (plain * away).sum(-1).mean(-1), rtol=1e-4)
        np.testing.assert_allclose(found.received, plain.mean(1)[:, order], atol=1e-5)
        assert found.num_queries == span.num_patches


def test_a_large_image_is_measured_over_a_sample_of_queries(tiny_random_engine: Engine) -> None:
    run = Run(tiny_random_engine, PROMPTS["image"])
    span, tower = run.inputs.spans[0], run.vision.image
    assert tower is not None
    found = measure_block(tiny_random_engine, tower, span, 1, max_queries=3)
    last = span.num_patches - 1
    corners = [divmod(index, span.grid_w) for index in (0, round(last / 2), last)]
    rows = [patch_attention(tiny_random_engine, tower, span, 1, *position) for position in corners]
    assert found.num_queries == 3
    np.testing.assert_allclose(found.received, np.mean(rows, axis=0), atol=1e-6)


def test_uniform_attention_by_hand() -> None:
    """2 x 2 patches: each is 0 from itself, 1 from two and the root of 2 from one."""
    even = measure_uniform(VisualSpan("image", 0, 0, 0, 1, 2, 2, 0, 2))
    assert even.entropy == pytest.approx(math.log(4))
    assert even.distance == pytest.approx((0 + 1 + 1 + math.sqrt(2)) / 4)


def test_the_cost_counts_every_block_and_head(tiny_random_engine: Engine) -> None:
    small = VisualSpan("image", 0, 0, 0, 2, 2, 4, 0, 2)
    large = VisualSpan("image", 0, 0, 0, 1200, 60, 80, 0, 2)
    assert count_scores(tiny_random_engine, small) == 4 * 2 * 8 * 8
    assert count_scores(tiny_random_engine, large) == 4 * 2 * 512 * 4800


def test_what_is_not_there_is_refused(tiny_random_engine: Engine) -> None:
    run = Run(tiny_random_engine, PROMPTS["image"])
    span, tower = run.inputs.spans[0], run.vision.image
    assert tower is not None
    with pytest.raises(InputError, match="no patch at row 0, column 99"):
        patch_attention(tiny_random_engine, tower, span, 0, 0, 99)
    with pytest.raises(InputError, match="no block 4"):
        measure_block(tiny_random_engine, tower, span, 4)
