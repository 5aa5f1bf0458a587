"""Stage 1 on the page: from messages and pictures to the tensors that the model is given."""

from __future__ import annotations

import html
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import gradio as gr

import playground
from components.html_view import build_html_view
from components.pictures import picture_html, picture_row_html
from components.snippets import write_snippet
from components.stage_tab import App, StageTab, build_code_panel, build_stage_header
from components.strips import sequence_strip_html, template_html
from components.tables import tensors_table, tokens_table

if TYPE_CHECKING:
    from playground.pipeline import Run
    from playground.records import MediaFacts, ModelInputs, Progress

MAX_FRAMES_SHOWN = 16
FRAME_WIDTH = 160  # CSS pixels
# Longest side that is sent, by the number of pictures: an update stays within 400 kB.
ONE_PICTURE_SIDE = 1024
MANY_PICTURES_SIDE = 448
FRAME_SIDE = 256


def build_preprocess_tab(app: App) -> StageTab:
    """Build the tab."""
    run_button = build_stage_header(
        "Preprocess",
        "The chat template turns messages into one text, the tokenizer turns the text into ids, "
        "and the image processor turns each picture into patches of 16 × 16 pixels.",
    )
    notices = build_html_view()
    gr.Markdown("### The picture as the model gets it")
    media = build_html_view()
    gr.Markdown("### The rendered template")
    template = build_html_view()
    gr.Markdown("### The token sequence")
    strip = build_html_view()
    tokens = build_html_view()
    gr.Markdown("### The tensors")
    tensors = build_html_view()
    code = build_code_panel()

    def stream(run: Run, progress: Progress) -> Iterator[tuple[Any, ...]]:
        run.ensure("preprocess", progress)
        inputs = run.inputs
        yield (
            notices_html(inputs.notices),
            media_html(inputs),
            template_html(inputs),
            sequence_strip_html(inputs),
            tokens_table(inputs),
            tensors_table(inputs),
            write_snippet("preprocess", run),
        )

    outputs = (notices, media, template, strip, tokens, tensors, code)
    return StageTab("preprocess", run_button, (), outputs, stream)


def notices_html(notices: tuple[str, ...]) -> str:
    """What was changed on the way in; empty where nothing was."""
    if not notices:
        return ""
    items = "".join(f"<li>{html.escape(notice)}</li>" for notice in notices)
    return f'<ul class="pg-notices" role="note" aria-label="Notices">{items}</ul>'


def media_html(inputs: ModelInputs) -> str:
    """Each image and video: its sizes in one sentence, and the resized pixels under the grid."""
    if not inputs.media:
        return '<p class="pg-fact">This prompt has no picture: only text goes to the model.</p>'
    images = [facts for facts in inputs.media if facts.kind == "image"]
    videos = [facts for facts in inputs.media if facts.kind == "video"]
    return picture_row_html(
        [_image_html(inputs, index, facts, len(images)) for index, facts in enumerate(images)]
    ) + "".join(_video_html(inputs, index, facts) for index, facts in enumerate(videos))


def size_words(facts: MediaFacts, patch_size: int, merge_size: int) -> str:
    """The way from the file's size to the number of tokens, in one line."""
    frames, down, across = facts.grid_thw
    way = (
        f"{_times(facts.original_size)} → {_times(facts.resized_size)} pixels = "
        f"{across} × {down} patches of {patch_size} × {patch_size} = "
        f"{across // merge_size} × {down // merge_size} tokens"
    )
    if facts.kind == "video":
        way += f" for a pair of frames; {frames} such pairs"
    return f"{way} = {facts.num_tokens:,} tokens in all"


def _times(size: tuple[int, int]) -> str:
    return f"{size[0]:,} × {size[1]:,}"


def _image_html(inputs: ModelInputs, index: int, facts: MediaFacts, num_images: int) -> str:
    span = next(span for span in inputs.spans if (span.kind, span.media_index) == ("image", index))
    words = size_words(facts, inputs.patch_size, inputs.merge_size)
    return picture_html(
        playground.preprocess.unpatchify(inputs, span)[0],
        alt=f"Image {index + 1}, resized, under a grid of {span.grid_w} × {span.grid_h} patches",
        caption=f"Image {index + 1} ({facts.name}): {words}.",
        grid=(span.grid_h, span.grid_w),
        max_side=ONE_PICTURE_SIDE if num_images <= 2 else MANY_PICTURES_SIDE,
    )


def _video_html(inputs: ModelInputs, index: int, facts: MediaFacts) -> str:
    spans = [span for span in inputs.spans if (span.kind, span.media_index) == ("video", index)]
    figures = []
    for span in spans[: MAX_FRAMES_SHOWN // inputs.temporal_patch_size]:
        frames = playground.preprocess.unpatchify(inputs, span)
        for offset, pixels in enumerate(frames):
            number = span.frame * len(frames) + offset + 1
            figures.append(
                picture_html(
                    pixels,
                    alt=f"Frame {number} of video {index + 1} under the patch grid",
                    caption=f"Frame {number}, pair {span.frame + 1} at "
                    f"{facts.timestamps[span.frame]:.1f}\u00a0s",
                    grid=(span.grid_h, span.grid_w),
                    max_side=FRAME_SIDE,
                    shown_width=FRAME_WIDTH,
                )
            )
    words = size_words(facts, inputs.patch_size, inputs.merge_size)
    hidden = (len(spans) * inputs.temporal_patch_size) - len(figures)
    more = f" The first {len(figures)} frames are shown." if hidden else ""
    return (
        f'<p class="pg-fact">Video {index + 1} ({html.escape(facts.name)}): '
        f"{html.escape(words)}. Two frames at a time become one patch in time.{more}</p>"
        f"{picture_row_html(figures)}"
    )
