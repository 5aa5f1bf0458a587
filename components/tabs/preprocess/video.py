"""Preprocess, video: the sampled frames, their times, and their share of the pixel budget."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import plotly.graph_objects as go

import playground
from components.charts.preprocess_sequence import plot_timeline
from components.charts.video_clock import ClockLine, plot_clock
from components.compute.gpu_process import on_gpu
from components.parts.part import Heading, Part, Text
from components.tabs.preprocess.video_clock import (
    MISTAKES,
    NAMES,
    Misread,
    clock_lines,
    readings_table,
)
from components.views.facts import fact_markup
from components.views.tables import Mono, table_html
from components.views.text import verbatim_html
from playground.language import mark, say
from playground.pipeline import Run
from playground.prompt import FrameChoice, PromptVideo
from playground.records import MediaFacts, Progress

if TYPE_CHECKING:
    from playground.experiments.video_clock import ClockReading

HEADERS = (
    mark("Temporal patch"),
    mark("Frames in the file"),
    mark("Timestamps"),
    mark("Text in the prompt"),
    mark("Tokens"),
    mark("Rows"),
)
PART = Part(
    "video",
    mark("Video"),
    stage="preprocess",
    layout=(
        "words",
        "timeline",
        "pairs",
        Heading(mark("The prompt's clock")),
        Text(MISTAKES),
        ("misread",),
        "clock",
        "readings",
    ),
    shown=lambda run: bool(run.inputs.prompt.videos),
    absent=mark(
        "This prompt has no video. Choose the example with the moving circle, or load a video "
        "under “System prompt, earlier turns, video, resolution”, to see which frames are sampled."
    ),
)


def first_video(run: Run) -> tuple[PromptVideo, MediaFacts]:
    """The first video of the prompt, and its sizes after the processor."""
    facts = next(media for media in run.inputs.media if media.kind == "video")
    return run.inputs.prompt.videos[0], facts


@PART.html()
def words(run: Run) -> str:
    """How the frames were sampled, and how they share the pixel budget."""
    video, facts = first_video(run)
    steps = playground.preprocess.views.explain_resize(run.engine, run.inputs, facts)
    width, height = facts.resized_size
    return _sampling_words(run, video, facts) + fact_markup(
        say(
            "All frames share one pixel budget: {budget:,} pixels / {frames} frames = at most "
            "{per_frame:,} pixels per frame. Here each frame has {width} × {height} = {pixels:,} "
            "pixels. A longer video gets smaller frames, not more pixels.",
            budget=steps.budget.max_pixels,
            frames=steps.rounded_frames,
            per_frame=steps.budget.max_pixels // max(1, steps.rounded_frames),
            width=width,
            height=height,
            pixels=width * height,
        )
    )


def _sampling_words(run: Run, video: PromptVideo, facts: MediaFacts) -> str:
    """The frames that are sampled, and how they form temporal patches."""
    taken, size = len(video.frame_indices), run.inputs.temporal_patch_size
    sentence = say(
        "{name} has {total:,} frames in {seconds:.3g} s ({fps:.4g} per second). <strong>{taken} "
        "of them are sampled</strong>, evenly spaced {where}. With {size} per temporal patch, they "
        "form {patches} temporal patches.",
        size=size,
        name=verbatim_html(facts.name),
        total=video.total_num_frames,
        seconds=video.total_num_frames / video.fps,
        fps=video.fps,
        taken=taken,
        where=range_words(video.chosen),
        patches=facts.grid_thw[0],
    )
    repeated = [say("The last frame is repeated to complete its temporal patch.")]
    timestamps = say("In the prompt, a timestamp precedes each temporal patch.")
    return fact_markup(
        sentence, _count_words(run, video), *(repeated if taken % size else []), timestamps
    )


def range_words(chosen: FrameChoice) -> str:
    """The range of time that was sampled."""
    start = chosen.start_s or 0.0
    if chosen.end_s is not None:
        return say("between {start:,.8g} s and {end:,.8g} s", start=start, end=chosen.end_s)
    if start:
        return say("from {start:,.8g} s to the last", start=start)
    return say("from the first to the last")


def _count_words(run: Run, video: PromptVideo) -> str:
    """How the video processor counts the frames to sample."""
    sampling = playground.experiments.video_clock.chosen_sampling(run)
    if sampling.num_frames is not None:
        return say("Their number is given: num_frames = {count}.", count=sampling.num_frames)
    if sampling.fps is None:
        return say("Every frame is taken, up to max_frames = {most:,}.", most=sampling.max_frames)
    if video.seconds is not None:  # between which the file's frames are not known any more
        return say("They are sampled at {fps:g} per second.", fps=sampling.fps)
    times = playground.preprocess.video_sampling.FrameTimes(video.total_num_frames, video.fps)
    first, last = playground.preprocess.video_sampling.find_range(times, sampling)
    inside = last - first + 1
    return say(
        "At {fps:g} per second, int({inside:,} / {file_fps:.4g} × {fps:g}) = {count:,} frames are "
        "sampled, but at least min_frames = {least} and at most max_frames = {most}.",
        fps=sampling.fps,
        inside=inside,
        file_fps=video.fps,
        count=int(inside / video.fps * sampling.fps),
        least=sampling.min_frames,
        most=sampling.max_frames,
    )


@PART.chart(mark("Video frames"))
def timeline(run: Run) -> go.Figure:
    """The frames in the file, the sampled ones, and their pairs."""
    video, facts = first_video(run)
    return plot_timeline(
        video.frame_indices,
        video.total_num_frames,
        video.fps,
        facts.timestamps,
        patch_frames=run.inputs.temporal_patch_size,
        seconds=video.seconds,
    )


@PART.html()
def pairs(run: Run) -> str:
    """One row per temporal patch of the first video."""
    inputs, (video, _) = run.inputs, first_video(run)
    size = inputs.temporal_patch_size
    texts = playground.preprocess.views.timestamp_texts(inputs)
    spans = [span for span in inputs.spans if span.kind == "video" and span.media_index == 0]
    rows = []
    for span, text in zip(spans, texts, strict=False):
        here = slice(span.frame * size, (span.frame + 1) * size)
        frames, times = video.frame_indices[here], video.times[here]
        rows.append(
            (
                span.frame + 1,
                say("{first:,} and {last:,}", first=frames[0], last=frames[-1]),
                say("{first:.2f} s and {last:.2f} s", first=times[0], last=times[-1]),
                Mono(text),
                f"{span.start:,}–{span.end - 1:,}",
                f"{span.patch_start:,}–{span.patch_start + span.num_patches - 1:,}",
            )
        )
    ranges = [(span.start, span.end) for span in spans]
    return table_html(
        [say(header) for header in HEADERS], rows, say("Temporal patches"), tokens=ranges
    )


@PART.experiment(mark("Misread the clock"))
@on_gpu
def misread(run: Run, progress: Progress) -> Iterator[Misread]:
    """Ask the same question under each reading of the clock, the right one first."""
    video_clock = playground.experiments.video_clock
    readings: list[ClockReading] = []
    for number, reading in enumerate(video_clock.READINGS):
        name = say(NAMES[reading])
        progress(say("Reading the clock: {name}", name=name), number, len(video_clock.READINGS))
        readings.append(video_clock.read_clock(run, reading, progress=progress))
        yield Misread(tuple(readings))


@PART.chart(mark("The prompt's clock against the file's"), needs=("misread",), live=True)
def clock(run: Run, misread: Misread | None) -> go.Figure:
    """The times in the prompt over the true ones; the wrong readings once they are known."""
    video, facts = first_video(run)
    size = run.inputs.temporal_patch_size
    if misread is not None:
        lines = clock_lines(misread.readings)
    else:
        texts = playground.preprocess.views.timestamp_texts(run.inputs)[: facts.grid_thw[0]]
        lines = [ClockLine(say(NAMES["right"]), facts.timestamps, facts.timestamps, texts)]
    return plot_clock(lines, video.times, patch_frames=size)


@PART.html(needs=("misread",), live=True)
def readings(run: Run, misread: Misread | None) -> str:
    """The times and the answer under each reading."""
    if misread is None:
        return fact_markup(
            say(
                "“Misread the clock” makes each of these mistakes on purpose, and answers the same "
                "question."
            )
        )
    table = readings_table(misread)
    if len({each.answer for each in misread.readings}) > 1:
        return table
    return table + fact_markup(
        say(
            "All answers are equal: either the question does not depend on time, or the checkpoint "
            "does not read it. Ask when something happens."
        )
    )
