"""Preprocess, video: the sampled frames, their pairs, and their share of the pixel budget."""

from __future__ import annotations

import plotly.graph_objects as go

import playground
from components.charts.preprocess_sequence import plot_timeline
from components.parts.part import Part
from components.views.facts import fact_markup
from components.views.tables import Mono, table_html
from components.views.text import verbatim_html
from playground.language import mark, say
from playground.pipeline import Run
from playground.prompt import PromptVideo
from playground.records import MediaFacts

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
    return _sampling_words(video, facts, run.inputs.temporal_patch_size) + fact_markup(
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


def _sampling_words(video: PromptVideo, facts: MediaFacts, size: int) -> str:
    """The frames that are sampled, ``size`` to a temporal patch."""
    taken = len(video.frame_indices)
    sentence = say(
        "{name} has {total:,} frames in {seconds:.3g} s ({fps:.4g} per second). <strong>{taken} "
        "of them are sampled</strong>, evenly spaced from the first to the last. With {size} per "
        "temporal patch, they form {patches} temporal patches.",
        size=size,
        name=verbatim_html(facts.name),
        total=video.total_num_frames,
        seconds=video.total_num_frames / video.fps,
        fps=video.fps,
        taken=taken,
        patches=facts.grid_thw[0],
    )
    repeated = [say("The last frame is repeated to complete its temporal patch.")]
    timestamps = say("In the prompt, a timestamp precedes each temporal patch.")
    return fact_markup(sentence, *(repeated if taken % size else []), timestamps)


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
