"""The vision tab's snippets compute the same values as its parts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from components.snippets.scripts import write_snippet
from playground.engine import Engine
from playground.pipeline import Run
from playground.prompt import Prompt
from playground.records import TowerOutput, VisualSpan
from playground.vision.attention import measure_block, patch_attention
from playground.vision.merger import merge_token, tap_similarities
from playground.vision.position_grid import blend_position, position_similarity, sample_grid
from playground.vision.rope import head_kernel, head_vectors, ones_kernel, patch_scores, rope_angles

PATCH, BLOCK, HEAD = (2, 5), 1, 1
# A later image of several, and a later frame of a video next to an image.
SPANS = [("image", 0), ("two_images", 1), ("image_and_video", 2)]


@pytest.fixture(scope="module")
def runs(engine: Engine, snippet_prompts: dict[str, Prompt]) -> dict[str, Run]:
    """On the random checkpoint and on the shipped one."""
    return {kind: Run(engine, snippet_prompts[kind]) for kind, _ in SPANS}


@pytest.fixture(params=SPANS, ids=lambda run_and_span: run_and_span[0])
def run_and_span(request: pytest.FixtureRequest, runs: dict[str, Run]) -> tuple[Run, int]:
    kind, number = request.param
    return runs[kind], number


def _find(run_and_span: tuple[Run, int]) -> tuple[Run, VisualSpan, TowerOutput]:
    run, number = run_and_span
    span = run.inputs.spans[number]
    tower = run.vision.tower(span.kind)
    assert tower is not None
    return run, span, tower


def _close(found: Any, expected: Any, atol: float = 2e-5) -> None:
    np.testing.assert_allclose(np.asarray(found), np.asarray(expected), rtol=1e-5, atol=atol)


def test_attention_of_a_patch(run_and_span: tuple[Run, int], play: Any, capsys: Any) -> None:
    run, span, tower = _find(run_and_span)
    chosen = {"span": run_and_span[1], "patch": PATCH, "block": BLOCK}
    found = play(write_snippet("vision_attention", run, **chosen, head=HEAD), run)
    weights = patch_attention(run.engine, tower, span, BLOCK, *PATCH)
    _close(found["weights"], weights)
    _close(found["shown"], weights[HEAD])
    _close(found["entropy"], -(weights[HEAD] * np.log(weights[HEAD])).sum(), 1e-4)
    assert found["brightest"] == divmod(int(weights[HEAD].argmax()), span.grid_w)
    mean = play(write_snippet("vision_attention", run, **chosen), run)["shown"]
    _close(mean, weights.mean(0))


@pytest.mark.parametrize("most", [7, 512])
def test_attention_received(
    most: int, run_and_span: tuple[Run, int], play: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, span, tower = _find(run_and_span)
    monkeypatch.setattr("playground.vision.attention.MAX_QUERIES", most)
    code = write_snippet("vision_attention", run, span=run_and_span[1], block=BLOCK, received=True)
    record = measure_block(run.engine, tower, span, BLOCK, max_queries=most)
    _close(play(code, run)["weights"], record.received)


@pytest.mark.parametrize("of_head", [False, True])
def test_rope(of_head: bool, run_and_span: tuple[Run, int], play: Any) -> None:
    run, span, tower = _find(run_and_span)
    chosen = {"span": run_and_span[1], "patch": PATCH, "block": BLOCK, "head": HEAD}
    found = play(write_snippet("vision_rope", run, **chosen, of_head=of_head), run)
    vectors = head_vectors(run.engine, tower, span, block=BLOCK, head=HEAD, patch=PATCH)
    scores = patch_scores(run.engine, span, vectors, PATCH)
    _close(found["rotated"], scores.rotated, 1e-4)
    _close(found["plain"], scores.plain, 1e-4)
    kernel = head_kernel(run.engine, span, vectors) if of_head else ones_kernel(run.engine, span)
    _close(found["kernel"], kernel, 1e-4)
    _close(found["rotary"].inv_freq, rope_angles(run.engine, span).inv_freq)


def test_position(run_and_span: tuple[Run, int], play: Any) -> None:
    run, span, tower = _find(run_and_span)
    found = play(write_snippet("vision_position", run, span=run_and_span[1], patch=PATCH), run)
    samples = sample_grid(run.engine, span)
    row = int(found["row"])
    assert found["indices"][row].tolist() == samples.indices[PATCH].tolist()
    _close(found["weights"][row], samples.weights[PATCH])
    rows = slice(span.patch_start, span.patch_start + span.num_patches)
    assert torch.equal(found["pos_embeds"], tower.pos_embeds[rows])
    norm = blend_position(run.engine, tower, span, samples, PATCH).norm
    assert float(found["pos_embeds"][row].norm()) == pytest.approx(norm)
    _close(found["similarity"], position_similarity(tower, span, PATCH))


@pytest.mark.parametrize("tap", [None, 1])
def test_merger(tap: int | None, run_and_span: tuple[Run, int], play: Any) -> None:
    run, span, tower = _find(run_and_span)
    found = play(write_snippet("vision_merger", run, span=run_and_span[1], token=3, tap=tap), run)
    record = merge_token(run.engine, tower, span, 3, tap)
    names = {
        "patches": "patches",
        "norm": "normed",
        "concat": "joined",
        "linear_fc1": "inner",
        "act_fn": "active",
        "linear_fc2": "merged",
    }
    for step in record.steps:
        _close(found[names[step.name]], step.values)
    assert record.steps[1].name == ("norm" if tap is None else "concat")
    _close(found["similarity"], record.similarity)
    results = tower.pooler_output if tap is None else tower.deepstack_features[tap]
    _close(found["merged"][0], results[span.patch_start // span.merge_size**2 + 3])
    cosines = [each.cosine.ravel() for each in tap_similarities(tower, span)]
    _close(torch.stack(found["tap_cosines"]), cosines)
