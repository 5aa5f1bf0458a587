"""Runs of two images, of a video and of text only."""

from __future__ import annotations

import pytest

from playground.engine import Engine
from playground.pipeline import Run
from playground.prompt import PromptImage, PromptVideo
from tests.components.runs import make_run


@pytest.fixture(scope="module")
def two_run(tiny_random_engine: Engine, image: PromptImage, wide_image: PromptImage) -> Run:
    return make_run(tiny_random_engine, "Compare.", image, wide_image)


@pytest.fixture(scope="module")
def video_run(tiny_random_engine: Engine, video: PromptVideo) -> Run:
    return make_run(tiny_random_engine, "Describe.", video=video)


@pytest.fixture(scope="module")
def text_run(tiny_random_engine: Engine) -> Run:
    return make_run(tiny_random_engine, "你好")
