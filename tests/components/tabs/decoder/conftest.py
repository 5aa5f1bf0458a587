"""A run with images and one without, for all tests of the decoder tab."""

from __future__ import annotations

import pytest

from playground.engine import Engine
from playground.pipeline import Run
from tests.components.runs import make_run
from tests.media_samples import make_image


@pytest.fixture(scope="module")
def run(tiny_random_engine: Engine) -> Run:
    """Two images and a question."""
    run = make_run(tiny_random_engine, "What?", make_image(), make_image(192, 64, seed=1))
    run.ensure("decoder")
    return run


@pytest.fixture(scope="module")
def text_run(tiny_random_engine: Engine) -> Run:
    """No image."""
    return make_run(tiny_random_engine, "Hello")
