"""The video's clock: chosen frames, and the times that the prompt gives them, are transformers'."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch

from playground.engine import Engine
from playground.errors import InputError
from playground.preprocess.stage import model_kwargs, run_preprocess
from playground.preprocess.views import timestamp_texts
from playground.prompt import Prompt, Turn
from tests.media_samples import make_image, write_video
from tests.playground.numbered_clips import (
    NUM_FRAMES,
    decode_plainly,
    draw_numbers,
    plain_call,
    read_as_checkpoint,
    read_numbers,
)

RATES = {"10": Fraction(10), "29.97": Fraction(30_000, 1001)}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("clips")
    return {
        name: write_video(folder / f"{name}.mp4", draw_numbers(), fps=rate)
        for name, rate in RATES.items()
    }


# What somebody chooses, and the same in the arguments of a plain call. transformers refuses
# num_frames beside the checkpoint's own fps, unless that is set to None.
CHOICES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "checkpoint": ({}, {}),
    "1 fps": ({"fps": 1.0}, {"fps": 1.0}),
    "1.5 fps": ({"fps": 1.5}, {"fps": 1.5}),
    "60 fps": ({"fps": 60.0}, {"fps": 60.0}),
    "2 frames": ({"num_frames": 2}, {"num_frames": 2, "fps": None}),
    "7 frames": ({"num_frames": 7}, {"num_frames": 7, "fps": None}),
    "more frames than there are": ({"num_frames": 64}, {"num_frames": 64, "fps": None}),
}
# Seconds, and the first and last frame at 10 and at 29.97 frames per second.
RANGES: dict[str, tuple[dict[str, float], dict[str, tuple[int, int]]]] = {
    "all": ({}, {"10": (0, 39), "29.97": (0, 39)}),
    "from": ({"start_s": 0.95}, {"10": (10, 39), "29.97": (29, 39)}),
    "to": ({"end_s": 0.8}, {"10": (0, 8), "29.97": (0, 23)}),
    "from and to": ({"start_s": 0.3, "end_s": 1.1}, {"10": (3, 11), "29.97": (9, 32)}),
}


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("range_name", RANGES)
def test_frames_and_times_are_those_of_the_processor(
    shipped_engine: Engine, clips: dict[str, Path], rate: str, choice: str, range_name: str
) -> None:
    (chosen, arguments), (seconds, ends) = CHOICES[choice], RANGES[range_name]
    video = read_as_checkpoint(shipped_engine, clips[rate], **chosen, **seconds)
    inputs = run_preprocess(shipped_engine, Prompt((Turn("user", "What?", video=video),)))
    first, last = ends[rate]
    inside = decode_plainly(clips[rate])[first : last + 1]
    fps = float(RATES[rate])
    # The processor samples the frames of the range, which it takes for the whole clip ...
    cut = {"total_num_frames": len(inside), "fps": fps}
    sampled = plain_call(shipped_engine, inside, cut, **arguments)
    found = model_kwargs(inputs)
    for name in ("video_grid_thw", "pixel_values_videos"):
        assert torch.equal(found[name], sampled[name]), name
    kept = read_numbers(video.frames)
    assert list(video.frame_indices) == kept
    # ... and gives the kept frames the times of the file, if it is told their place in the file.
    told = {"total_num_frames": NUM_FRAMES, "fps": fps, "frames_indices": kept}
    frames = torch.from_numpy(video.frames).permute(0, 3, 1, 2)
    placed = plain_call(shipped_engine, frames, told, do_sample_frames=False)
    assert torch.equal(found["input_ids"], placed["input_ids"])
    if first == 0:
        assert torch.equal(found["input_ids"], sampled["input_ids"])
    pairs = [*kept, kept[-1]]  # the last frame completes its pair
    means = [(pairs[i] / fps + pairs[i + 1] / fps) / 2 for i in range(0, len(kept), 2)]
    assert timestamp_texts(inputs) == tuple(f"<{mean:.1f} seconds>" for mean in means)


def test_both_a_rate_and_a_number_are_refused_as_transformers_refuses_them(
    shipped_engine: Engine, clips: dict[str, Path]
) -> None:
    with pytest.raises(ValueError, match="mutually exclusive"):
        plain_call(
            shipped_engine,
            decode_plainly(clips["10"]),
            {"total_num_frames": 40},
            fps=2,
            num_frames=4,
        )
    with pytest.raises(InputError, match="not both"):
        read_as_checkpoint(shipped_engine, clips["10"], fps=2.0, num_frames=4)


@pytest.mark.parametrize(
    ("chosen", "message", "limit"),
    [
        ({"start_s": 4.1}, "no frames at 4.1 s", "It is 4 s long."),
        ({"end_s": 60.0}, "no frames at 60 s", "It is 4 s long."),
        ({"start_s": 3.95}, "No frame begins between 3.95 s and 4 s", "10 frames per second"),
        ({"start_s": 1.01, "end_s": 1.09}, "between 1.01 s and 1.09 s", "10 frames per second"),
        ({"start_s": 2.0, "end_s": 2.0}, "begins at 2 s and ends at 2 s", ""),
        ({"start_s": -1.0}, "cannot begin or end at -1.0 s", "between 0 and 86400"),
        ({"end_s": float("nan")}, "cannot begin or end at nan s", "between 0 and 86400"),
    ],
)
def test_a_range_outside_the_clip_is_refused_with_its_length(
    shipped_engine: Engine,
    clips: dict[str, Path],
    chosen: dict[str, float],
    message: str,
    limit: str,
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        read_as_checkpoint(shipped_engine, clips["10"], **chosen)
    assert limit in caught.value.limit


def test_the_end_of_the_clip_is_no_error(shipped_engine: Engine, clips: dict[str, Path]) -> None:
    video = read_as_checkpoint(shipped_engine, clips["10"], start_s=0.0, end_s=4.0)
    assert video.frame_indices == read_as_checkpoint(shipped_engine, clips["10"]).frame_indices
    assert video.chosen.given == {"start_s": 0.0, "end_s": 4.0}


def test_one_frame_in_the_range_is_repeated(shipped_engine: Engine, clips: dict[str, Path]) -> None:
    video = read_as_checkpoint(shipped_engine, clips["10"], start_s=1.9, end_s=1.95)
    assert video.frame_indices == (19, 19)
    assert "it is repeated" in video.notices[0]


# ------------------------------------------------------------------- rates, turns, other tracks


def write_unusual(path: Path, stamps_ms: list[int]) -> Path:
    """Numbered frames at these times, turned by 90°, beside a track of sound."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"qp": "0"})
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        stream.codec_context.time_base = stream.time_base = Fraction(1, 1000)
        stream.set_display_rotation(90)
        sound = container.add_stream("aac", rate=8000)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), "fltp", "mono")
        silence.rate = 8000
        for pixels, stamp in zip(draw_numbers(len(stamps_ms)), stamps_ms, strict=True):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = stamp, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        for packets in (stream.encode(), sound.encode(silence), sound.encode()):
            container.mux(packets)
    return path


def test_a_range_of_a_turned_clip_with_sound_at_a_varying_rate(
    shipped_engine: Engine, tmp_path: Path
) -> None:
    stamps = [*range(0, 1000, 50), *range(1000, 9001, 500)]  # 20 a second, then 2 a second
    path = write_unusual(tmp_path / "phone.mp4", stamps)
    video = read_as_checkpoint(shipped_engine, path, num_frames=6, start_s=0.5, end_s=6.0)
    # Moments 0.5, 1.6, 2.7, 3.8, 4.9 and 6 seconds.
    times = [stamps[number] / 1000 for number in video.frame_indices]
    assert times == [0.5, 1.5, 2.5, 4.0, 5.0, 6.0]
    assert video.seconds == pytest.approx(times, abs=1e-3)
    assert read_numbers(np.rot90(video.frames, 1, (2, 1))) == list(video.frame_indices)
    inputs = run_preprocess(shipped_engine, Prompt((Turn("user", "What?", video=video),)))
    told = {"total_num_frames": 37, "fps": 1.0, "frames_indices": list(video.seconds or ())}
    frames = torch.from_numpy(video.frames).permute(0, 3, 1, 2)
    plain = plain_call(shipped_engine, frames, told, do_sample_frames=False)
    assert torch.equal(inputs.input_ids, plain["input_ids"])
    assert timestamp_texts(inputs) == tuple(f"<{each} seconds>" for each in (1.0, 3.2, 5.5))
    with pytest.raises(InputError, match="no frames at 12 s"):
        read_as_checkpoint(shipped_engine, path, end_s=12.0)


def test_the_size_of_the_frames_is_the_same_in_every_range(
    shipped_engine: Engine, tmp_path: Path
) -> None:
    frames = np.repeat(make_image(96, 64).pixels[None], 12, axis=0)
    path = write_video(tmp_path / "clip.mp4", frames, fps=4)
    whole, part = (read_as_checkpoint(shipped_engine, path, end_s=end) for end in (None, 1.0))
    assert whole.size == part.size == (96, 64)
    assert (len(whole.frames), len(part.frames)) == (6, 4)
