"""Preprocess, the video: which frames were taken, how they pair up, and their share of pixels."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

import playground
from components.chart_view.view import PlotlyView
from components.charts.preprocess_sequence import plot_timeline
from components.tabs.choices import fact_html, fact_markup
from components.tabs.stage_tab import App, Section
from components.views.html_view import build_html_view
from components.views.tables import Mono, table_html
from playground.language import mark, say

if TYPE_CHECKING:
    from playground.pipeline import Run
    from playground.records import Clip, MediaFacts, ModelInputs

HEADERS = (
    mark("Pair"),
    mark("Frames of the file"),
    mark("Their times"),
    mark("Text in the prompt"),
    mark("Tokens"),
    mark("Rows"),
)
NO_VIDEO = mark(
    "This prompt has no video. Choose the example with the moving circle, or load a clip under "
    "“{panel}”, to see which frames are taken."
)


def build_video_section(app: App) -> Section:
    """Build the timeline and the table of pairs; nothing in them can be set."""
    del app
    words = build_html_view()
    timeline = PlotlyView(label=say("Frames of the video"), empty=say("This prompt has no video."))
    pairs = build_html_view()

    def draw(run: Run) -> tuple[Any, ...]:
        inputs = run.inputs
        clips = inputs.prompt.clips
        if not clips:
            panel = say("System prompt, earlier turns, video, resolution")
            return fact_html(say(NO_VIDEO, panel=panel)), None, ""
        facts = next(each for each in inputs.media if each.kind == "video")
        clip = clips[0]
        chart = plot_timeline(clip.frame_indices, clip.total_num_frames, clip.fps, facts.timestamps)
        return video_words(run, clip, facts), chart, pairs_table(inputs, clip)

    return Section((), (words, timeline, pairs), draw)


def video_words(run: Run, clip: Clip, facts: MediaFacts) -> str:
    """How the frames were chosen, and how they share the pixels."""
    steps = playground.preprocess.views.explain_resize(run.engine, run.inputs, facts)
    width, height = facts.resized_size
    return _taken_words(clip, facts) + fact_markup(
        say(
            "All frames share one budget: {budget:,} pixels / {frames} frames = {per_frame:,} each "
            "at most. They got {width} × {height} = {pixels:,} pixels each. A longer video gets "
            "smaller frames, not more pixels.",
            budget=steps.budget.max_pixels,
            frames=steps.rounded_frames,
            per_frame=steps.budget.max_pixels // max(1, steps.rounded_frames),
            width=width,
            height=height,
            pixels=width * height,
        )
    )


def _taken_words(clip: Clip, facts: MediaFacts) -> str:
    taken = len(clip.frame_indices)
    words = say(
        "{name} has {total:,} frames in {seconds:.3g} s ({fps:.4g} a second). <strong>{taken} of "
        "them are taken</strong>, evenly from the first to the last, and every two become one "
        "patch in time: {pairs} pairs.",
        name=f'<span translate="no">{html.escape(facts.name)}</span>',
        total=clip.total_num_frames,
        seconds=clip.total_num_frames / clip.fps,
        fps=clip.fps,
        taken=taken,
        pairs=facts.grid_thw[0],
    )
    doubled = [say("The last frame is doubled to fill its pair.")] if taken % 2 else []
    before = say("Before each pair the prompt says at what time it is.")
    return fact_markup(words, *doubled, before)


def pairs_table(inputs: ModelInputs, clip: Clip) -> str:
    """One row per temporal patch of the first video."""
    size = inputs.temporal_patch_size
    texts = playground.preprocess.views.timestamp_texts(inputs)
    spans = [span for span in inputs.spans if span.kind == "video" and span.media_index == 0]
    rows = []
    for span, text in zip(spans, texts, strict=False):
        frames = clip.frame_indices[span.frame * size : (span.frame + 1) * size]
        frames += (frames[-1],) * (size - len(frames))
        first, last = frames[0], frames[-1]
        rows.append(
            (
                span.frame + 1,
                say("{first:,} and {last:,}", first=first, last=last),
                say("{first:.2f} s and {last:.2f} s", first=first / clip.fps, last=last / clip.fps),
                Mono(text),
                f"{span.start:,}–{span.end - 1:,}",
                f"{span.patch_start:,}–{span.patch_start + span.num_patches - 1:,}",
            )
        )
    places = [(span.start, span.end) for span in spans]
    return table_html(
        [say(header) for header in HEADERS], rows, say("Pairs of frames"), tokens=places
    )
