"""Runs of two images, of a video and of text only."""

from __future__ import annotations

import pytest

from playground.engine import Engine
from playground.pipeline import Run
from playground.records import Clip, Picture
from tests.components.runs import make_run


@pytest.fixture(scope="module")
def two_run(tiny_random_engine: Engine, picture: Picture, wide_picture: Picture) -> Run:
    return make_run(tiny_random_engine, "Compare.", picture, wide_picture)


@pytest.fixture(scope="module")
def video_run(tiny_random_engine: Engine, clip: Clip) -> Run:
    return make_run(tiny_random_engine, "Describe.", clip=clip)


@pytest.fixture(scope="module")
def text_run(tiny_random_engine: Engine) -> Run:
    return make_run(tiny_random_engine, "你好")
