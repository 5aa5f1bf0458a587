from __future__ import annotations

import numpy as np
import pytest
import torch

from playground.engine import Engine
from playground.pipeline import Run
from playground.pointer import patch_rows
from playground.prompt import PromptImage
from playground.records import TowerOutput
from playground.vision.merger import merge_token, tap_similarities
from tests.components.runs import make_run


@pytest.fixture(scope="module")
def run(engine: Engine, image: PromptImage, wide_image: PromptImage) -> Run:
    run = make_run(engine, "Which is larger?", image, wide_image)
    run.ensure("vision")
    return run


def _tower(run: Run) -> TowerOutput:
    assert run.vision.image is not None
    return run.vision.image


@pytest.mark.parametrize("tap", [None, 0, 1, 2])
@pytest.mark.parametrize("number", [0, 1])
def test_the_steps_end_at_the_models_token(run: Run, tap: int | None, number: int) -> None:
    tower, span = _tower(run), run.inputs.spans[number]
    results = tower.pooler_output if tap is None else tower.deepstack_features[tap]
    before = sum(each.merged_h * each.merged_w for each in run.inputs.spans[:number])
    for token in (0, 5, span.merged_h * span.merged_w - 1):
        merged = merge_token(run.engine, tower, span, token, tap)
        row = results[before + token].numpy()
        # A matrix product of one row rounds differently from one of all rows.
        assert merged.max_abs_diff <= 1e-6 * max(1.0, float(np.abs(row).max()))
        assert merged.max_abs_diff == float(np.abs(merged.steps[-1].values[0] - row).max())


def test_the_order_of_norm_and_concat_is_the_mergers(run: Run) -> None:
    tower, span = _tower(run), run.inputs.spans[0]
    hidden = tower.hidden_states[0].shape[1]
    final, tap = (merge_token(run.engine, tower, span, 3, each) for each in (None, 0))
    names = ["linear_fc1", "act_fn", "linear_fc2"]
    assert [step.name for step in final.steps] == ["patches", "norm", "concat", *names]
    assert [step.name for step in tap.steps] == ["patches", "concat", "norm", *names]
    assert (final.norm_after_concat, tap.norm_after_concat) == (False, True)
    shapes = [step.values.shape for step in final.steps]
    assert shapes[:4] == [(4, hidden), (4, hidden), (1, 4 * hidden), (1, 4 * hidden)]
    assert [step.values.shape for step in tap.steps][:3] == [
        (4, hidden),
        (1, 4 * hidden),
        (1, 4 * hidden),
    ]


@torch.no_grad()
def test_the_steps_are_plain_layers(run: Run) -> None:
    tower, span = _tower(run), run.inputs.spans[1]
    token, tap = 2, 1
    merger = run.engine.model.model.visual.deepstack_merger_list[tap]
    rows = patch_rows(span)
    top, left = divmod(token, span.merged_w)
    block = rows[2 * top : 2 * top + 2, 2 * left : 2 * left + 2].ravel()
    state = tower.hidden_states[tower.deepstack_layers[tap] + 1][torch.from_numpy(block)]
    steps = {
        step.name: step.values for step in merge_token(run.engine, tower, span, token, tap).steps
    }
    np.testing.assert_array_equal(steps["patches"], state)
    joined = state.reshape(-1)
    normed = (joined - joined.mean()) / (joined.var(correction=0) + 1e-6).sqrt()
    normed = normed * merger.norm.weight + merger.norm.bias
    np.testing.assert_allclose(steps["norm"][0], normed, atol=1e-5)
    inner = merger.linear_fc1.weight @ normed + merger.linear_fc1.bias
    np.testing.assert_allclose(steps["linear_fc1"][0], inner, atol=1e-4)
    active = inner * 0.5 * (1 + torch.erf(inner / 2**0.5))
    np.testing.assert_allclose(steps["act_fn"][0], active, atol=1e-4)


def test_the_four_patches_are_compared(run: Run) -> None:
    tower, span = _tower(run), run.inputs.spans[0]
    merged = merge_token(run.engine, tower, span, 4)
    a, b = (torch.from_numpy(merged.steps[0].values[i]) for i in (1, 2))
    assert merged.similarity.shape == (4, 4)
    assert merged.similarity[1, 2] == pytest.approx(float(a @ b / (a.norm() * b.norm())), abs=1e-6)
    np.testing.assert_allclose(np.diag(merged.similarity), 1, rtol=1e-6)


@pytest.mark.parametrize("number", [0, 1])
def test_taps_compared_with_the_final_tokens(run: Run, number: int) -> None:
    tower, span = _tower(run), run.inputs.spans[number]
    before = sum(each.merged_h * each.merged_w for each in run.inputs.spans[:number])
    taps = tap_similarities(tower, span)
    assert [tap.tap for tap in taps] == list(tower.deepstack_layers)
    row, column = 1, 2
    index = before + row * span.merged_w + column
    for tap, features in zip(taps, tower.deepstack_features, strict=True):
        assert tap.cosine.shape == tap.norms.shape == (span.merged_h, span.merged_w)
        a, b = features[index], tower.pooler_output[index]
        cosine = float(a @ b / (a.norm() * b.norm()))
        assert tap.cosine[row, column] == pytest.approx(cosine, abs=1e-6)
        assert tap.norms[row, column] == pytest.approx(float(a.norm()), rel=1e-6)
