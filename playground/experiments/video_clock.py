"""What if a program misreads a video's clock? The times in the prompt, and the answer.

``Qwen3VLProcessor`` writes ``<t seconds>`` before each temporal patch: the indices of its frames
divided by a rate, both from ``video_metadata``. A program that samples frames itself must pass on
their indices in the file and the file's own rate. Each mistake below was reported of one that does
not: QwenLM/Qwen3-VL#2117, huggingface/lerobot#4710, vllm-project/vllm#27104,
ByteDance-Seed/VeOmni#1165, modelscope/ms-swift#6523.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from playground.experiments.what_if_runs import compare_logits, greedy_answer
from playground.pipeline import Run
from playground.preprocess.video_sampling import (
    ASSUMED_FPS,
    SAMPLED_FPS,
    FrameTimes,
    VideoSampling,
    choose_sampling,
    sample_frame_indices,
)
from playground.preprocess.views import timestamp_texts
from playground.prompt import PromptVideo
from playground.records import Progress

ANSWER_TOKENS = 32

Reading = Literal[
    "right", "no_metadata", "sampled_twice", "sampling_rate", "file_rate", "frame_list"
]
READINGS: tuple[Reading, ...] = (
    "right",
    "no_metadata",  # the sampled frames alone: 24 per second are assumed
    "sampled_twice",  # likewise, and the processor samples them once more
    "sampling_rate",  # indices in the file, but the rate of sampling
    "file_rate",  # the file's rate, but the sampled frames counted from 0
    "frame_list",  # a list of images: 2 per second, whatever they were taken at
)


@dataclass(frozen=True, slots=True, eq=False)
class ClockReading:
    """The first video of a prompt under one reading of its clock."""

    reading: Reading
    num_frames: int  # that the model gets
    true_s: tuple[float, ...]  # per temporal patch: mean time of its first and last frame
    told_s: tuple[float, ...]  # the time in the prompt
    texts: tuple[str, ...]  # as it is written there: <0.5 seconds>
    num_tokens: int  # of the video
    answer: str  # greedy, up to ANSWER_TOKENS
    kl: float  # nats: KL(right || this one) of the answer's first token


def own_sampling(run: Run) -> VideoSampling:
    """How the checkpoint's video processor samples when nothing is chosen."""
    return VideoSampling.of_processor(run.engine.processor.video_processor)


def chosen_sampling(run: Run) -> VideoSampling:
    """How the first video of a prompt was sampled."""
    return choose_sampling(own_sampling(run), run.prompt.videos[0].chosen)


def misread_video(run: Run, video: PromptVideo, reading: Reading) -> PromptVideo:
    """A video of a prompt as the processor gets it under one reading."""
    count = len(video.frames)
    if reading == "right":
        return video
    if reading == "sampled_twice":
        kept = sample_frame_indices(FrameTimes(count, ASSUMED_FPS), own_sampling(run))
        again = replace(video, frames=video.frames[list(kept)], frame_indices=kept, seconds=None)
        return replace(again, fps=ASSUMED_FPS, total_num_frames=count)
    counted, in_file = tuple(range(count)), video.frame_indices
    indices, fps = {
        "no_metadata": (counted, ASSUMED_FPS),
        "sampling_rate": (in_file, chosen_sampling(run).fps or SAMPLED_FPS),
        "file_rate": (counted, video.fps),
        "frame_list": (counted, SAMPLED_FPS),
    }[reading]
    return replace(video, frame_indices=indices, fps=fps, seconds=None)


def misread_run(run: Run, reading: Reading) -> Run:
    """A run of the same prompt under one reading; the tower's output is reused if it can be."""
    turns = tuple(
        replace(turn, video=misread_video(run, turn.video, reading)) if turn.video else turn
        for turn in run.prompt.turns
    )
    return Run(run.engine, replace(run.prompt, turns=turns), earlier=run)


def read_clock(run: Run, reading: Reading, *, progress: Progress | None = None) -> ClockReading:
    """What the prompt says under one reading, and what the model answers.

    Args:
        run: a prompt with a video; missing stages are computed.
        reading: how the video's clock is read.
        progress: called before every block, layer and token; an exception raised in it stops.

    Raises:
        InputError: the sequence does not fit into the context window.
    """
    run.ensure("decoder", progress)
    changed = run if reading == "right" else misread_run(run, reading)
    changed.ensure("decoder", progress)
    answer = greedy_answer(
        run.engine,
        changed.inputs,
        changed.merged,
        changed.decoded,
        max_new_tokens=ANSWER_TOKENS,
        progress=progress,
    )
    video = changed.prompt.videos[0]
    kept = video.frame_indices if reading == "sampled_twice" else range(len(video.frames))
    facts = next(media for media in changed.inputs.media if media.kind == "video")
    return ClockReading(
        reading=reading,
        num_frames=len(kept),
        true_s=_patch_times(run, [run.prompt.videos[0].times[place] for place in kept]),
        told_s=facts.timestamps,
        texts=timestamp_texts(changed.inputs)[: facts.grid_thw[0]],
        num_tokens=facts.num_tokens,
        answer=answer.text,
        kl=compare_logits(run.engine, run.decoded.logits, changed.decoded.logits, 1).kl,
    )


def _patch_times(run: Run, seconds: Sequence[float]) -> tuple[float, ...]:
    """The times of frames, averaged per temporal patch as the processor does."""
    size = run.inputs.temporal_patch_size
    times: list[float] = run.engine.processor._calculate_timestamps(list(seconds), 1.0, size)
    return tuple(times)
