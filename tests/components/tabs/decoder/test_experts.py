"""The decoder tab's experts."""

from __future__ import annotations

import numpy as np
import pytest

from components.tabs.decoder import experts
from playground.engine import Engine
from playground.pipeline import Run
from playground.pointer import locate_token
from tests.components.runs import make_run
from tests.media_samples import make_image


@pytest.fixture(scope="module")
def moe(tiny_random_moe_engine: Engine) -> Run:
    run = make_run(tiny_random_moe_engine, "Which?", make_image())
    run.ensure("decoder")
    return run


def test_experts_of_a_token(moe: Run) -> None:
    routes = experts.read_routes(moe)
    selection = locate_token(moe.inputs, moe.positions, 6)
    shown = np.nan_to_num(experts.path(moe, selection).data[0].z)
    for row in range(len(routes.layers)):
        for expert, weight in zip(routes.ids[row, 6], routes.weights[row, 6], strict=True):
            assert shown[row, int(expert)] == pytest.approx(float(weight))
    assert (shown > 0).sum() == 2 * len(routes.layers)
    assert f"expert {int(routes.ids[-1, 6, 0])} " in experts.words(moe, selection)


def test_experts_of_a_layer(moe: Run) -> None:
    routes = experts.read_routes(moe)
    whole = experts.whole(moe, 1)
    shown = np.nan_to_num(whole.data[0].z)
    np.testing.assert_allclose(shown.sum(axis=0), 1, atol=1e-6)
    assert shown[int(routes.ids[1, 9, 0]), 9] == pytest.approx(float(routes.weights[1, 9, 0]))
    assert whole.layout.meta["pointer"]["what"] == "token"
    assert experts.LAYER.details(moe)["high"] == len(routes.layers) - 1


def test_a_dense_model_has_none(run: Run, moe: Run) -> None:
    assert experts.PART.shown is not None
    assert not experts.PART.shown(run)
    assert experts.PART.shown(moe)
