"""Fixtures that all tests share. Engines are loaded once per process: never change them."""

from __future__ import annotations

import gc
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from xdist.scheduler import LoadFileScheduling

# Gradio looks for a free port from this one on and then takes it: two workers that look at once
# would find the same, so each has a hundred of its own. Read once, when gradio is imported.
os.environ["GRADIO_SERVER_PORT"] = str(
    7960 + 100 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
)

import components  # noqa: F401 - before any test imports gradio, which would write stubs for mypy
from playground.engine import Engine
from playground.loading.load import load_engine
from playground.loading.source_names import TINY_SWAPPED
from playground.prompt import PromptImage, PromptVideo
from tests.media_samples import make_image, make_square_image, make_video
from tests.tiny_random import make_tiny_random_checkpoint

if "PYTEST_XDIST_WORKER" in os.environ:
    # Workers that each take every core slow one another down many times over.
    torch.set_num_threads(1)


FIRST = ("reliability", "browser")  # folders with the longest tests
TOGETHER = "tests/reliability/"  # these share an app, whose start takes longer than most of them


class FilesTogether(LoadFileScheduling):
    """Whole files stay together, and so do all that share an app."""

    def _split_scope(self, nodeid: str) -> str:
        return TOGETHER if nodeid.startswith(TOGETHER) else super()._split_scope(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> FilesTogether | None:
    """Take the place of ``--dist loadfile``."""
    return FilesTogether(config, log) if config.getvalue("dist") == "loadfile" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with the longest tests, so that no worker is left with one in the end."""
    items.sort(key=_rank)


def _rank(item: pytest.Item) -> int:
    folder = item.path.relative_to(Path(__file__).parent).parts[0]
    return FIRST.index(folder) if folder in FIRST else len(FIRST)


def pytest_collection_finish() -> None:
    """Take what the imports have made, which stays, out of every later garbage collection."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def tiny_random_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dense random checkpoint on disk; copy it before changing files."""
    return make_tiny_random_checkpoint(tmp_path_factory.mktemp("random"))


@pytest.fixture(scope="session")
def tiny_random_moe_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random mixture of experts on disk; copy it before changing files."""
    return make_tiny_random_checkpoint(tmp_path_factory.mktemp("random_moe"), moe=True)


@pytest.fixture(scope="session")
def tiny_random_engine(tiny_random_folder: Path) -> Engine:
    """A dense random Qwen3-VL, float32 on the CPU."""
    return load_engine(tiny_random_folder, device="cpu", dtype="float32")


@pytest.fixture(scope="session")
def tiny_random_moe_engine(tiny_random_moe_folder: Path) -> Engine:
    """A random Qwen3-VL mixture of experts, float32 on the CPU."""
    return load_engine(tiny_random_moe_folder, device="cpu", dtype="float32")


@pytest.fixture(scope="session")
def shipped_engine() -> Engine:
    """The checkpoint that comes with the repository, float32 on the CPU."""
    return load_engine("tiny", device="cpu", dtype="float32")


@pytest.fixture(scope="session")
def shipped_pair(shipped_engine: Engine) -> Engine:
    """The shipped checkpoint beside its fine-tune, as the app loads them."""
    return replace(shipped_engine, other=load_engine(TINY_SWAPPED, beside=shipped_engine))


@pytest.fixture(scope="session", params=["random", "shipped"])
def engine(request: pytest.FixtureRequest) -> Engine:
    """The dense random checkpoint and the shipped one, in turn."""
    name = {"random": "tiny_random_engine", "shipped": "shipped_engine"}[request.param]
    loaded: Engine = request.getfixturevalue(name)
    return loaded


@pytest.fixture(scope="session")
def red_square_image() -> PromptImage:
    """A red square on white, 128 by 128."""
    return make_square_image()


@pytest.fixture(scope="session")
def image() -> PromptImage:
    """A seeded image, 128 wide and 96 high."""
    return make_image()


@pytest.fixture(scope="session")
def wide_image() -> PromptImage:
    """A seeded image of another grid, 192 wide and 64 high."""
    return make_image(192, 64, seed=1)


@pytest.fixture(scope="session")
def video() -> PromptVideo:
    """Four frames of a moving box, 96 by 96, two frames a second."""
    return make_video()
