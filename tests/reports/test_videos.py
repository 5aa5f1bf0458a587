"""Clips of public reports: colours, sizes and numbers of frames. The threads are at each test."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch

from playground.engine import Engine
from playground.loading.load import load_engine
from playground.preprocess.media import read_video
from playground.preprocess.stage import model_kwargs, run_preprocess
from playground.prompt import FrameChoice, Prompt, PromptVideo, Turn
from playground.records import ModelInputs
from reliability.shape_checkpoints import Shape, write_checkpoint
from tests.media_samples import make_video, write_video

FULL_RANGE = 2  # AVCOL_RANGE_JPEG


def write(path: Path, frames: np.ndarray, layout: str, *, color_range: int = 1) -> Path:
    """Encode losslessly in a pixel layout and range."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=2, options={"qp": "0"})
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = layout
        stream.codec_context.color_range = color_range
        for pixels in frames:
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame = frame.reformat(format=layout, dst_color_range=color_range)
            frame.color_range = color_range
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def filtered(path: Path) -> np.ndarray:
    """All frames as ffmpeg's own filters make them RGB."""
    frames = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        graph = av.filter.Graph()
        source = graph.add_buffer(template=stream)
        rgb, sink = graph.add("format", "pix_fmts=rgb24"), graph.add("buffersink")
        source.link_to(rgb)
        rgb.link_to(sink)
        graph.configure()
        for frame in container.decode(stream):
            graph.push(frame)
            frames.append(graph.pull().to_ndarray())
    return np.stack(frames)


@pytest.mark.parametrize(
    ("layout", "size"),
    [
        ("yuv444p", (64, 48)),  # PyAV-Org/PyAV#1431
        ("yuv420p", (64, 48)),
    ],
)
def test_full_range_colours_are_those_of_ffmpeg(
    layout: str, size: tuple[int, int], tmp_path: Path
) -> None:
    frames = make_video(4, *size).frames
    path = write(tmp_path / "clip.mp4", frames, layout, color_range=FULL_RANGE)
    found = read_video(path).frames
    np.testing.assert_array_equal(found, filtered(path))
    if layout == "yuv444p":
        assert np.abs(found.astype(int) - frames).max() <= 4


@pytest.mark.parametrize("size", [(500, 500), (1294, 964)])
def test_widths_that_are_no_multiple_of_eight(size: tuple[int, int], tmp_path: Path) -> None:
    """PyAV-Org/PyAV#423: the last columns were noise."""
    path = write(tmp_path / "clip.mp4", make_video(4, *size).frames, "yuv420p")
    np.testing.assert_array_equal(read_video(path).frames, filtered(path))


@pytest.mark.parametrize("layout", ["yuv420p10le", "yuv422p10le"])
def test_ten_bits_a_channel(layout: str, tmp_path: Path) -> None:
    """PyAV-Org/PyAV#1981: phones record HDR in ten bits."""
    colours = np.array([(200, 40, 90), (20, 180, 60), (10, 20, 240), (128, 128, 128)], np.uint8)
    frames = np.repeat(np.repeat(colours[:, None, None], 48, axis=1), 64, axis=2)
    found = read_video(write(tmp_path / "clip.mkv", frames, layout)).frames
    assert np.abs(found.astype(int) - frames).max() <= 2


# --------------------------------------------------------------------------- numbers of frames


def test_more_frames_asked_for_than_there_are(engine: Engine, tmp_path: Path) -> None:
    """EvolvingLMMs-Lab/lmms-eval#874: 16 of a clip of 9. The processor repeats frames."""
    path = write_video(tmp_path / "clip.mp4", make_video(9, 64, 48).frames, fps=3)
    asked = read_video(path, chosen=FrameChoice(num_frames=16))
    assert asked.frame_indices == tuple(np.linspace(0, 8, 16).round().astype(int).tolist())
    assert run_preprocess(engine, ask(asked)).video_grid_thw is not None


def ask(video: PromptVideo) -> Prompt:
    return Prompt((Turn("user", "What?", video=video),), max_pixels=40_000)


def plain_inputs(engine: Engine, video: PromptVideo) -> Any:
    """What plain transformers makes of these frames, as they are."""
    processor: Any = engine.processor
    content = [{"type": "video"}, {"type": "text", "text": "What?"}]
    text = processor.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )
    given = {
        "total_num_frames": video.total_num_frames,
        "fps": video.fps,
        "frames_indices": list(video.frame_indices),
    }
    smallest = processor.video_processor.size["shortest_edge"]
    size = {"shortest_edge": min(smallest, 40_000), "longest_edge": 40_000}
    frames = torch.from_numpy(video.frames).permute(0, 3, 1, 2)
    return processor(
        text=[text],
        videos=[frames],
        return_tensors="pt",
        videos_kwargs={"video_metadata": [given], "do_sample_frames": False, "size": size},
    )


def assert_plain(engine: Engine, video: PromptVideo) -> ModelInputs:
    inputs = run_preprocess(engine, ask(video))
    found, plain = model_kwargs(inputs), plain_inputs(engine, video)
    for name in ("input_ids", "video_grid_thw", "pixel_values_videos"):
        assert torch.equal(found[name], plain[name]), name
    return inputs


@pytest.mark.parametrize("num_frames", [1, 3, 5])
def test_odd_numbers_of_frames(
    engine: Engine, num_frames: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """QwenLM/Qwen3-VL#1689 (one image as a video), huggingface/transformers#42083."""
    caplog.set_level(logging.ERROR)
    path = write_video(tmp_path / "clip.mp4", make_video(num_frames, 64, 48).frames, fps=2)
    video = read_video(path, chosen=FrameChoice(num_frames=num_frames if num_frames > 1 else None))
    inputs = assert_plain(engine, video)
    assert inputs.video_grid_thw is not None
    assert inputs.video_grid_thw[0, 0] == (num_frames + 1) // 2


def test_each_pair_of_frames_has_its_time(engine: Engine, tmp_path: Path) -> None:
    """Blaizzy/mlx-vlm#2142: an 8-second clip was one block without times."""
    path = write_video(tmp_path / "clip.mp4", make_video(16, 64, 48).frames, fps=2)
    inputs = assert_plain(engine, read_video(path, chosen=FrameChoice(num_frames=8)))
    assert inputs.expanded_prompt.count(" seconds><|vision_start|>") == 4


def test_times_follow_the_temporal_patch_not_the_merge(tmp_path: Path) -> None:
    """huggingface/transformers#43519, vllm-project/vllm#37439: patches of 4 frames, merged by 2."""
    folder = write_checkpoint(tmp_path / "checkpoint", Shape(temporal=4, merge=2))
    engine = load_engine(folder, device="cpu")
    path = write_video(tmp_path / "clip.mp4", make_video(8, 64, 48).frames, fps=2)
    inputs = assert_plain(engine, read_video(path, chosen=FrameChoice(num_frames=8)))
    assert inputs.media[0].timestamps == pytest.approx([0.75, 2.75])  # means of 0, 1.5 and 2, 3.5 s
