"""Clips whose frames show their number, and plain transformers on a clip."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch

from playground.engine import Engine
from playground.preprocess.media import read_video
from playground.preprocess.video_sampling import VideoSampling
from playground.prompt import FrameChoice, PromptVideo

NUM_FRAMES = 40


def draw_numbers(num_frames: int = NUM_FRAMES) -> np.ndarray:
    """Frames that show their number: as many of the 8 x 8 squares are white."""
    frames = np.zeros((num_frames, 64, 64, 3), np.uint8)
    for number, frame in enumerate(frames):
        for square in range(number):
            top, left = 8 * (square // 8), 8 * (square % 8)
            frame[top : top + 8, left : left + 8] = 255
    return frames


def read_numbers(frames: np.ndarray) -> list[int]:
    squares = frames.reshape(len(frames), 8, 8, 8, 8, 3).mean((2, 4, 5))
    return [int(white) for white in (squares > 127).sum((1, 2))]


def read_as_checkpoint(engine: Engine, path: Path, **chosen: Any) -> PromptVideo:
    own = VideoSampling.of_processor(engine.processor.video_processor)
    return read_video(path, sampling=own, chosen=FrameChoice(**chosen))


def plain_call(
    engine: Engine, frames: torch.Tensor, metadata: Mapping[str, Any] | None, **more: Any
) -> Any:
    """Plain transformers on a message with a video: (frames, 3, height, width) uint8."""
    processor: Any = engine.processor
    content = [{"type": "video"}, {"type": "text", "text": "What?"}]
    text = processor.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )
    kwargs = {"video_metadata": metadata and [metadata], **more}
    return processor(text=[text], videos=[frames], return_tensors="pt", videos_kwargs=kwargs)


def decode_plainly(path: Path) -> torch.Tensor:
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return torch.from_numpy(np.stack(frames)).permute(0, 3, 1, 2)
