"""Preprocess, overview: each image before and after resizing, and the token sequence."""

from __future__ import annotations

import html
from collections.abc import Callable, Sequence
from functools import partial

from markupsafe import Markup

import playground
from components.parts.part import Part
from components.tabs.preprocess.text import typed_specials
from components.views.facts import fact_html, join_sentences, lead_markup
from components.views.images import image_html, image_row_html
from components.views.strips import sequence_strip_html
from components.views.text import verbatim_html
from playground.language import mark, say
from playground.pipeline import Run
from playground.records import MediaFacts, MediaKind, ModelInputs, VisualSpan

MAX_FRAMES_SHOWN = 16
FRAME_WIDTH = 150  # CSS pixels
PAIR_WIDTH, PAIR_HEIGHT = 420, 340  # CSS pixels of each of the two images side by side
# Longest sides to send, in pixels: the first at which all images together fit into MEDIA_BYTES.
# With the rest of the tab, an update stays within 400 kB.
IMAGE_SIDES = (640, 400, 256)
FRAME_SIDES = (224, 128, 80, 48)
MEDIA_BYTES = 150_000


PART = Part(
    "pictures",
    mark("Images and sequence"),
    stage="preprocess",
    layout=("notices", "media", "sequence"),
)


@PART.html()
def notices(run: Run) -> str:
    """What was changed in the input; empty if nothing was."""
    return notices_html(run.inputs.notices)


def notices_html(notices: tuple[str, ...]) -> str:
    """Notices as an HTML list; empty if there are none."""
    if not notices:
        return ""
    items = Markup().join(Markup("<li>{}</li>").format(notice) for notice in notices)
    return Markup('<ul class="pg-notices" role="note" aria-label="{}">{}</ul>').format(
        say("Notices"), items
    )


@PART.html()
def media(run: Run) -> str:
    """Each image and video: its sizes in one sentence, and its pixels with the patch grid."""
    inputs = run.inputs
    if not inputs.media:
        return fact_html(say("This prompt has no image: the model receives only text."))
    images = [facts for facts in inputs.media if facts.kind == "image"]
    videos = [facts for facts in inputs.media if facts.kind == "video"]
    shown = _first_within(
        IMAGE_SIDES,
        lambda side: [
            _image_html(inputs, index, facts, side) for index, facts in enumerate(images)
        ],
    )
    shown += [_video_html(inputs, index, facts) for index, facts in enumerate(videos)]
    return "".join(shown)


@PART.html()
def sequence(run: Run) -> str:
    """The tokens in order, below a sentence with this prompt's counts."""
    inputs = run.inputs
    strip = sequence_strip_html(inputs, pointed=True, typed=typed_specials(run))
    visual = sum(facts.num_tokens for facts in inputs.media)
    total = say("<strong>{count:,} tokens</strong>", count=inputs.num_tokens)
    if visual:
        words = say(
            "The model receives one sequence of {total}: {visual:,} for images and video, "
            "{text:,} for everything else. Select a token or a patch to highlight it in every tab.",
            total=total,
            visual=visual,
            text=inputs.num_tokens - visual,
        )
    else:
        words = say(
            "The model receives one sequence of {total}, all of them text. Select a token to "
            "highlight it in every tab.",
            total=total,
        )
    return lead_markup(words) + strip


def _first_within(sides: Sequence[int], draw: Callable[[int], list[str]]) -> list[str]:
    """The HTML for the largest of these sides that fits into ``MEDIA_BYTES``.

    If none fits, the fewest bytes: a small lossless image can be larger than a bigger lossy one.
    """
    attempts: list[list[str]] = []
    for side in sides:
        attempts.append(draw(side))
        if sum(map(len, attempts[-1])) <= MEDIA_BYTES:
            return attempts[-1]
    return min(attempts, key=lambda figures: sum(map(len, figures)))


def size_words(facts: MediaFacts, patch_size: int, merge_size: int) -> str:
    """From the file's size to the number of tokens, in one line."""
    frames, down, across = facts.grid_thw
    sizes = {
        "original": _times(facts.original_size),
        "resized": _times(facts.resized_size),
        "patches": _times((across, down)),
        "size": _times((patch_size, patch_size)),
        "merged": _times((across // merge_size, down // merge_size)),
        "total": facts.num_tokens,
    }
    if facts.kind == "video":
        return say(
            "{original} → {resized} pixels = {patches} patches of {size} = {merged} tokens per "
            "temporal patch; {frames} temporal patches = {total:,} tokens in total",
            frames=frames,
            **sizes,
        )
    return say(
        "{original} → {resized} pixels = {patches} patches of {size} = {merged} tokens = "
        "{total:,} tokens in total",
        **sizes,
    )


def _times(size: tuple[int, int]) -> str:
    return f"{size[0]:,} × {size[1]:,}"


def _image_html(inputs: ModelInputs, index: int, facts: MediaFacts, side: int) -> str:
    number, span = _spans_of(inputs, "image", index)[0]
    heading = say("Image {number}", number=index + 1)
    figure_html = partial(
        image_html, max_side=side, shown_width=_pair_width(facts.original_size), span=number
    )
    before, after = _times(facts.original_size), _times(facts.resized_size)
    original = figure_html(
        inputs.prompt.images[index].pixels,
        alt=say("{name}, original, {size} pixels", name=heading, size=before),
        caption=say("Original: {size} pixels.", size=before),
    )
    resized = figure_html(
        playground.preprocess.stage.unpatchify(inputs, span)[0],
        alt=say(
            "{name}, resized, with a grid of {grid} patches",
            name=heading,
            grid=_times((span.grid_w, span.grid_h)),
        ),
        caption=_grid_words(after, span.merge_size),
        grid=(span.grid_h, span.grid_w),
    )
    words = say(
        "{name} ({file}): {sizes}.",
        name=f"<strong>{heading}</strong>",
        file=verbatim_html(facts.name),
        sizes=html.escape(size_words(facts, inputs.patch_size, inputs.merge_size)),
    )
    return lead_markup(words) + image_row_html([original, resized])


def _grid_words(size: str, merge: int) -> str:
    """The resized image's size, and what its grid shows."""
    if merge == 1:
        return say(
            "Model input: {size} pixels. Each square is a patch and becomes one token.", size=size
        )
    return say(
        "Model input: {size} pixels. Each square is a patch; each bold square of {merge} × {merge} "
        "patches becomes one token.",
        size=size,
        merge=merge,
    )


def _spans_of(inputs: ModelInputs, kind: MediaKind, index: int) -> list[tuple[int, VisualSpan]]:
    """The spans of one image or video, each with its index in ``inputs.spans``."""
    wanted = (kind, index)
    return [
        (number, span)
        for number, span in enumerate(inputs.spans)
        if (span.kind, span.media_index) == wanted
    ]


def _pair_width(size: tuple[int, int]) -> int:
    """One width for the original and the resized image, so that they can be compared."""
    return max(120, min(PAIR_WIDTH, round(PAIR_HEIGHT * size[0] / size[1])))


def _video_html(inputs: ModelInputs, index: int, facts: MediaFacts) -> str:
    spans = _spans_of(inputs, "video", index)
    shown = spans[: MAX_FRAMES_SHOWN // inputs.temporal_patch_size]
    figures = _first_within(
        FRAME_SIDES,
        lambda side: [
            figure
            for number, span in shown
            for figure in _pair_figures(inputs, number, span, facts, side)
        ],
    )
    words = say(
        "{name} ({file}): {sizes}. Frames per temporal patch: {count}.",
        count=inputs.temporal_patch_size,
        name=f"<strong>{say('Video {number}', number=index + 1)}</strong>",
        file=verbatim_html(facts.name),
        sizes=html.escape(size_words(facts, inputs.patch_size, inputs.merge_size)),
    )
    if len(figures) < len(spans) * inputs.temporal_patch_size:
        words = join_sentences(
            words, say("Only the first {count} frames are shown.", count=len(figures))
        )
    return lead_markup(words) + image_row_html(figures)


def _pair_figures(
    inputs: ModelInputs, number: int, span: VisualSpan, facts: MediaFacts, side: int
) -> list[str]:
    """The frames of one temporal patch."""
    frames = playground.preprocess.stage.unpatchify(inputs, span)
    names = [span.frame * len(frames) + offset + 1 for offset in range(len(frames))]
    return [
        image_html(
            pixels,
            alt=say(
                "Frame {frame} of video {number} with the patch grid",
                frame=frame,
                number=span.media_index + 1,
            ),
            caption=say(
                "Frame {frame}, temporal patch {pair} at {seconds:.1f}\u00a0s",
                frame=frame,
                pair=span.frame + 1,
                seconds=facts.timestamps[span.frame],
            ),
            grid=(span.grid_h, span.grid_w),
            max_side=side,
            shown_width=FRAME_WIDTH,
            span=number,
        )
        for frame, pixels in zip(names, frames, strict=True)
    ]
