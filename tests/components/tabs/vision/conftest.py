"""Runs with one image and with two, with the tower's records."""

from __future__ import annotations

import pytest

from playground.engine import Engine
from playground.pipeline import Run
from playground.prompt import PromptImage
from tests.components.runs import make_run


@pytest.fixture(scope="module")
def image_run(tiny_random_engine: Engine, image: PromptImage) -> Run:
    run = make_run(tiny_random_engine, "What is this?", image)
    run.ensure("vision")
    return run


@pytest.fixture(scope="module")
def pair_run(tiny_random_engine: Engine, image: PromptImage, wide_image: PromptImage) -> Run:
    run = make_run(tiny_random_engine, "Which?", image, wide_image)
    run.ensure("vision")
    return run
