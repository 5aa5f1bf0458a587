"""The pictures of the vision tab's attention: one head's glow, all heads in small, their words."""

from __future__ import annotations

from weakref import WeakKeyDictionary

import numpy as np

import playground
from components.chart_style import SEQUENTIAL, ColorScale
from components.pictures import (
    color_values,
    grey_out,
    overlay_values,
    picture_html,
    picture_row_html,
    scale_html,
)
from components.tabs.choices import capital, fact_html
from components.tabs.vision.focus import PatchFocus
from playground.pipeline import Run

MEAN = -1  # the head chooser's value for the mean of all heads
LOOKS, RECEIVED = "looks", "received"
GROUND_SIDE = 512  # pixels of the longer side of the picture below the attention
SMALL_WIDTH = 92  # CSS pixels of a head's picture
SMALL_PATCHES = 1200  # more are joined 2 x 2 in a head's picture, where they could not be seen
GLOW: ColorScale = [(0.0, "#c2410c"), (0.5, "#f59e0b"), (1.0, "#fff3a3")]
# One grey picture of each run that is still held, by the number of its span; half a megabyte.
_GROUNDS: WeakKeyDictionary[Run, tuple[int, np.ndarray]] = WeakKeyDictionary()


def attention_html(
    run: Run,
    focus: PatchFocus,
    weights: np.ndarray,
    block: int,
    head: int,
    direction: str | None,
) -> str:
    """One head's attention as a glow on the picture, and in words."""
    shown = weights.mean(0) if head == MEAN else weights[head]
    high = float(shown.max())
    row, column = (int(place) for place in np.unravel_index(shown.argmax(), shown.shape))
    who = "the mean of all heads" if head == MEAN else f"head {head}"
    what = received_words(focus) if direction == RECEIVED else f"where {focus.words} looks"
    sentences = [
        f"Block {block}, {who}: {what}. The brightest patch, row {row}, column {column}, gets "
        f"{high:.1%}; spread evenly, each would get {1 / shown.size:.2%}."
    ]
    if direction != RECEIVED:
        entropy = float(-(shown * np.log(np.maximum(shown, 1e-30))).sum())
        sentences.append(
            f"Entropy {entropy:.2f} nats: as widely spread as over {np.exp(entropy):.0f} of the "
            f"{shown.size:,} patches.{focus.hint}"
        )
    return picture_html(
        _ground(run, focus),
        alt=f"{capital(focus.name)}, {what}, block {block}, {who}",
        caption=" ".join(sentences),
        span=focus.number,
        overlay=overlay_values(shown, GLOW, high),
        # The page marks what is pointed at.
        marked=None if direction == RECEIVED or focus.pointed else focus.patch,
        legend=scale_html(GLOW, "0", f"{high:.1%}", "attention"),
    )


def received_words(focus: PatchFocus) -> str:
    """What is shown of all patches, and over which of them it is the mean."""
    patches, most = focus.span.num_patches, playground.vision_attention.MAX_LOOKERS
    sample = f", by {most} of the {patches:,} patches, evenly spread" if patches > most else ""
    return f"how much each patch is looked at{sample}"


def heads_html(focus: PatchFocus, weights: np.ndarray, block: int, head: int) -> str:
    """The mean and every head in small, each on its own scale."""
    named = [("mean", weights.mean(0))]
    named += [(f"head {number}", each) for number, each in enumerate(weights)]
    figures = [
        picture_html(
            color_values(_small(focus, each), SEQUENTIAL, 0.0, float(_small(focus, each).max())),
            alt=f"Attention of block {block}, {name}",
            caption=f"{name}, {each.max():.1%}",
            pixelated=True,
            shown_width=SMALL_WIDTH,
            span=focus.number,
        )
        for name, each in named
    ]
    note = "Each has a scale of its own, from none (dark) to its largest weight, named below it."
    return fact_html(f"All heads of block {block}.", note) + picture_row_html(figures)


def intro_html(run: Run, focus: PatchFocus) -> str:
    """Who can look at whom, in this run's numbers."""
    facts, patches = run.engine.facts, focus.span.num_patches
    frames = (
        "frames never see one another"
        if focus.span.kind == "video"
        else ("pictures never see one another")
    )
    return fact_html(
        f"In each of the {facts.vision_depth} blocks, {facts.vision_num_heads} heads let each of "
        f"the {patches:,} patches of {focus.name} gather from all {patches:,}, before and after "
        f"it alike ({frames}). The weights are recomputed for the chosen block alone, from what "
        "entered it in this run. Click a patch to see where it looks."
    )


def _ground(run: Run, focus: PatchFocus) -> np.ndarray:
    """The picture in grey and small enough to send with every click; the last one is kept."""
    kept = _GROUNDS.get(run)
    if kept is None or kept[0] != focus.number:
        pixels = playground.preprocess.unpatchify(run.inputs, focus.span)[0]
        kept = focus.number, grey_out(pixels, max_side=GROUND_SIDE)
        _GROUNDS[run] = kept
    return kept[1]


def _small(focus: PatchFocus, values: np.ndarray) -> np.ndarray:
    """A head's map as it is drawn in small: where there are many patches, means of 2 x 2."""
    if values.size <= SMALL_PATCHES:
        return values
    size = focus.span.merge_size
    blocks = values.reshape(focus.span.merged_h, size, focus.span.merged_w, size)
    return np.asarray(blocks.mean((1, 3)))
