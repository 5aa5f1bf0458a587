"""Runs of every kind of prompt, and a way to run their snippets."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor

from playground.engine import Engine
from playground.pipeline import Run
from playground.preprocess.media import read_video
from playground.prompt import Prompt, PromptVideo, Turn
from tests.components.snippet_kinds import KINDS, TRICKY, save_files
from tests.media_samples import make_image, make_video, write_video


@pytest.fixture(scope="session")
def file_video(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, PromptVideo]:
    """A video file and what the playground reads from it."""
    frames = make_video(num_frames=12).frames
    path = write_video(tmp_path_factory.mktemp("video") / "video_1.mp4", frames, fps=3)
    return path, read_video(path)


@pytest.fixture(scope="session")
def snippet_prompts(file_video: tuple[Path, PromptVideo]) -> dict[str, Prompt]:
    """One prompt of every kind."""
    one, two = make_image(), make_image(192, 64, seed=1)
    video = file_video[1]
    prompts = {
        "text": Prompt((Turn("user", "Hello"),)),
        "chinese": Prompt((Turn("user", "描述这张图片。", (one,)),), system="简短回答。"),
        "tricky": Prompt((Turn("user", TRICKY),), system=TRICKY),
        "image": Prompt((Turn("user", "What is this?", (one,)),), max_pixels=12_000),
        "two_images": Prompt(
            (
                Turn("user", "And this?", (one, two)),
                Turn("assistant", "Two."),
                Turn("user", "Sure?", (one,)),
            )
        ),
        "video": Prompt((Turn("user", "Where to?", video=video),), max_pixels=30_000),
        "image_and_video": Prompt((Turn("user", "Both.", (two,), video),)),
    }
    assert set(prompts) == set(KINDS)
    return prompts


@pytest.fixture(scope="module")
def runs(tiny_random_engine: Engine, snippet_prompts: dict[str, Prompt]) -> dict[str, Run]:
    """One run for every kind of prompt."""
    return {kind: Run(tiny_random_engine, prompt) for kind, prompt in snippet_prompts.items()}


@pytest.fixture
def play(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, file_video: tuple[Path, PromptVideo]
) -> Callable[..., dict[str, Any]]:
    """``play(code, run, *prompts)``: run a snippet beside its files; gives its variables.

    Snippets load their own model, but only the first of them reads the disk.
    """
    monkeypatch.setattr(AutoModelForImageTextToText, "from_pretrained", _load_model)
    monkeypatch.setattr(AutoProcessor, "from_pretrained", _load_processor)

    def run_code(code: str, run: Run, *prompts: Prompt) -> dict[str, Any]:
        save_files(tmp_path, file_video[0], *(prompts or (run.prompt,)))
        monkeypatch.chdir(tmp_path)
        variables: dict[str, Any] = {}
        with torch.set_grad_enabled(torch.is_grad_enabled()):  # snippets switch it off for good
            exec(compile(code, "snippet.py", "exec"), variables)
        return variables

    return run_code


_from_pretrained = AutoModelForImageTextToText.from_pretrained
_load_snippet_model = cache(_from_pretrained)


def _load_model(folder: str, **options: Any) -> Any:
    """The model of a snippet; the playground's own, which brings its configuration, is no other."""
    load: Any = _from_pretrained if "config" in options else _load_snippet_model
    return load(folder, **options)


_load_processor = cache(AutoProcessor.from_pretrained)
