"""Columns that were written once, for all tests of the sampling lab."""

from __future__ import annotations

import pytest

from components.tabs.sampling.lab import Lab
from playground.engine import Engine
from playground.pipeline import Run
from tests.components.runs import make_run
from tests.components.tabs.sampling.columns import GREEDY, WILD, write
from tests.media_samples import make_square_image


@pytest.fixture(scope="module")
def run(tiny_random_engine: Engine) -> Run:
    run = make_run(tiny_random_engine, "Describe this image.", make_square_image())
    run.ensure("decoder")
    return run


@pytest.fixture(scope="module")
def lab(run: Run) -> Lab:
    return write(run, GREEDY, WILD)[-1]
