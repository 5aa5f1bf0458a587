"""Frames are sampled as the checkpoint's own video processor samples them."""

from __future__ import annotations

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import Qwen3VLVideoProcessor

from playground.engine import Engine
from playground.preprocess.media import read_video
from playground.preprocess.stage import run_preprocess
from playground.preprocess.video_sampling import (
    MAX_VIDEO_FRAMES,
    FrameTimes,
    VideoSampling,
    find_times,
    sample_frame_indices,
)
from playground.prompt import FrameChoice, Prompt, PromptVideo, Turn
from tests.media_samples import make_video, write_video

SIZE = {"shortest_edge": 65_536, "longest_edge": 204_800}


def sampled_by(processor: Qwen3VLVideoProcessor, total: int, fps: float) -> list[int]:
    """The frames that a whole call of the processor keeps."""
    clip = torch.zeros(total, 3, 32, 32, dtype=torch.uint8)
    given = {"total_num_frames": total, "fps": fps, "frames_indices": list(range(total))}
    answer = processor(
        videos=[clip], video_metadata=[given], return_metadata=True, return_tensors="pt"
    )
    return list(answer["video_metadata"][0].frames_indices)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"fps": 1, "max_frames": 4},
        {"fps": 0.5, "min_frames": 2},
        {"fps": 4, "min_frames": 16, "max_frames": 20},
        {"fps": None, "num_frames": 6},
        {"fps": None, "num_frames": 40},
        {"fps": None},
        {"fps": None, "max_frames": 10},
        {"do_sample_frames": False},
    ],
)
@pytest.mark.parametrize(("total", "fps"), [(36, 6.0), (36, 29.97), (5, 1.0)])
def test_settings_of_a_checkpoint_are_followed(
    settings: dict[str, Any], total: int, fps: float
) -> None:
    processor = Qwen3VLVideoProcessor(size=SIZE, cap_pixels_per_frame=False, **settings)
    own = VideoSampling.of_processor(processor)
    assert list(sample_frame_indices(FrameTimes(total, fps), own)) == sampled_by(
        processor, total, fps
    )


@pytest.mark.parametrize(
    "settings", [{"fps": "2"}, {"fps": -1.0}, {"max_frames": None}, {"num_frames": True}]
)
def test_settings_that_are_no_numbers_are_left_out(settings: dict[str, Any]) -> None:
    given = {"fps": 2, "num_frames": None, "min_frames": 4, "max_frames": 768} | settings
    own = VideoSampling.of_processor(SimpleNamespace(do_sample_frames=True, **given))
    assert own == VideoSampling()


def test_a_number_goes_before_a_rate() -> None:
    # transformers refuses a checkpoint with both; the class itself always has fps = 2.
    both = SimpleNamespace(fps=2, num_frames=6, min_frames=4, max_frames=8, do_sample_frames=True)
    times = FrameTimes(60, 10.0)
    assert len(sample_frame_indices(times, VideoSampling.of_processor(both))) == 6


def test_what_the_visitor_chooses_goes_before_the_checkpoint(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", make_video(60, 64, 48).frames, fps=10)
    own = VideoSampling(fps=1.0, max_frames=4)
    assert len(read_video(path, sampling=own).frames) == 4
    assert len(read_video(path, sampling=own, chosen=FrameChoice(num_frames=10)).frames) == 10
    assert (
        len(read_video(path, sampling=own, chosen=FrameChoice(fps=2.0), max_frames=64).frames) == 12
    )
    assert len(read_video(path, sampling=VideoSampling(num_frames=6)).frames) == 6


def test_more_frames_than_the_page_takes_are_said(tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", make_video(100, 64, 48).frames, fps=10)
    sampled = read_video(path, sampling=VideoSampling(fps=10.0))
    assert len(sampled.frames) == MAX_VIDEO_FRAMES
    assert sampled.notices == ("The video processor would sample 100 frames; at most 64 are read.",)


def test_a_clip_of_six_seconds_gives_the_frames_of_the_shipped_checkpoint(
    engine: Engine, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    path = write_video(tmp_path / "clip.mp4", make_video(60, 64, 48).frames, fps=10)
    processor = engine.processor.video_processor
    sampled = read_video(path, sampling=VideoSampling.of_processor(processor))
    assert list(sampled.frame_indices) == sampled_by(processor, 60, 10.0)
    assert len(sampled.frames) == 8


# --------------------------------------------------------------------------- times


def test_rounded_timestamps_of_a_rate_are_that_rate() -> None:
    stamps = [round(1000 * index / 29.97) / 1000 for index in range(90)]
    found = find_times(stamps, [1000.0, 29.97], 1e-3)
    assert found is not None
    assert (found.fps, found.seconds, found.num_frames) == (29.97, None, 90)


def test_other_timestamps_are_kept_from_the_first_frame_on() -> None:
    found = find_times([7.0, 9.0, 7.5, 12.0], [30.0], 1e-3)
    assert found is not None
    assert found.seconds is not None
    assert found.seconds.tolist() == [0.0, 0.5, 2.0, 5.0]
    assert found.fps == 3 / 5
    assert found.at((0, 3)) == (0.0, 5.0)


@pytest.mark.parametrize("stamps", [[1.0], [1.0, None], [2.0, 2.0], [0.0, 1e9], [0.0, 1e300]])
def test_timestamps_that_say_nothing_are_not_used(stamps: list[float | None]) -> None:
    assert find_times(stamps, [30.0], 1e-3) is None


def test_sampling_in_time_takes_the_nearest_frame_once() -> None:
    times = FrameTimes(6, 0.5, np.array([0.0, 0.1, 0.2, 4.9, 9.0, 10.0]))
    picked = sample_frame_indices(times, VideoSampling(num_frames=5))
    assert picked == (0, 2, 3, 4, 5)  # moments 0, 2.5, 5, 7.5, 10


def test_the_prompt_says_the_times_of_the_frames(engine: Engine) -> None:
    """Pairs of (0.2, 1.7) and (3.1, 9.6) seconds: the processor's means."""
    frames = make_video(num_frames=4).frames
    seconds = (0.2, 1.7, 3.1, 9.6)
    video = PromptVideo(
        frames, (0, 10, 20, 30), fps=3.0, total_num_frames=31, name="clip", seconds=seconds
    )
    prompt = Prompt((Turn("user", "a", video=video),), max_pixels=40_000)
    inputs = run_preprocess(engine, prompt)
    want = engine.processor._calculate_timestamps(list(seconds), 1.0, 2)
    assert inputs.media[0].timestamps == pytest.approx(want)
    assert "<0.9 seconds><|vision_start|>" in inputs.expanded_prompt  # 0.95, a little below
    assert "<6.3 seconds><|vision_start|>" in inputs.expanded_prompt  # 6.35, a little below
