"""Sizes of a layer's keys and values against the cache itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from playground.engine import Engine
from playground.errors import InputError
from playground.kv_cache.channels import channel_norms
from playground.pipeline import Run
from tests.playground.kv_cache.request_pairs import RED, one


def test_channel_norms(tiny_random_engine: Engine) -> None:
    run = Run(tiny_random_engine, one("Describe it.", RED))
    cache: Any = run.decoded.cache
    for part in ("keys", "values"):
        found = channel_norms(cache, 2, part, 1)  # type: ignore[arg-type]
        expected = getattr(cache.layers[2], part)[0, 1].abs().T.numpy()
        np.testing.assert_allclose(found.norms, expected, rtol=1e-5)
        assert found.positions.tolist() == list(range(run.inputs.num_tokens))
        assert found.positions_per_column == 1
    pooled = channel_norms(cache, 2, "keys", 1, max_cells=16 * 8)
    seq = run.inputs.num_tokens
    assert pooled.positions_per_column == -(-seq // 8)
    assert pooled.norms.size <= 16 * 8
    first = cache.layers[2].keys[0, 1, : pooled.positions_per_column]
    np.testing.assert_allclose(pooled.norms[:, 0], first.square().mean(0).sqrt().numpy(), rtol=1e-5)
    last = cache.layers[2].keys[0, 1, int(pooled.positions[-1]) :]
    np.testing.assert_allclose(pooled.norms[:, -1], last.square().mean(0).sqrt().numpy(), rtol=1e-5)


@pytest.mark.parametrize(
    ("layer", "part", "head"), [(9, "keys", 0), (0, "queries", 0), (0, "keys", 2), (-1, "keys", 0)]
)
def test_no_such_part_of_the_cache(
    tiny_random_engine: Engine, layer: int, part: Any, head: int
) -> None:
    cache = Run(tiny_random_engine, one("Hi")).decoded.cache
    with pytest.raises(InputError, match=r"There (is|are) no"):
        channel_norms(cache, layer, part, head)
