"""Runs of an image, of text alone and of a long text."""

from __future__ import annotations

import pytest

from playground.engine import Engine
from playground.pipeline import Run
from playground.prompt import PromptImage
from tests.components.runs import make_run


@pytest.fixture(scope="module")
def image_run(tiny_random_engine: Engine, image: PromptImage) -> Run:
    run = make_run(tiny_random_engine, "What is this?", image)
    run.ensure("merge")
    return run


@pytest.fixture(scope="module")
def text_run(tiny_random_engine: Engine) -> Run:
    return make_run(tiny_random_engine, "你好，世界")


@pytest.fixture(scope="module")
def long_run(tiny_random_engine: Engine) -> Run:
    run = make_run(tiny_random_engine, "x y " * 400)
    run.ensure("merge")
    return run
