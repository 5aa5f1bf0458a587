"""Columns that were written once, for all tests of the sampling lab."""

from __future__ import annotations

from typing import Any

import pytest

from components.tabs.sampling import tab as sampling_tab
from components.tabs.sampling.lab import Lab
from components.tabs.sampling.tab import build_sampling_tab
from components.tabs.sampling.writing import SamplingParts
from playground.engine import Engine
from playground.pipeline import Run
from tests.components.runs import build_alone, make_run
from tests.components.tabs.sampling.columns import GREEDY, WILD, control_values, write
from tests.media_samples import make_square_picture


@pytest.fixture(scope="module")
def run(tiny_random_engine: Engine) -> Run:
    return make_run(tiny_random_engine, "Describe this image.", make_square_picture())


@pytest.fixture(scope="module")
def parts() -> SamplingParts:
    """The tab's parts, as its wiring sees them."""
    caught: list[SamplingParts] = []
    real = sampling_tab._wire

    def catch(app: Any, built: SamplingParts) -> None:
        caught.append(built)
        real(app, built)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sampling_tab, "_wire", catch)
        build_alone(build_sampling_tab)
    return caught[0]


@pytest.fixture(scope="module")
def last(parts: SamplingParts, run: Run) -> dict[Any, Any]:
    return write(parts, run, *control_values(GREEDY, WILD))[-1]


@pytest.fixture(scope="module")
def lab(parts: SamplingParts, run: Run, last: dict[Any, Any]) -> Lab:
    return parts.store.get(last[parts.lab_key], run)
