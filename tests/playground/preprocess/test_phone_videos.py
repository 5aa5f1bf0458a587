"""Clips as phones, browsers and screen recorders make them."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from playground.errors import InputError
from playground.preprocess import video
from playground.preprocess.media import read_video
from tests.media_samples import make_image, write_video

MILLISECOND = Fraction(1, 1000)


def write_timed(
    path: Path,
    stamps: Sequence[int],
    *,
    codec: str = "libvpx",
    options: dict[str, str] | None = None,
    rate: int = 30,
) -> Path:
    """A clip of grey frames, frame i of value ``4 * i``, shown at ``stamps`` milliseconds."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, options=options or {})
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = stream.time_base = MILLISECOND
        for index, stamp in enumerate(stamps):
            grey = np.full((48, 64, 3), 4 * index, np.uint8)
            frame = av.VideoFrame.from_ndarray(grey, format="rgb24")
            frame.pts, frame.time_base = stamp, MILLISECOND
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def read_numbers(frames: np.ndarray) -> list[int]:
    return [round(float(frame.mean()) / 4) for frame in frames]


def forget_frame_rate(path: Path) -> Path:
    """Blank WebM's DefaultDuration, which browsers do not write, with a Void element."""
    data = bytearray(path.read_bytes())
    place = data.index(b"\x23\xe3\x83\x84")
    data[place : place + 8] = b"\xec\x86" + bytes(6)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("codec", ["libvpx", "libvpx-vp9"])
def test_a_clip_recorded_in_a_browser_is_sampled_by_its_timestamps(
    codec: str, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    stamps = np.cumsum([0, *rng.integers(50, 120, 49)]).tolist()  # about 12 a second
    path = forget_frame_rate(write_timed(tmp_path / "recorded.webm", stamps, codec=codec))
    sampled = read_video(path)
    seconds = np.array(stamps) / 1000
    assert len(sampled.frames) == int(50 / sampled.fps * 2)
    assert sampled.fps == pytest.approx(49 / seconds[-1])
    assert sampled.seconds == tuple(seconds[list(sampled.frame_indices)])
    moments = np.linspace(0, seconds[-1], len(sampled.frames))
    assert np.abs(np.array(sampled.seconds) - moments).max() <= 0.06  # half the longest gap
    assert np.abs(sampled.frames.mean((1, 2, 3)) / 4 - sampled.frame_indices).max() < 1.5


@pytest.mark.parametrize(
    ("ending", "codec"),
    [
        ("mp4", "libx264"),
        ("mov", "libx264"),
        ("mkv", "libx264"),
        ("webm", "libvpx"),
        ("ts", "libx264"),
        ("flv", "flv1"),
        ("wmv", "wmv2"),
        ("avi", "mpeg4"),
    ],
)
def test_varying_rates_keep_their_times(ending: str, codec: str, tmp_path: Path) -> None:
    stamps = [*range(0, 1000, 40), *range(1000, 9001, 1000)]  # a burst, then one a second
    options = {"qp": "0"} if codec == "libx264" else {}
    path = write_timed(tmp_path / f"clip.{ending}", stamps, codec=codec, options=options)
    sampled = read_video(path)
    assert sampled.total_num_frames == len(stamps)
    assert sampled.seconds is not None
    want = [stamps[index] / 1000 for index in sampled.frame_indices]
    assert sampled.seconds == pytest.approx(want, abs=1e-3)
    # 9 seconds sampled twice a second: every frame of the slow part, each once.
    assert [index for index in sampled.frame_indices if stamps[index] >= 1000] == list(
        range(25, len(stamps))
    )
    assert np.abs(sampled.frames.mean((1, 2, 3)) / 4 - sampled.frame_indices).max() < 1.5
    assert sampled.notices == (
        "The frame rate varies; frames are sampled by their own timestamps.",
    )


def test_a_constant_rate_in_milliseconds_is_one(tmp_path: Path) -> None:
    stamps = [round(index * 1000 / 30) for index in range(60)]
    sampled = read_video(write_timed(tmp_path / "clip.webm", stamps))
    assert (sampled.fps, sampled.seconds, sampled.notices) == (30.0, None, ())
    assert sampled.frame_indices == (0, 20, 39, 59)


def test_hidden_reference_frames_of_vp8_are_not_counted(tmp_path: Path) -> None:
    path = write_timed(tmp_path / "clip.webm", range(0, 2000, 100), rate=10)
    with av.open(str(path)) as container:
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    data[data.index(packets[7])] &= 0xEF  # show_frame = 0
    path.write_bytes(data)
    sampled = read_video(path)
    assert sampled.total_num_frames == 19
    assert not any("could be decoded" in notice for notice in sampled.notices)


def test_a_trimmed_clip_raises_no_alarm(tmp_path: Path) -> None:
    frames = np.stack([np.full((48, 64, 3), 4 * index, np.uint8) for index in range(40)])
    whole, cut = write_video(tmp_path / "whole.mp4", frames), tmp_path / "cut.mp4"
    with av.open(str(whole)) as source, av.open(str(cut), "w") as container:
        track = source.streams.video[0]
        stream = container.add_stream_from_template(track)
        shift = 10 * int(1 / (10 * track.time_base))  # the first ten frames lie before zero
        for packet in source.demux(track):
            if packet.size:
                packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
                packet.stream = stream
                container.mux(packet)
    sampled = read_video(cut)
    assert sampled.total_num_frames == 30
    assert read_numbers(sampled.frames) == [index + 10 for index in sampled.frame_indices]
    assert sampled.notices == ()


# --------------------------------------------------------------------------- orientation


def write_turned(path: Path, degrees: float, *, hflip: bool = False, vflip: bool = False) -> Path:
    scene = make_image(64, 48).pixels
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=2, options={"qp": "0"})
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.set_display_rotation(degrees, hflip=hflip, vflip=vflip)
        for _ in range(2):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(scene, format="rgb24")))
        container.mux(stream.encode())
    return path


def autorotate(path: Path) -> np.ndarray:
    """The first frame after the filters that ffmpeg inserts by itself (``ffmpeg_filter.c``)."""
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        data = frame.side_data.get("DISPLAYMATRIX")
        matrix = np.frombuffer(bytes(data), np.int32) if data is not None else np.eye(3).ravel()
        theta = -np.degrees(np.arctan2(-matrix[1], matrix[0])) % 360
        filters = []
        if abs(theta - 90) < 1:
            filters = [("transpose", "cclock_flip" if matrix[3] > 0 else "clock")]
        elif abs(theta - 180) < 1:
            filters = [("hflip", None)] * int(matrix[0] < 0) + [("vflip", None)] * int(
                matrix[4] < 0
            )
        elif abs(theta - 270) < 1:
            filters = [("transpose", "clock_flip" if matrix[3] < 0 else "cclock")]
        elif matrix[4] < 0:
            filters = [("vflip", None)]
        graph = av.filter.Graph()
        last = graph.add_buffer(template=container.streams.video[0])
        for name, argument in filters:
            following = graph.add(name, argument)
            last.link_to(following)
            last = following
        sink = graph.add("buffersink")
        last.link_to(sink)
        graph.configure()
        graph.push(frame)
        return graph.pull().to_ndarray(format="rgb24")


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
@pytest.mark.parametrize(("hflip", "vflip"), [(False, False), (True, False), (False, True)])
def test_every_orientation_is_shown_as_by_ffmpeg(
    degrees: int, hflip: bool, vflip: bool, tmp_path: Path
) -> None:
    path = write_turned(tmp_path / "selfie.mp4", degrees, hflip=hflip, vflip=vflip)
    sampled, want = read_video(path), autorotate(path)
    assert sampled.frames.shape[1:] == want.shape
    assert np.abs(sampled.frames[0].astype(int) - want).mean() < 2
    is_turned = bool(degrees or hflip or vflip) and not (degrees == 180 and hflip and vflip)
    assert sampled.notices == ("Turned upright according to the file's metadata.",) * is_turned


def test_a_matrix_of_45_degrees_is_left_with_a_notice(tmp_path: Path) -> None:
    sampled = read_video(write_turned(tmp_path / "tilted.mp4", 45))
    assert sampled.size == (64, 48)
    assert "no multiple of 90°" in sampled.notices[0]


def write_ratio(path: Path, ratio: Fraction) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=2, options={"qp": "0"})
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.sample_aspect_ratio = ratio
        for _ in range(4):
            scene = make_image(64, 48).pixels
            container.mux(stream.encode(av.VideoFrame.from_ndarray(scene, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize(
    ("ratio", "size"),
    [(Fraction(4, 3), (85, 48)), (Fraction(1, 2), (64, 96)), (Fraction(20), (64, 48))],
)
def test_pixels_that_are_not_square(ratio: Fraction, size: tuple[int, int], tmp_path: Path) -> None:
    sampled = read_video(write_ratio(tmp_path / "dv.mp4", ratio))
    assert sampled.size == size
    assert len(sampled.notices) == 1
    assert f"{ratio.numerator}:{ratio.denominator}" in sampled.notices[0]
    want = np.asarray(Image.fromarray(make_image(64, 48).pixels).resize(size, Image.BICUBIC))
    assert np.abs(sampled.frames[0].astype(int) - want).mean() < 8


# --------------------------------------------------------------------------- long clips


def test_seventy_seconds_at_60_frames_are_sampled(tmp_path: Path) -> None:
    frames = np.zeros((4_200, 16, 16, 3), np.uint8)
    sampled = read_video(write_video(tmp_path / "long.mp4", frames, fps=60), max_frames=8)
    assert sampled.total_num_frames == 4_200
    assert sampled.frame_indices == tuple(np.linspace(0, 4_199, 8).round().astype(int))


def test_a_longer_clip_is_read_from_its_key_frames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stamps = list(range(0, 6000, 100))
    path = write_timed(
        tmp_path / "film.mp4", stamps, codec="libx264", options={"g": "5", "qp": "0"}, rate=10
    )
    exact = read_video(path)
    monkeypatch.setattr(video, "MAX_DECODED_FRAMES", 20)
    sampled = read_video(path)
    assert all(index % 5 == 0 for index in sampled.frame_indices)
    assert (
        np.abs(np.array(exact.frame_indices)[:, None] - np.array(sampled.frame_indices))
        .min(axis=1)
        .max()
        <= 4
    )
    assert read_numbers(sampled.frames) == list(sampled.frame_indices)
    assert "key frames nearest" in sampled.notices[0]


def test_a_long_clip_with_one_key_frame_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_timed(tmp_path / "film.webm", range(0, 6000, 100), options={"g": "500"})
    monkeypatch.setattr(video, "MAX_DECODED_FRAMES", 20)
    with pytest.raises(InputError, match="too long") as caught:
        read_video(path)
    assert "At most 20 frames" in caught.value.limit


# --------------------------------------------------------------------------- other tracks


def test_the_cover_of_a_sound_file_is_no_clip(tmp_path: Path) -> None:
    path = tmp_path / "song.m4a"
    with av.open(str(path), "w", format="mp4") as container:
        sound = container.add_stream("aac", rate=8000)
        cover = container.add_stream("mjpeg", rate=1)
        assert isinstance(cover, av.VideoStream)
        cover.width, cover.height, cover.pix_fmt = 64, 48, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), "fltp", "mono")
        silence.rate = 8000
        picture = av.VideoFrame.from_ndarray(make_image(64, 48).pixels, format="rgb24")
        container.mux(cover.encode(picture.reformat(format="yuvj420p")))
        container.mux(cover.encode())
        container.mux(sound.encode(silence))
        container.mux(sound.encode())
    with pytest.raises(InputError, match="no video track"):
        read_video(path)


def test_a_program_stream_is_read(tmp_path: Path) -> None:
    frames = np.stack([np.full((48, 64, 3), 4 * index, np.uint8) for index in range(50)])
    sampled = read_video(write_video(tmp_path / "clip.mpg", frames, fps=25, codec="mpeg1video"))
    assert (sampled.fps, sampled.frame_indices) == (25.0, (0, 16, 33, 49))
    assert np.abs(sampled.frames.mean((1, 2, 3)) / 4 - sampled.frame_indices).max() < 2
