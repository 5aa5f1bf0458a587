"""What the tests of the engine's views share."""

from __future__ import annotations

import pytest

from playground.engine import Engine
from playground.pipeline import Run
from playground.records import Picture
from tests.components.runs import make_run


@pytest.fixture(scope="module")
def run(engine: Engine, picture: Picture, wide_picture: Picture) -> Run:
    """Two pictures of different grids, through the tower; for files without a run of their own."""
    run = make_run(engine, "Which is larger?", picture, wide_picture)
    run.ensure("vision")
    return run
