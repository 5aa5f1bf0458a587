"""Videos from files: sampled frames and rejected files."""

from __future__ import annotations

from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image
from transformers import Qwen3VLVideoProcessor

from playground.errors import InputError
from playground.preprocess import video
from playground.preprocess.media import read_video
from playground.preprocess.video import fit_frame
from playground.preprocess.video_sampling import (
    FrameTimes,
    VideoSampling,
    sample_frame_indices,
)
from playground.prompt import FrameChoice
from tests.media_samples import make_video, write_video


@pytest.fixture(scope="module")
def numbered_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 frames at 10 per second; frame i has grey value 8 * i."""
    frames = np.stack([np.full((48, 64, 3), 8 * index, np.uint8) for index in range(30)])
    return write_video(tmp_path_factory.mktemp("video") / "numbers.mp4", frames, fps=10)


def read_numbers(frames: np.ndarray) -> list[int]:
    return [round(frame.mean() / 8) for frame in frames]


def test_two_frames_a_second_are_sampled(numbered_video: Path) -> None:
    sampled = read_video(numbered_video)
    assert sampled.frame_indices == (0, 6, 12, 17, 23, 29)  # linspace(0, 29, 3 s * 2) rounded
    assert read_numbers(sampled.frames) == list(sampled.frame_indices)
    assert (sampled.fps, sampled.total_num_frames, sampled.size) == (10.0, 30, (64, 48))
    assert sampled.name == "numbers.mp4"
    assert sampled.notices == ()


def test_colours_survive_the_round_trip(tmp_path: Path) -> None:
    want = make_video(4, 64, 48).frames
    sampled = read_video(write_video(tmp_path / "box.mp4", want, fps=2))
    assert sampled.frame_indices == (0, 1, 2, 3)
    # YUV has colour at half resolution: edges differ, the average hardly does.
    assert np.abs(sampled.frames.astype(int) - want).mean() < 6


def test_a_number_of_frames_or_a_rate_can_be_asked_for(numbered_video: Path) -> None:
    assert read_video(numbered_video, chosen=FrameChoice(num_frames=3)).frame_indices == (0, 14, 29)
    assert len(read_video(numbered_video, chosen=FrameChoice(fps=5)).frames) == 15
    assert len(read_video(numbered_video, chosen=FrameChoice(fps=10), max_frames=8).frames) == 8
    assert len(read_video(numbered_video.read_bytes(), chosen=FrameChoice(fps=0.1)).frames) == 4


@pytest.mark.parametrize("total", [1, 2, 3, 5, 30, 299, 3600])
@pytest.mark.parametrize("file_fps", [1.0, 10.0, 29.97, 60.0])
@pytest.mark.parametrize("fps", [None, 0.5, 4.0])
def test_indices_are_those_of_the_video_processor(
    total: int, file_fps: float, fps: float | None
) -> None:
    processor = Qwen3VLVideoProcessor(max_frames=64)
    metadata = SimpleNamespace(total_num_frames=total, fps=file_fps)
    want = processor.sample_frames(metadata, fps=fps)
    sampling = VideoSampling(fps=fps or 2.0)
    assert sample_frame_indices(FrameTimes(total, file_fps), sampling) == tuple(want.tolist())


def test_one_frame_is_shown_twice_with_a_notice(tmp_path: Path) -> None:
    frames = make_video(1, 64, 48).frames
    sampled = read_video(write_video(tmp_path / "still.mp4", frames))
    assert sampled.frames.shape == (2, 48, 64, 3)
    np.testing.assert_array_equal(sampled.frames[0], sampled.frames[1])
    assert sampled.frame_indices == (0, 0)
    assert sampled.total_num_frames == 1
    assert "it is repeated" in sampled.notices[0]


def test_rotation_is_honoured(tmp_path: Path) -> None:
    frames = np.zeros((4, 48, 64, 3), np.uint8)
    frames[:, :, :32] = 255  # left half white
    path = tmp_path / "turned.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=2)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.set_display_rotation(90)  # counter-clockwise
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    sampled = read_video(path)
    assert sampled.size == (48, 64)
    assert sampled.frames[0, -8:].mean() > 240  # counter-clockwise, the left comes to the bottom
    assert sampled.frames[0, :8].mean() < 15
    assert sampled.notices == ("Turned upright according to the file's metadata.",)


@pytest.mark.parametrize(
    ("suffix", "codec"), [("webm", "libvpx"), ("mkv", "libx264"), ("avi", "mpeg4")]
)
def test_other_containers_are_read(suffix: str, codec: str, tmp_path: Path) -> None:
    frames = np.stack([np.full((48, 64, 3), 20 * index, np.uint8) for index in range(10)])
    sampled = read_video(write_video(tmp_path / f"clip.{suffix}", frames, fps=5, codec=codec))
    assert sampled.frame_indices == (0, 3, 6, 9)
    assert sampled.fps == pytest.approx(5)
    assert (
        np.abs([frame.mean() for frame in sampled.frames] - np.array([0, 60, 120, 180])).max() < 8
    )


def test_an_animated_gif_is_a_video_too(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (32, 32), (level, 0, 0)) for level in (0, 60, 120, 180, 240)]
    path = tmp_path / "moving.gif"
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=100)
    sampled = read_video(path)
    assert sampled.frame_indices == (0, 1, 3, 4)
    assert np.abs(sampled.frames[:, 16, 16, 0] - np.array([0, 60, 180, 240.0])).max() <= 4


def test_a_video_that_is_cut_off_gives_what_it_has(tmp_path: Path) -> None:
    frames = np.stack([np.full((48, 64, 3), 8 * index, np.uint8) for index in range(30)])
    frames += np.random.default_rng(0).integers(0, 6, frames.shape, np.uint8)
    whole = write_video(tmp_path / "whole.mkv", frames, fps=10).read_bytes()
    sampled = read_video(whole[: len(whole) // 2], name="half.mkv")
    assert 4 <= sampled.total_num_frames < 30
    assert sampled.frame_indices[-1] < sampled.total_num_frames
    assert len(sampled.frames) == len(sampled.frame_indices)


def test_packets_without_an_image_are_left_out_with_a_notice(numbered_video: Path) -> None:
    data = bytearray(numbered_video.read_bytes())
    start = data.index(b"mdat") + 4
    with av.open(str(numbered_video)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    broken = sorted(packets, key=lambda packet: packet.pts)[-3:]
    for packet in broken:
        assert packet.pos >= start - 4
        data[packet.pos : packet.pos + packet.size] = bytes(packet.size)
    sampled = read_video(bytes(data))
    assert sampled.total_num_frames < 30
    assert sampled.notices == (f"Only {sampled.total_num_frames} of 30 frames could be decoded.",)
    assert read_numbers(sampled.frames) == list(sampled.frame_indices)


@pytest.mark.parametrize("data", [b"x" * 100, b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n"])
def test_other_files_are_no_video(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"clip\.mp4 is not a readable video"):
        read_video(path)


def test_a_playlist_cannot_pull_in_another_file(numbered_video: Path, tmp_path: Path) -> None:
    playlist = tmp_path / "list.mp4"
    playlist.write_text(f"ffconcat version 1.0\nfile {numbered_video}\n")
    with pytest.raises(InputError, match="is not a readable video"):
        read_video(playlist)


def test_a_header_without_frames_is_refused(numbered_video: Path) -> None:
    data = numbered_video.read_bytes()
    with pytest.raises(InputError, match=r"not a readable video|no frames|No frame"):
        read_video(data[: data.index(b"mdat") + 8])


def test_sound_alone_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), "fltp", "mono")
        silence.rate = 8000
        container.mux(stream.encode(silence))
        container.mux(stream.encode())
    with pytest.raises(InputError, match="no video track"):
        read_video(path)


def test_more_frames_than_the_limit_are_refused(
    numbered_video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(video, "MAX_SOURCE_FRAMES", 29)
    with pytest.raises(InputError, match="too long") as caught:
        read_video(numbered_video)
    assert "29 frames" in caught.value.limit
    monkeypatch.setattr(video, "MAX_SOURCE_FRAMES", 30)
    assert read_video(numbered_video).total_num_frames == 30


def test_frames_beyond_4k_are_refused_before_decoding(
    numbered_video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("playground.preprocess.media.MAX_FRAME_PIXELS", 64 * 48 - 1)
    monkeypatch.setattr("playground.preprocess.media.decode_frames", None)
    with pytest.raises(InputError, match="too large: 64 × 48 pixels"):
        read_video(numbered_video)


def test_the_decoder_itself_is_bounded(numbered_video: Path) -> None:
    # A container may claim small frames and hold large ones.
    with numbered_video.open("rb") as file:
        assert len(video.decode_frames(file, "clip", [0]).frames) == 1
        assert video.decode_frames(file, "clip", [0], max_pixels=1000).frames == {}


def test_large_frames_are_scaled_to_the_pixel_budget(
    numbered_video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(video, "MAX_VIDEO_PIXELS", 6 * 32 * 24)
    sampled = read_video(numbered_video)
    assert sampled.size == (32, 24)
    assert read_numbers(sampled.frames) == list(sampled.frame_indices)
    assert sampled.notices == ("Frames were scaled down to 32 × 24 pixels.",)


def test_the_pixel_budget_is_worked_out_over_all_frames() -> None:
    assert fit_frame((1920, 1080), 8) == (1920, 1080)
    width, height = fit_frame((1920, 1080), 64)
    assert 0.99 * video.MAX_VIDEO_PIXELS < 64 * width * height <= video.MAX_VIDEO_PIXELS
    assert fit_frame((64_000, 320), 64)[1] >= 1


def test_a_file_without_a_frame_rate_is_read_at_24(
    numbered_video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = video.open_video

    class Stream:
        average_rate = guessed_rate = duration = time_base = sample_aspect_ratio = None

    class Container:
        def __init__(self, container: object, stream: object) -> None:
            self.container, self.stream = container, stream

        def demux(self, _: object) -> object:
            return self.container.demux(self.stream)  # type: ignore[attr-defined]

    @contextmanager
    def open_without_rate(file: object, name: str) -> object:  # type: ignore[misc]
        with opened(file, name) as (container, stream):  # type: ignore[arg-type]
            bare = Stream()
            bare.codec_context = stream.codec_context  # type: ignore[attr-defined]
            yield Container(container, stream), bare

    monkeypatch.setattr(video, "open_video", open_without_rate)
    with numbered_video.open("rb") as file:
        facts = video.survey_video(file, "clip")
    assert (facts.times.fps, facts.num_frames) == (24.0, 30)
    assert "24 frames per second are assumed" in facts.notices[0]


@pytest.mark.parametrize(
    "options",
    [
        {"num_frames": 4, "fps": 2.0},
        {"num_frames": 1},
        {"num_frames": 65},
        {"fps": 0.0},
        {"fps": float("nan")},
        {"fps": -1.0},
    ],
)
def test_impossible_sampling_is_refused(options: dict[str, Any], numbered_video: Path) -> None:
    with pytest.raises(InputError, match=r"Cannot sample|not both"):
        read_video(numbered_video, chosen=FrameChoice(**options))


@pytest.mark.parametrize("most", [1, 1000])
def test_an_impossible_upper_bound_is_refused(most: int, numbered_video: Path) -> None:
    with pytest.raises(InputError, match="Cannot sample up to"):
        read_video(numbered_video, max_frames=most)


def test_odd_rates_are_kept_exactly(tmp_path: Path) -> None:
    frames = make_video(6, 64, 48).frames
    sampled = read_video(write_video(tmp_path / "ntsc.mp4", frames, fps=Fraction(30_000, 1001)))
    assert sampled.fps == pytest.approx(30_000 / 1001)
