"""A misread clock is what plain transformers makes of the same mistake."""

from __future__ import annotations

import logging
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch

from playground.engine import Engine
from playground.errors import StageCancelled
from playground.experiments.video_clock import (
    ANSWER_TOKENS,
    READINGS,
    Reading,
    misread_run,
    read_clock,
)
from playground.pipeline import Run
from playground.preprocess.stage import model_kwargs
from playground.preprocess.views import timestamp_texts
from playground.prompt import Prompt, Turn
from tests.media_samples import write_video
from tests.playground.numbered_clips import (
    NUM_FRAMES,
    draw_numbers,
    plain_call,
    read_as_checkpoint,
    read_numbers,
)

SAMPLED = [0, 6, 11, 17, 22, 28, 33, 39]  # linspace(0, 39, 8): 6.67 s at 2 per second, at most 8


@pytest.fixture(scope="module")
def run(shipped_engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """40 numbered frames at 6 per second."""
    path = tmp_path_factory.mktemp("clock") / "clip.mp4"
    video = read_as_checkpoint(shipped_engine, write_video(path, draw_numbers(), fps=Fraction(6)))
    assert list(video.frame_indices) == SAMPLED
    return Run(shipped_engine, Prompt((Turn("user", "What?", video=video),)))


# What a program passes on beside the sampled frames, by the mistake that it makes.
MISTAKES: dict[Reading, tuple[dict[str, Any] | None, dict[str, Any]]] = {
    "right": (
        {"total_num_frames": NUM_FRAMES, "fps": 6.0, "frames_indices": SAMPLED},
        {"do_sample_frames": False},
    ),
    "no_metadata": (None, {"do_sample_frames": False}),
    "sampled_twice": (None, {}),
    "sampling_rate": (
        {"total_num_frames": NUM_FRAMES, "fps": 2.0, "frames_indices": SAMPLED},
        {"do_sample_frames": False},
    ),
    "file_rate": (
        {"total_num_frames": 8, "fps": 6.0, "frames_indices": [*range(8)]},
        {"do_sample_frames": False},
    ),
    "frame_list": (
        {"total_num_frames": 8, "fps": 2.0, "frames_indices": [*range(8)]},
        {"do_sample_frames": False},
    ),
}


@pytest.mark.parametrize("reading", READINGS)
def test_each_mistake_is_that_of_a_plain_call(
    run: Run, reading: Reading, caplog: pytest.LogCaptureFixture
) -> None:
    """Its tensors, and what plain ``generate`` answers."""
    caplog.set_level(logging.ERROR)
    metadata, more = MISTAKES[reading]
    frames = torch.from_numpy(run.prompt.videos[0].frames).permute(0, 3, 1, 2)
    plain = plain_call(run.engine, frames, metadata, **more)
    changed = run if reading == "right" else misread_run(run, reading)
    for name, tensor in model_kwargs(changed.inputs).items():
        assert torch.equal(tensor, plain[name]), name
    found = read_clock(run, reading)
    assert (found.reading, found.texts) == (reading, timestamp_texts(changed.inputs))
    assert found.num_tokens == int((plain["mm_token_type_ids"] == 2).sum())
    written = run.engine.model.generate(**plain, max_new_tokens=ANSWER_TOKENS, do_sample=False)
    answer = written[0, plain["input_ids"].shape[1] :]
    assert found.answer == run.engine.tokenizer.decode(answer, skip_special_tokens=True)


def test_the_times_by_hand(run: Run) -> None:
    found = {reading: read_clock(run, reading) for reading in READINGS}
    # Means of frames 0 and 6, 11 and 17, 22 and 28, 33 and 39, at 6 per second.
    true_s = [0.5, 14 / 6, 25 / 6, 6.0]
    for reading in set(READINGS) - {"sampled_twice"}:
        assert found[reading].true_s == pytest.approx(true_s)
        assert found[reading].num_frames == 8
    told = {
        "right": true_s,
        "no_metadata": [0.5 / 24, 2.5 / 24, 4.5 / 24, 6.5 / 24],
        "sampling_rate": [1.5, 7.0, 12.5, 18.0],
        "file_rate": [0.5 / 6, 2.5 / 6, 4.5 / 6, 6.5 / 6],
        "frame_list": [0.25, 1.25, 2.25, 3.25],
    }
    for reading, seconds in told.items():
        assert found[reading].told_s == pytest.approx(seconds), reading  # type: ignore[index]
    # int(8 / 24 * 2) = 0 frames, but at least 4: the first, third, sixth and last of the eight.
    twice = found["sampled_twice"]
    kept = misread_run(run, "sampled_twice").prompt.videos[0]
    assert read_numbers(kept.frames) == [0, 11, 28, 39]
    assert twice.true_s == pytest.approx([5.5 / 6, 33.5 / 6])
    assert twice.told_s == pytest.approx([1 / 24, 6 / 24])
    assert len(twice.texts) == 2
    assert found["right"].kl == 0
    assert all(found[reading].kl > 0 for reading in READINGS[1:])


def test_the_towers_output_is_reused_where_the_frames_are_the_same(run: Run) -> None:
    run.ensure("vision")
    assert misread_run(run, "no_metadata").vision is run.vision
    assert misread_run(run, "sampled_twice").vision is not run.vision


def test_a_chosen_rate_is_the_sampling_rate(run: Run, tmp_path: Path) -> None:
    path = write_video(tmp_path / "clip.mp4", draw_numbers(), fps=Fraction(6))
    video = read_as_checkpoint(run.engine, path, fps=1.0)
    slow = Run(run.engine, Prompt((Turn("user", "What?", video=video),)))
    assert misread_run(slow, "sampling_rate").prompt.videos[0].fps == 1.0


def test_it_can_be_stopped(run: Run) -> None:
    def stop(_what: str, _done: int, _total: int) -> None:
        raise StageCancelled

    with pytest.raises(StageCancelled):
        read_clock(run, "file_rate", progress=stop)
