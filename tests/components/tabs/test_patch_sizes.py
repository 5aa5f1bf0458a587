"""The sentences about patches follow the checkpoint's merge_size and temporal_patch_size."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from components.charts.preprocess_sequence import plot_timeline
from components.tabs.merge.words import positions_html
from components.tabs.preprocess import overview, rows, video
from components.tabs.vision import merger
from playground.language import speaking
from playground.loading.load import load_engine
from playground.pipeline import Run
from reliability.shape_checkpoints import Shape, write_checkpoint
from reliability.shapes import make_prompt

TAG = re.compile("<[^>]*>")


def run_of(folder: Path, shape: Shape, prompt: str) -> Run:
    engine = load_engine(write_checkpoint(folder, shape), device="cpu", dtype="float32")
    run = Run(engine, make_prompt(shape, prompt))
    run.ensure("merge")
    return run


def words_of(*drawn: str) -> str:
    return TAG.sub("", " ".join(drawn))


def image_words(run: Run) -> str:
    """Everything that is said of the patches of an image."""
    return words_of(
        overview.media(run),
        rows.order(run, 0),
        merger.intro(run, 0, None),
        merger.alike(run, merger.FINAL, 0, None),
        merger.steps(run, merger.FINAL, 0, None),
    )


def video_words(run: Run) -> str:
    """Everything that is said of the frames of a video."""
    return words_of(overview.media(run), video.words(run), rows.order(run, 0), positions_html(run))


@pytest.mark.parametrize("merge", [2, 3])
def test_a_token_of_several_patches(merge: int, tmp_path: Path) -> None:
    run, count = run_of(tmp_path, Shape(merge=merge), "image"), merge**2
    words = image_words(run)
    assert f"each bold square of {merge} × {merge} patches becomes one token" in words
    assert f"the {merge} × {merge} patches of one token are adjacent, so {count} cons" in words
    assert f"The {count} patches are neighbours in the image" in words
    assert f"Cosine similarity of the {count} vectors after the last block" in words
    assert not re.search(r"\b(four|two)\b", words)
    with speaking("zh"):
        words = image_words(run)
    assert f"{merge} × {merge} 个图像块彼此相邻，所以连续 {count} 行合成一个 token" in words
    assert not re.search("四个|两帧", words)


def test_a_token_of_one_patch(tmp_path: Path) -> None:
    words = image_words(run_of(tmp_path, Shape(merge=1), "image"))
    assert "Each square is a patch and becomes one token." in words
    assert "The rows are in raster order: with merge_size 1, each row becomes one token." in words
    assert "With merge_size 1, one patch becomes one token: nothing is merged." in words
    assert "1 × 1 patches" not in words
    assert "not in raster order" not in words


@pytest.mark.parametrize(("temporal", "patches"), [(2, 2), (3, 2)])
def test_a_patch_of_several_frames(temporal: int, patches: int, tmp_path: Path) -> None:
    run = run_of(tmp_path, Shape(temporal=temporal), "video")
    words = video_words(run)
    assert f"Frames per temporal patch: {temporal}." in words
    assert f"With {temporal} per temporal patch, they form {patches} temporal patches." in words
    assert ("The last frame is repeated" in words) == (temporal == 3)
    assert f"A patch spans {temporal} frames: here, consecutive sampled frames" in words
    (share,) = map(int, re.findall(r"differ in (\d+)%", words))
    assert 0 < share <= 100
    assert f"has {patches} temporal patches (frames per temporal patch: {temporal})" in words
    assert "Frame 4, temporal patch 2 at" in words
    assert "pair" not in words
    with speaking("zh"):
        assert not re.search("两帧|一对|每对", video_words(run))


def test_a_patch_of_one_frame(tmp_path: Path) -> None:
    words = video_words(run_of(tmp_path, Shape(temporal=1), "video"))
    assert "With 1 per temporal patch, they form 4 temporal patches." in words
    assert "With temporal_patch_size 1, a patch spans one frame." in words
    assert "The last frame is repeated" not in words
    assert "A patch spans 1 frames" not in words


@pytest.mark.parametrize("size", [1, 2, 3])
def test_the_timeline_says_how_many_frames_a_patch_has(size: int) -> None:
    figure = plot_timeline((0, 1, 2, 3), 4, 2.0, (0.0,) * -(-4 // size), patch_frames=size)
    assert f"{size} per temporal patch" in figure.layout.title.text
