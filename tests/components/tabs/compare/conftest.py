"""A run with a second checkpoint: the shipped one with a planted change in one decoder layer."""

from __future__ import annotations

from dataclasses import replace

import pytest

from playground.engine import Engine
from playground.pipeline import Run
from playground.prompt import PromptImage
from tests.components.runs import make_run
from tests.playground.compare.changed_engines import changed_engine

CHANGED = "model.language_model.layers.2.mlp.down_proj.weight"


@pytest.fixture(scope="module")
def run(shipped_engine: Engine, red_square_image: PromptImage) -> Run:
    """The page's run; one module of the second checkpoint differs."""
    other = changed_engine(shipped_engine, [CHANGED], amount=1.0)
    return make_run(replace(shipped_engine, other=other), "What is this?", red_square_image)


@pytest.fixture(scope="module")
def same(shipped_engine: Engine, red_square_image: PromptImage) -> Run:
    """A run whose second checkpoint is equal to the first."""
    other = changed_engine(shipped_engine)
    return make_run(replace(shipped_engine, other=other), "What is this?", red_square_image)
