"""Preprocess, the video: which frames were taken, how they pair up, and their share of pixels."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

import playground
from components.charts.preprocess_sequence import plot_timeline
from components.html_view import build_html_view
from components.plotly_view import PlotlyView
from components.stage_tab import App, Section
from components.tables import Mono, table_html

if TYPE_CHECKING:
    from playground.pipeline import Run
    from playground.records import Clip, MediaFacts, ModelInputs

HEADERS = ("Pair", "Frames of the file", "Their times", "Text in the prompt", "Tokens", "Rows")


def build_video_section(app: App) -> Section:
    """Build the timeline and the table of pairs; nothing in them can be set."""
    del app
    words = build_html_view()
    timeline = PlotlyView(label="Frames of the video", empty="This prompt has no video.")
    pairs = build_html_view()

    def draw(run: Run) -> tuple[Any, ...]:
        inputs = run.inputs
        clips = inputs.prompt.clips
        if not clips:
            return NO_VIDEO, None, ""
        facts = next(each for each in inputs.media if each.kind == "video")
        clip = clips[0]
        chart = plot_timeline(clip.frame_indices, clip.total_num_frames, clip.fps, facts.timestamps)
        return video_words(run, clip, facts), chart, pairs_table(inputs, clip)

    return Section((), (words, timeline, pairs), draw)


NO_VIDEO = (
    '<p class="pg-fact">This prompt has no video. Choose the example with the moving circle, or '
    "load a clip under “System prompt, video, resolution”, to see which frames are taken.</p>"
)


def video_words(run: Run, clip: Clip, facts: MediaFacts) -> str:
    """How the frames were chosen, and how they share the pixels."""
    inputs = run.inputs
    steps = playground.preprocess_views.explain_resize(run.engine, inputs, facts)
    seconds = clip.total_num_frames / clip.fps
    pairs = facts.grid_thw[0]
    frames = len(clip.frame_indices)
    per_frame = steps.budget.max_pixels // max(1, steps.rounded_frames)
    odd = " The last frame is doubled to fill its pair." if frames % 2 else ""
    return (
        f'<p class="pg-fact">{html.escape(facts.name)} has {clip.total_num_frames:,} frames in '
        f"{seconds:.3g} s ({clip.fps:.4g} a second). <strong>{frames} of them are taken</strong>, "
        f"evenly from the first to the last, and every two become one patch in time: {pairs} "
        f"pairs.{odd} Before each pair the prompt says at what time it is.</p>"
        f'<p class="pg-fact">All frames share one budget: {steps.budget.max_pixels:,} pixels / '
        f"{steps.rounded_frames} frames = {per_frame:,} each at most. They got "
        f"{facts.resized_size[0]} × {facts.resized_size[1]} = "
        f"{facts.resized_size[0] * facts.resized_size[1]:,} pixels each. A longer video gets "
        "smaller frames, not more pixels.</p>"
    )


def pairs_table(inputs: ModelInputs, clip: Clip) -> str:
    """One row per temporal patch of the first video."""
    size = inputs.temporal_patch_size
    texts = playground.preprocess_views.timestamp_texts(inputs)
    spans = [span for span in inputs.spans if span.kind == "video" and span.media_index == 0]
    rows = []
    for span, text in zip(spans, texts, strict=False):
        frames = clip.frame_indices[span.frame * size : (span.frame + 1) * size]
        frames += (frames[-1],) * (size - len(frames))
        rows.append(
            (
                span.frame + 1,
                " and ".join(f"{frame:,}" for frame in frames),
                " and ".join(f"{frame / clip.fps:.2f} s" for frame in frames),
                Mono(text),
                f"{span.start:,}–{span.end - 1:,}",
                f"{span.patch_start:,}–{span.patch_start + span.num_patches - 1:,}",
            )
        )
    places = [(span.start, span.end) for span in spans]
    return table_html(HEADERS, rows, "Pairs of frames", tokens=places)
